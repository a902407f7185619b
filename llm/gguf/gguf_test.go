package gguf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// build writes GGUF by hand, so that a test can write it wrong.
type build struct{ bytes.Buffer }

func (b *build) put(vs ...any) *build {
	for _, v := range vs {
		if s, ok := v.(string); ok {
			binary.Write(b, binary.LittleEndian, uint64(len(s)))
			b.WriteString(s)
			continue
		}
		if err := binary.Write(b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	return b
}

func begin(version uint32, tensors, keys int) *build {
	b := new(build)
	b.WriteString("GGUF")
	return b.put(version, uint64(tensors), uint64(keys))
}

func (b *build) pad(to int) *build {
	for b.Len()%to != 0 {
		b.WriteByte(0)
	}
	return b
}

func (b *build) read() (*File, error) { return Read(bytes.NewReader(b.Bytes()), int64(b.Len())) }

// sample is a small file with a value of every kind and two tensors.
func sample(version uint32) *build {
	b := begin(version, 2, 17)
	b.put("general.architecture", String, "llama")
	b.put("u8", Uint8, uint8(200)).put("i8", Int8, int8(-3)).put("u16", Uint16, uint16(60000)).put("i16", Int16, int16(-300))
	b.put("u32", Uint32, uint32(4e9)).put("i32", Int32, int32(-5)).put("f32", Float32, float32(1.5)).put("yes", Bool, uint8(1))
	b.put("u64", Uint64, uint64(math.MaxUint64)).put("i64", Int64, int64(math.MinInt64)).put("f64", Float64, 2.25)
	b.put("words", Array, String, uint64(3), "a", "", "ΩΩ").put("numbers", Array, Int16, uint64(2), []int16{-1, 7})
	b.put("scores", Array, Float32, uint64(2), []float32{-1.5, 3}).put("flags", Array, Bool, uint64(3), []uint8{1, 0, 1})
	b.put("empty", Array, String, uint64(0))
	b.put("token_embd.weight", uint32(2), uint64(64), uint64(3), Q4_0, uint64(0))
	b.put("norm.weight", uint32(1), uint64(5), F32, uint64(128))
	b.pad(32)
	b.Write(make([]byte, 128+20))
	return b
}

func TestRead(t *testing.T) {
	for _, version := range []uint32{2, 3} {
		f, err := sample(version).read()
		if err != nil {
			t.Fatal(err)
		}
		if f.Architecture() != "llama" || f.Version != version || len(f.Keys()) != 17 || f.Keys()[1] != "u8" {
			t.Errorf("architecture %q, version %d, keys %v", f.Architecture(), f.Version, f.Keys())
		}
		for key, want := range map[string]string{"u8": "200", "i8": "-3", "u16": "60000", "i16": "-300", "u32": "4000000000",
			"i32": "-5", "f32": "1.5", "yes": "true", "u64": "18446744073709551615", "i64": "-9223372036854775808", "f64": "2.25",
			"words": `["a", "", "ΩΩ"]`, "numbers": "[-1, 7]", "flags": "[true, false, true]", "empty": "[]"} {
			if got, ok := f.Text(key); !ok || got != want {
				t.Errorf("Text(%s) = %q, %v; want %q", key, got, ok, want)
			}
		}
		type ok = bool
		got := []any{}
		add := func(v any, found ok) { got = append(got, v, found) }
		add(f.Uint("u8"))
		add(f.Uint("i8"))
		add(f.Uint("u64"))
		add(f.Int("u64"))
		add(f.Int("i32"))
		add(f.Float("f32"))
		add(f.Float("u8"))
		add(f.Bool("yes"))
		add(f.Strings("words"))
		add(f.Ints("numbers"))
		add(f.Ints("flags"))
		add(f.Floats("scores"))
		add(f.String("u8"))
		add(f.Uint("numbers"))
		add(f.Strings("general.architecture"))
		want := []any{uint64(200), true, uint64(0), false, uint64(math.MaxUint64), true, int64(0), false, int64(-5), true, 1.5, true,
			200.0, true, true, true, []string{"a", "", "ΩΩ"}, true, []int64{-1, 7}, true, []int64{1, 0, 1}, true,
			[]float32{-1.5, 3}, true, "", false, uint64(0), false, []string(nil), false}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		e, n := f.Tensor("token_embd.weight"), f.Tensor("norm.weight")
		if e == nil || n == nil || f.Tensor("x") != nil {
			t.Fatal("tensors are not found by name")
		}
		if e.Size != 6*18 || e.Elements() != 192 || e.Offset%32 != 0 || n.Offset != e.Offset+128 || n.Size != 20 || n.Type != F32 {
			t.Errorf("tensors %+v %+v", e, n)
		}
	}
}

func TestRefusals(t *testing.T) {
	tensor := func(vs ...any) *build { return begin(3, 1, 0).put("t").put(vs...).pad(32).put(make([]byte, 256)) }
	for name, c := range map[string]struct {
		b    *build
		want string
	}{
		"empty":            {new(build), "the file is empty"},
		"short":            {new(build).put(uint32(1)), "too few"},
		"magic":            {new(build).put("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), "at byte 0: this is no GGUF file"},
		"big endian":       {begin(3<<24, 0, 0), "at byte 4: this is a big-endian"},
		"version 1":        {begin(1, 0, 0), "version 1 is not supported"},
		"version 9":        {begin(9, 0, 0), "version 9 is not supported"},
		"tensor count":     {begin(3, math.MaxInt, 0), "at byte 8: the number of tensors is"},
		"key count":        {begin(3, 0, 1000), "at byte 16: the number of metadata keys is 1000"},
		"key length":       {begin(3, 0, 1).put(uint64(1<<63), make([]byte, 64)), "at byte 24: the length of a key is"},
		"empty key":        {begin(3, 0, 1).put("", Uint8, make([]byte, 32)), "a key is empty"},
		"twice":            {begin(3, 0, 2).put("k", Uint8, uint8(1)).put("k", Uint8, uint8(1), make([]byte, 32)), `the key "k" stands twice`},
		"kind":             {begin(3, 0, 1).put("k", uint32(13), uint64(0)), "at byte 33: k is of unknown kind 13"},
		"nested":           {begin(3, 0, 1).put("k", Array, Array, uint64(1), Uint8, uint64(1), uint8(1)), "array of arrays"},
		"array kind":       {begin(3, 0, 1).put("k", Array, uint32(99), uint64(1)), "array of unknown kind 99"},
		"array length":     {begin(3, 0, 1).put("k", Array, Uint64, uint64(1<<60)), "the length of k is"},
		"strings length":   {begin(3, 0, 1).put("k", Array, String, uint64(50), make([]byte, 60)), "the length of k is 50"},
		"string in array":  {begin(3, 0, 1).put("k", Array, String, uint64(2), "a", uint64(1<<40)), "k is 1099511627776"},
		"bool":             {begin(3, 0, 1).put("k", Bool, uint8(2)).put(uint64(0)), "bool of value 2"},
		"alignment":        {begin(3, 0, 1).put("general.alignment", Uint32, uint32(24)), "general.alignment is 24"},
		"alignment 0":      {begin(3, 0, 1).put("general.alignment", Uint32, uint32(0)), "general.alignment is 0"},
		"alignment string": {begin(3, 0, 1).put("general.alignment", String, "x"), "general.alignment is x"},
		"tensor name":      {begin(3, 1, 0).put(strings.Repeat("x", 65), make([]byte, 64)), "more than the 64 allowed"},
		"dims":             {tensor(uint32(5), make([]uint64, 5), F32, uint64(0)), "has 5 dimensions"},
		"no dims":          {tensor(uint32(0), F32, uint64(0)), "has 0 dimensions"},
		"zero dim":         {tensor(uint32(2), uint64(1), uint64(0), F32, uint64(0)), "not positive"},
		"negative dim":     {tensor(uint32(2), uint64(1), uint64(1<<63), F32, uint64(0)), "not positive"},
		"overflow":         {tensor(uint32(2), uint64(1<<40), uint64(1<<40), F32, uint64(0)), "too many elements"},
		"removed type":     {tensor(uint32(1), uint64(32), Type(31), uint64(0)), "Q4_0_4_4 was taken out"},
		"unknown type":     {tensor(uint32(1), uint64(32), Type(999), uint64(0)), "unknown tensor type 999"},
		"block":            {tensor(uint32(1), uint64(33), Q4_0, uint64(0)), "no multiple of the 32 in a block of Q4_0"},
		"offset align":     {tensor(uint32(1), uint64(4), F32, uint64(4)), "no multiple of the alignment"},
		"offset huge":      {tensor(uint32(1), uint64(4), F32, uint64(math.MaxInt64-31)), "no multiple of the alignment"},
		"past the end":     {tensor(uint32(1), uint64(4), F32, uint64(1<<40)), "the file ends at byte"},
		"cut data":         {tensor(uint32(1), uint64(400), F32, uint64(0)), "it is cut short"},
		"overlap": {begin(3, 2, 0).put("a", uint32(1), uint64(16), F32, uint64(0)).put("b", uint32(1), uint64(16), F32, uint64(32)).
			pad(32).put(make([]byte, 256)), `tensor "b" begins at byte 128, inside tensor "a", which ends at 160`},
		"same name": {begin(3, 2, 0).put("a", uint32(1), uint64(1), F32, uint64(0)).put("a", uint32(1), uint64(1), F32, uint64(32)).
			pad(32).put(make([]byte, 256)), `the tensor "a" stands twice`},
	} {
		f, err := c.b.read()
		if err == nil {
			t.Errorf("%s: was read as %+v", name, f)
		} else if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "at byte ") {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

// TestCut reads every beginning of a file: none may be taken for a whole one.
func TestCut(t *testing.T) {
	whole := sample(3).Bytes()
	for n := range whole {
		if _, err := Read(bytes.NewReader(whole[:n]), int64(n)); err == nil {
			t.Fatalf("the first %d of %d bytes were read", n, len(whole))
		}
		// The size promises more than comes: an error of reading, not a hang.
		if n < len(whole)-200 {
			if _, err := Read(bytes.NewReader(whole[:n]), int64(len(whole))); err == nil {
				t.Fatalf("%d bytes of a file said to be longer were read", n)
			}
		}
	}
}

// TestLargeHeader makes sure that a large file cannot make the reader take memory for a header without bound.
func TestLargeHeader(t *testing.T) {
	b := begin(3, 0, 1).put("k", Array, Uint8, uint64(300<<20))
	_, err := Read(io.MultiReader(&b.Buffer, zeros{}), 1<<40)
	if err == nil || !strings.Contains(err.Error(), "bytes of the header are left") {
		t.Errorf("%v", err)
	}
	b = begin(3, 0, 1).put("k", String, uint64(300<<20))
	_, err = Read(io.MultiReader(&b.Buffer, zeros{}), 1<<40)
	if err == nil || !strings.Contains(err.Error(), "bytes of the header are left") {
		t.Errorf("%v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// splitPart writes part i (from 0) of n with one tensor.
func splitPart(t *testing.T, dir string, no, i, n int, tensor string) string {
	b := begin(3, 1, 4).put("general.architecture", String, "llama").put(splitNumber, Uint16, uint16(no)).
		put(splitCount, Uint16, uint16(n)).put(splitTensors, Int32, int32(n))
	b.put(tensor, uint32(1), uint64(2), F32, uint64(0)).pad(32)
	b.put([]float32{float32(i), 0.5})
	path := filepath.Join(dir, fmt.Sprintf("m-%05d-of-%05d.gguf", i+1, n))
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSplit(t *testing.T) {
	dir := t.TempDir()
	first := splitPart(t, dir, 0, 0, 3, "a")
	second := splitPart(t, dir, 1, 1, 3, "b")
	third := splitPart(t, dir, 2, 2, 3, "c")
	f, err := Open(first)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(f.Tensors) != 3 || len(f.Paths) != 3 || f.Tensors[2].File != 2 || f.Paths[1] != second {
		t.Fatalf("%+v", f)
	}
	for i := range f.Tensors {
		b, err := io.ReadAll(f.Data(&f.Tensors[i]))
		if err != nil || math.Float32frombits(binary.LittleEndian.Uint32(b)) != float32(i) {
			t.Errorf("data of tensor %d: %v %v", i, b, err)
		}
	}
	refused := func(path, want string) {
		t.Helper()
		f, err := Open(path)
		if err == nil {
			f.Close()
			t.Errorf("%s was opened; want %q", path, want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	refused(second, "open the first, "+first)
	splitPart(t, dir, 2, 2, 3, "b")
	refused(first, `the tensor "b" stands in an earlier part`)
	splitPart(t, dir, 1, 2, 3, "c")
	refused(first, "does not say that it is part 3")
	os.Remove(third)
	refused(first, "part 3 of 3: open "+third)
	odd := filepath.Join(dir, "odd.gguf")
	os.Rename(first, odd)
	refused(odd, "must be named NAME-00001-of-00003.gguf")
	refused(dir, "no regular file")
}

// TestModels reads the real files if they are in the developer's cache, and compares each tensor's place with the next.
func TestModels(t *testing.T) {
	for name, want := range map[string]struct {
		architecture string
		tokens       int
	}{"smollm2": {"llama", 49152}, "gemma3": {"gemma3", 262144}} {
		path := cached(t, name)
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		tokens, _ := f.Strings("tokenizer.ggml.tokens")
		if f.Architecture() != want.architecture || len(tokens) != want.tokens {
			t.Errorf("%s: architecture %q, %d tokens", name, f.Architecture(), len(tokens))
		}
		var end int64
		for _, x := range f.Tensors {
			if end > 0 && (x.Offset < end || x.Offset >= end+f.Alignment) {
				t.Errorf("%s: %s begins at %d, the one before ends at %d", name, x.Name, x.Offset, end)
			}
			end = x.Offset + x.Size
		}
		if end > f.Sizes[0] || end <= f.Sizes[0]-f.Alignment {
			t.Errorf("%s: the tensors end at %d, the file at %d", name, end, f.Sizes[0])
		}
	}
}

// cached is the path of a model in the developer's cache; without it the test is skipped.
func cached(t testing.TB, name string) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	for _, sub := range []string{"serval-test", "serval-dev"} {
		path := filepath.Join(dir, sub, "gguf", name+".gguf")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Skipf("no %s.gguf in the cache; test/setup.sh fetches it", name)
	return ""
}

func BenchmarkOpen(b *testing.B) {
	for _, name := range []string{"smollm2", "gemma3"} {
		b.Run(name, func(b *testing.B) {
			path := cached(b, name)
			b.ReportAllocs()
			for b.Loop() {
				f, err := Open(path)
				if err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add(sample(3).Bytes())
	f.Add(sample(2).Bytes())
	f.Add(begin(3, 0, 1).put("general.alignment", Uint32, uint32(64)).Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, key := range file.Keys() {
			file.Text(key)
			file.Ints(key)
			file.Floats(key)
			file.Strings(key)
		}
		d := &Draft{}
		d.Inherit(file)
		for _, x := range file.Tensors {
			if err := d.Add(x.Name, x.Type, x.Shape); err != nil && x.Name != "" {
				t.Fatalf("what was read cannot be written: %v", err)
			}
			if x.Offset < 0 || x.Size <= 0 || x.Offset+x.Size > int64(len(data)) || x.Elements() <= 0 {
				t.Fatalf("tensor %+v in a file of %d bytes", x, len(data))
			}
		}
		if p, err := d.lay(); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		} else if again, err := Read(bytes.NewReader(p.head), p.size); err != nil || len(again.keys) > len(file.keys) {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}
