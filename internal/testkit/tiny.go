package testkit

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TinyModel makes a model's folder as Hugging Face's libraries save it, of one of llm/convert/testdata, with its weights in so many
// files. golden is what testdata/make.py says of it.
func TinyModel(t testing.TB, name string, shards int) (dir string, golden []byte) {
	t.Helper()
	from, dir := filepath.Join(Root(), "llm", "convert", "testdata", name), filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err == nil {
		err = os.Remove(filepath.Join(dir, "golden.json"))
	}
	var g struct {
		Source map[string]tinyTensor
		Gemma  bool
	}
	if err == nil {
		err = json.Unmarshal(golden, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	files, places := make([][]SafeTensor, shards), map[string]string{}
	file := func(k int) string { return fmt.Sprintf("model-%05d-of-%05d.safetensors", k+1, shards) }
	for i, name := range slices.Sorted(maps.Keys(g.Source)) {
		w := g.Source[name]
		files[i%shards] = append(files[i%shards], SafeTensor{name, w.dtype, w.shape, w.bytes(name, g.Gemma)})
		places[name] = file(i % shards)
	}
	if shards == 1 {
		SafeTensors(t, filepath.Join(dir, "model.safetensors"), files[0])
		return dir, golden
	}
	for k := range files {
		SafeTensors(t, filepath.Join(dir, file(k)), files[k])
	}
	index, err := json.Marshal(map[string]any{"metadata": map[string]int{}, "weight_map": places})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), index, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, golden
}

// SafeTensor is a tensor of a .safetensors file.
type SafeTensor struct {
	Name  string
	DType string // F32, BF16, …
	Shape []int
	Data  []byte
}

// SafeTensors writes a .safetensors file.
func SafeTensors(t testing.TB, path string, list []SafeTensor) {
	t.Helper()
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	header, data := map[string]entry{}, []byte{}
	for _, x := range list {
		header[x.Name] = entry{x.DType, x.Shape, [2]int{len(data), len(data) + len(x.Data)}}
		data = append(data, x.Data...)
	}
	raw, err := json.Marshal(header)
	if err == nil {
		b := append(binary.LittleEndian.AppendUint64(nil, uint64(len(raw))), raw...)
		err = os.WriteFile(path, append(b, data...), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tinyTensor is a tensor of a tiny model: its type and its shape.
type tinyTensor struct {
	dtype string
	shape []int
}

func (w *tinyTensor) UnmarshalJSON(b []byte) error {
	err := json.Unmarshal(b, &[]any{&w.dtype, &w.shape})
	w.dtype = map[string]string{"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[w.dtype]
	return err
}

// bytes are the numbers that testdata/make.py gives a tensor: a function of its name, exact in its type.
func (w *tinyTensor) bytes(name string, gemma bool) []byte {
	h := uint64(14695981039346656037)
	for _, b := range []byte(name) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	n := 1
	for _, d := range w.shape {
		n *= d
	}
	centre := strings.Contains(strings.ToLower(name), "norm") && strings.HasSuffix(name, "weight") && !gemma
	var out []byte
	for i := range n {
		z := uint64(i)*0x9E3779B97F4A7C15 + h
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		z ^= z >> 31
		v := float32(int64(z>>59)-16) / 16
		if w.dtype == "F32" {
			v = float32(int64(z>>40)-1<<23) / (1 << 23)
		}
		if v *= 0.25; centre {
			v++
		}
		out = w.put(out, v)
	}
	return out
}

// put appends a number, which is none that 16 bits cannot hold.
func (w *tinyTensor) put(out []byte, v float32) []byte {
	bits := math.Float32bits(v)
	switch {
	case w.dtype == "F32":
		return binary.LittleEndian.AppendUint32(out, bits)
	case w.dtype == "BF16":
		return binary.LittleEndian.AppendUint16(out, uint16(bits>>16))
	case v == 0:
		return append(out, 0, 0)
	}
	return binary.LittleEndian.AppendUint16(out, uint16(bits>>16&0x8000|(bits>>23&0xff-112)<<10|bits>>13&0x3ff))
}
