package gguf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// again is f as a draft, and what gives its data.
func again(t *testing.T, f *File) (*Draft, func(context.Context, *Tensor, io.Writer) error) {
	d := &Draft{}
	d.Inherit(f)
	for i := range f.Tensors {
		if err := d.Add(f.Tensors[i].Name, f.Tensors[i].Type, f.Tensors[i].Shape); err != nil {
			t.Fatal(err)
		}
	}
	return d, func(_ context.Context, x *Tensor, w io.Writer) error {
		_, err := io.Copy(w, f.Data(f.Tensor(x.Name)))
		return err
	}
}

// same fails unless both files say and hold the same.
func same(t *testing.T, got, want *File) {
	t.Helper()
	if !reflect.DeepEqual(got.keys, want.keys) || !reflect.DeepEqual(got.meta, want.meta) || got.Alignment != want.Alignment {
		t.Errorf("keys %v, want %v", got.keys, want.keys)
	}
	if len(got.Tensors) != len(want.Tensors) {
		t.Fatalf("%d tensors, want %d", len(got.Tensors), len(want.Tensors))
	}
	for i := range want.Tensors {
		g, w := &got.Tensors[i], &want.Tensors[i]
		if g.Name != w.Name || g.Type != w.Type || !reflect.DeepEqual(g.Shape, w.Shape) || g.Size != w.Size {
			t.Errorf("tensor %+v, want %+v", g, w)
		}
		a, err := io.ReadAll(got.Data(g))
		b, err2 := io.ReadAll(want.Data(w))
		if err != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Errorf("tensor %s: the data differ (%v, %v)", g.Name, err, err2)
		}
	}
}

// TestSave writes a file with every kind of value, and a real one, as they were read.
func TestSave(t *testing.T) {
	dir := t.TempDir()
	small := filepath.Join(dir, "small.gguf")
	b := sample(3)
	data := b.Bytes()
	for i := len(data) - 148; i < len(data); i++ {
		data[i] = byte(i)
	}
	if err := os.WriteFile(small, data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("small", func(t *testing.T) { roundTrip(t, small) })
	t.Run("smollm2", func(t *testing.T) { roundTrip(t, cached(t, "smollm2")) })
}

func roundTrip(t *testing.T, path string) {
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, fill := again(t, f)
	size, err := d.Size()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.gguf")
	var told int64
	progress := func(done, total int64) {
		if done < told || total != size {
			t.Errorf("progress %d of %d after %d; the size is %d", done, total, told, size)
		}
		told = done
	}
	if err := d.Save(t.Context(), Saving{Path: out, Data: fill, Progress: progress}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(out)
	if err != nil || info.Size() != size || told != size {
		t.Errorf("%v, size %d, told %d, want %d", err, info.Size(), told, size)
	}
	got, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	same(t, got, f)
}

func TestSaveSplit(t *testing.T) {
	dir := t.TempDir()
	first := splitPart(t, dir, 0, 0, 2, "a")
	splitPart(t, dir, 1, 1, 2, "b")
	f, err := Open(first)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, fill := again(t, f)
	out := filepath.Join(dir, "one.gguf")
	if err := d.Save(t.Context(), Saving{Path: out, Data: fill}); err != nil {
		t.Fatal(err)
	}
	got, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if len(got.Paths) != 1 || len(got.Tensors) != 2 || !reflect.DeepEqual(got.Keys(), []string{"general.architecture"}) {
		t.Errorf("%+v, keys %v", got, got.Keys())
	}
}

func TestValues(t *testing.T) {
	d := &Draft{}
	d.Set("general.alignment", Num(uint32(4096)))
	for key, v := range map[string]Value{"u8": Num(uint8(255)), "i8": Num(int8(-1)), "u16": Num(uint16(65535)), "i16": Num(int16(-2)),
		"u32": Num(uint32(math.MaxUint32)), "i32": Num(int32(-3)), "f32": Num(float32(0.1)), "b": Num(true), "u64": Num(uint64(math.MaxUint64)),
		"i64": Num(int64(-4)), "f64": Num(0.1), "s": Text("ö"), "ss": Texts([]string{"", "b"}), "ii": Nums([]int32{-1, 2}),
		"ff": Nums([]float32{1, -0.5}), "bb": Nums([]bool{true, false}), "none": Nums([]int32{}), "nothing": Texts(nil), "gone": Num(true)} {
		d.Set(key, v)
	}
	d.Delete("gone")
	d.Delete("never")
	d.Set("s", Text("again"))
	if err := d.Add("t", F32, []int64{3}); err != nil {
		t.Fatal(err)
	}
	p, err := d.lay()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = p.write(t.Context(), &out, &Saving{Data: func(_ context.Context, x *Tensor, w io.Writer) error {
		_, err := w.Write(make([]byte, x.Size))
		return err
	}})
	if err != nil || int64(out.Len()) != p.size || p.size != 8192 {
		t.Fatalf("%v, %d bytes, size %d", err, out.Len(), p.size)
	}
	f, err := Read(&out, p.size)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"u8": "uint8 255", "i8": "int8 -1", "u16": "uint16 65535", "i16": "int16 -2",
		"u32": "uint32 4294967295", "i32": "int32 -3", "f32": "float32 0.1", "b": "bool true", "u64": "uint64 18446744073709551615",
		"i64": "int64 -4", "f64": "float64 0.1", "s": "string again", "ss": `string ["", "b"]`, "ii": "int32 [-1, 2]",
		"ff": "float32 [1, -0.5]", "bb": "bool [true, false]", "none": "int32 []", "nothing": "string []"} {
		kind, _, _ := f.Kind(key)
		text, ok := f.Text(key)
		if got := kind.String() + " " + text; !ok || got != want {
			t.Errorf("%s = %s, want %s", key, got, want)
		}
	}
	if _, ok := f.Text("gone"); ok {
		t.Error("a deleted key was written")
	}
}

// TestSaveFails makes sure that a file that was not written whole is not there, nor anything else.
func TestSaveFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.gguf")
	d := &Draft{}
	if err := d.Add("t", F32, []int64{4}); err != nil {
		t.Fatal(err)
	}
	write := func(n int) func(context.Context, *Tensor, io.Writer) error {
		return func(_ context.Context, _ *Tensor, w io.Writer) error {
			_, err := w.Write(make([]byte, n))
			return err
		}
	}
	ended, end := context.WithCancel(t.Context())
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		ctx  context.Context
		data func(context.Context, *Tensor, io.Writer) error
		want string
	}{
		"too few":   {t.Context(), write(15), `tensor "t": 1 of its 16 bytes were not written`},
		"too many":  {t.Context(), write(17), "1 bytes more than the tensor has"},
		"error":     {t.Context(), func(context.Context, *Tensor, io.Writer) error { return broken }, "broken"},
		"cancelled": {ended, func(_ context.Context, _ *Tensor, w io.Writer) error { end(); return write(16)(nil, nil, w) }, "context canceled"},
	} {
		err := d.Save(c.ctx, Saving{Path: path, Data: c.data})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Save(t.Context(), Saving{Path: path, Data: write(16)}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file that is there: %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "mine" {
		t.Errorf("the file that was there is %q", b)
	}
	if err := d.Save(t.Context(), Saving{Path: path, Data: write(16), Replace: true}); err != nil {
		t.Error(err)
	}
	if f, err := Open(path); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
	huge := &Draft{}
	if err := huge.Add("t", F32, []int64{1 << 50}); err != nil {
		t.Fatal(err)
	}
	if err := huge.Save(t.Context(), Saving{Path: filepath.Join(dir, "h.gguf"), Data: write(0)}); err == nil || !strings.Contains(err.Error(), "its disk has") {
		t.Errorf("more than the disk has: %v", err)
	}
}

func TestDraftRefusals(t *testing.T) {
	d := &Draft{}
	add := func(name string, kind Type, shape ...int64) error { return d.Add(name, kind, shape) }
	if err := add("a", F32, 1); err != nil {
		t.Fatal(err)
	}
	for want, err := range map[string]error{
		"is there twice":           add("a", F32, 1),
		"this one has 65":          add(strings.Repeat("x", 65), F32, 1),
		"this one has 0":           add("", F32, 1),
		"has 0 dimensions":         add("b", F32),
		"has 5 dimensions":         add("b", F32, 1, 1, 1, 1, 1),
		"no multiple of the 32":    add("b", Q4_0, 33),
		"not positive":             add("b", F32, 1, -1),
		"too many elements":        add("b", F32, 1<<40, 1<<40),
		"unknown tensor type 999":  add("b", 999, 1),
		"Q4_0_4_4 was taken out o": add("b", 31, 32),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	for want, set := range map[string]func(d *Draft){
		"general.alignment is 24":                    func(d *Draft) { d.Set("general.alignment", Num(uint32(24))) },
		"general.alignment must be one whole number": func(d *Draft) { d.Set("general.alignment", Num(float32(32))) },
		"a key has 1 to 65535 bytes":                 func(d *Draft) { d.Set("", Num(true)) },
		"the key k has no value":                     func(d *Draft) { d.Set("k", Value{}) },
		"takes the header over 256 MiB":              func(d *Draft) { d.Set("k", Text(strings.Repeat("x", maxHeader))) },
		"more bytes than can be counted":             func(d *Draft) { addLarge(t, d) },
	} {
		d := &Draft{}
		set(d)
		if _, err := d.Size(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func addLarge(t *testing.T, d *Draft) {
	for i := range 300 {
		if err := d.Add(fmt.Sprint(i), I8, []int64{1 << 55}); err != nil {
			t.Fatal(err)
		}
	}
}
