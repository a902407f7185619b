package quantize_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"serval/engine/gguf/kernel"
	"serval/llm/gguf"
	"serval/llm/quantize"
)

// tensor of a test's model.
type tensor struct {
	name  string
	kind  gguf.Type
	shape []int64
}

// model writes a file of random weights.
func model(t *testing.T, path string, keys map[string]gguf.Value, list []tensor) *gguf.File {
	t.Helper()
	d := &gguf.Draft{}
	d.Set("general.architecture", gguf.Text("llama"))
	d.Set("general.file_type", gguf.Num(uint32(1)))
	for key, v := range keys {
		d.Set(key, v)
	}
	for _, x := range list {
		if err := d.Add(x.name, x.kind, x.shape); err != nil {
			t.Fatal(err)
		}
	}
	err := d.Save(t.Context(), gguf.Saving{Path: path, Data: func(_ context.Context, x *gguf.Tensor, w io.Writer) error {
		b := make([]byte, x.Size)
		if err := quantize.Encode(x.Type, b, random(int(x.Elements()), uint64(len(x.Name)))); err != nil {
			return err
		}
		_, err := w.Write(b)
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

func open(t *testing.T, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// numbers are a tensor's weights.
func numbers(t *testing.T, f *gguf.File, name string) []float32 {
	t.Helper()
	x := f.Tensor(name)
	b, err := io.ReadAll(f.Data(x))
	if err != nil {
		t.Fatal(err)
	}
	return decoded(x.Type, b, int(x.Elements()))
}

func options(t *testing.T, name string) quantize.Options {
	t.Helper()
	r, err := quantize.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	return quantize.Options{Recipe: r, Threads: 2, Decode: kernel.Dequantize}
}

var small = []tensor{
	{"token_embd.weight", gguf.F16, []int64{512, 320}}, {"blk.0.attn_norm.weight", gguf.F32, []int64{512}}, {"blk.0.attn_q.weight", gguf.F16, []int64{512, 64}},
	{"blk.0.attn_q.bias", gguf.F32, []int64{512}}, {"blk.0.ffn_down.weight", gguf.BF16, []int64{288, 512}}, {"blk.0.ffn_gate_inp.weight", gguf.F32, []int64{512, 4}},
	{"blk.0.ffn_up_exps.weight", gguf.F16, []int64{512, 30, 3}}, {"odd.weight", gguf.F32, []int64{30, 5}},
}

// A file is written with the types of its recipe, and what stands in for them; the rest is what it was.
func TestJob(t *testing.T) {
	dir := t.TempDir()
	in := model(t, filepath.Join(dir, "in.gguf"), map[string]gguf.Value{"general.name": gguf.Text("ö"), "tokenizer.ggml.tokens": gguf.Texts([]string{"a", "b"}),
		"general.alignment": gguf.Num(uint32(64))}, small)
	for name, want := range map[string]string{ // of the tensors in their order
		"Q4_K_M": "Q6_K F32 Q4_K F32 Q8_0 F32 Q4_K F16", // ffn_down would be Q6_K: its rows are no multiple of 256
		"q8_0":   "Q8_0 F32 Q8_0 F32 Q8_0 F32 Q8_0 F16",
		"Q4_0":   "Q6_K F32 Q4_0 F32 Q4_0 F32 Q4_0 F16",
		"F32":    "F32 F32 F32 F32 F32 F32 F32 F32",
	} {
		out := filepath.Join(dir, name+".gguf")
		job, err := quantize.Plan(in, options(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := job.Save(t.Context(), gguf.Saving{Path: out}); err != nil {
			t.Fatal(err)
		}
		f := open(t, out)
		var types []string
		var weights int64
		for i := range f.Tensors {
			types = append(types, f.Tensors[i].Type.String())
			weights += f.Tensors[i].Size
			a, b := numbers(t, in, f.Tensors[i].Name), numbers(t, f, f.Tensors[i].Name)
			if off := apart(a, b); off > 0.11 || f.Tensors[i].Type == in.Tensors[i].Type && off != 0 {
				t.Errorf("%s: %s is %.4f off", name, f.Tensors[i].Name, off)
			}
		}
		if got := strings.Join(types, " "); got != want {
			t.Errorf("%s: types %s, want %s", name, got, want)
		}
		size, bytes, _ := job.Size()
		if size != f.Sizes[0] || bytes != weights {
			t.Errorf("%s: size %d and %d, said %d and %d", name, f.Sizes[0], weights, size, bytes)
		}
		r, _ := quantize.Named(name)
		kind, _ := f.Uint("general.file_type")
		version, _ := f.Uint("general.quantization_version")
		tokens, _ := f.Strings("tokenizer.ggml.tokens")
		title, _ := f.String("general.name")
		if kind != map[string]uint64{"Q4_K_M": 15, "Q8_0": 7, "Q4_0": 2, "F32": 0}[r.Name] || version != 2 || !slices.Equal(tokens, []string{"a", "b"}) || title != "ö" || f.Alignment != 64 || quantize.TypeName(f) != strings.TrimPrefix(r.Name, "F32") {
			t.Errorf("%s: file_type %d, version %d, tokens %v, name %q, alignment %d", name, kind, version, tokens, title, f.Alignment)
		}
	}
}

// Threads and pieces change no bit.
func TestThreads(t *testing.T) {
	dir := t.TempDir()
	in := model(t, filepath.Join(dir, "in.gguf"), nil, []tensor{{"a.weight", gguf.F16, []int64{256, 1100}}}) // five pieces, the last one short
	var files [][]byte
	for _, threads := range []int{1, 2, 7} {
		o := options(t, "Q4_K")
		o.Threads = threads
		job, err := quantize.Plan(in, o)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, "out.gguf")
		if err := job.Save(t.Context(), gguf.Saving{Path: out, Replace: true}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
	}
	if !bytes.Equal(files[0], files[1]) || !bytes.Equal(files[0], files[2]) {
		t.Error("the threads change the file")
	}
}

func TestKeep(t *testing.T) {
	in := model(t, filepath.Join(t.TempDir(), "in.gguf"), nil, small)
	o := options(t, "Q4_0")
	for _, text := range []string{"blk.*.attn_q.weight=q8_0", "token_embd.weight=F16", "blk.*=Q5_0"} {
		k, err := quantize.ParseOverride(text)
		if err != nil {
			t.Fatal(err)
		}
		o.Keep = append(o.Keep, k)
	}
	job, err := quantize.Plan(in, o)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]gguf.Type{"blk.0.attn_q.weight": gguf.Q8_0, "token_embd.weight": gguf.F16, "blk.0.ffn_down.weight": gguf.Q5_0, "blk.0.attn_norm.weight": gguf.F32} {
		if i := slices.IndexFunc(job.Choices, func(c quantize.Choice) bool { return c.Name == name }); job.Choices[i].To != want {
			t.Errorf("%s is %s, want %s", name, job.Choices[i].To, want)
		}
	}
	o.Keep = []quantize.Override{{Pattern: "blk.0.attn_norm.weight", Type: gguf.Q8_0}}
	if _, err := quantize.Plan(in, o); err == nil || !strings.Contains(err.Error(), "no matrix of the model has the name blk.0.attn_norm.weight") {
		t.Errorf("a vector was taken for a matrix: %v", err)
	}
	for _, bad := range []string{"", "x", "=Q8_0", "x=Q9", "[=Q8_0", "x="} {
		if o, err := quantize.ParseOverride(bad); err == nil {
			t.Errorf("%q was read as %v", bad, o)
		}
	}
}

// Types by layer are those of llama-quantize of llama.cpp v0.5.0, as it wrote them for a model of 30 layers.
func TestRecipeLayers(t *testing.T) {
	var list []tensor
	for i := range 30 {
		for _, part := range []string{"attn_v", "ffn_down", "attn_k"} {
			list = append(list, tensor{"blk." + string(rune('0'+i/10)) + string(rune('0'+i%10)) + "." + part + ".weight", gguf.F16, []int64{256, 2}})
		}
	}
	list = append(list, tensor{"token_embd.weight", gguf.F16, []int64{256, 2}}, tensor{"output.weight", gguf.F16, []int64{256, 2}})
	in := model(t, filepath.Join(t.TempDir(), "in.gguf"), nil, list)
	some := []int{0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 26, 27, 28, 29}
	for name, want := range map[string]struct {
		better, base gguf.Type
		v, down      []int
	}{
		"Q4_K_M": {gguf.Q6K, gguf.Q4K, some, some}, "Q5_K_M": {gguf.Q6K, gguf.Q5K, some, some},
		"Q4_K_S": {gguf.Q5K, gguf.Q4K, []int{0, 1, 2, 3}, []int{0, 1, 2}}, "Q6_K": {gguf.Q6K, gguf.Q6K, nil, nil},
	} {
		job, err := quantize.Plan(in, options(t, name))
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range job.Choices {
			layers := map[string][]int{"attn_v": want.v, "ffn_down": want.down}[list[i].name[min(7, len(list[i].name)):max(7, len(list[i].name)-7)]]
			kind := want.base
			switch {
			case c.Name == "output.weight":
				kind = gguf.Q6K
			case slices.Contains(layers, i/3) && c.Name[0] == 'b':
				kind = want.better
			}
			if c.To != kind {
				t.Errorf("%s: %s is %s, want %s", name, c.Name, c.To, kind)
			}
		}
	}
}

func TestJobRefusals(t *testing.T) {
	dir := t.TempDir()
	four := model(t, filepath.Join(dir, "four.gguf"), nil, []tensor{{"a.weight", gguf.Q4_0, []int64{64, 4}}, {"b.weight", gguf.F16, []int64{64, 4}}, {"n", gguf.F32, []int64{64}}})
	o := options(t, "Q8_0")
	if _, err := quantize.Plan(four, o); !errors.Is(err, quantize.ErrQuantized) || !strings.Contains(err.Error(), "1 tensors are Q4_0") || !strings.Contains(err.Error(), "--requantize") {
		t.Errorf("a quantised source: %v", err)
	}
	o.Requantize = true
	job, err := quantize.Plan(four, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := job.Save(ctx, gguf.Saving{Path: filepath.Join(dir, "never.gguf")}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	empty := model(t, filepath.Join(dir, "empty.gguf"), nil, nil)
	if _, err := quantize.Plan(empty, o); err == nil || !strings.Contains(err.Error(), "no tensors") {
		t.Errorf("no tensors: %v", err)
	}
	o.Decode = func(gguf.Type) func([]float32, []byte) { return nil }
	if _, err := quantize.Plan(four, o); err == nil || !strings.Contains(err.Error(), `tensor "a.weight" is Q4_0, which is not known here`) {
		t.Errorf("a type that cannot be decoded: %v", err)
	}
	path := filepath.Join(dir, "nan.gguf")
	in := model(t, path, nil, []tensor{{"good.weight", gguf.F32, []int64{64, 4}}, {"bad.weight", gguf.F32, []int64{64, 2000}}})
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(raw[in.Tensor("bad.weight").Offset+4*(64*1500+9):], math.Float32bits(float32(math.NaN())))
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	job, err = quantize.Plan(open(t, path), options(t, "Q4_1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := job.Save(t.Context(), gguf.Saving{Path: filepath.Join(dir, "never.gguf")}); err == nil || !strings.Contains(err.Error(), `tensor "bad.weight": row 1500, column 9 is NaN`) {
		t.Errorf("NaN: %v", err)
	}
	list, _ := os.ReadDir(dir)
	if len(list) != 3 {
		t.Errorf("left behind: %v", list)
	}
}
