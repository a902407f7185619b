package input

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval"
)

// any3 takes every shape, so that a test sees the array as it is in the file.
func any3(d serval.DType) Model {
	return Model{Signature: serval.Signature{Inputs: []serval.TensorInfo{{Name: "x", DType: d}}}}
}

func TestNPY(t *testing.T) { // the files are NumPy's own
	two := Model{Signature: serval.Signature{Inputs: []serval.TensorInfo{
		{Name: "b", DType: serval.Bytes, Shape: []int64{-1, 1}}, {Name: "a", DType: serval.FP64, Shape: []int64{-1, 1}}}}}
	for _, c := range []struct {
		file string
		m    Model
		want string
	}{
		{"f8.npy", net, "x FP32 [2,3] 0 0.25 0.5 0.75 1 1.25"},
		{"f8.npy", any3(serval.FP64), "x FP64 [2,3] 0 0.25 0.5 0.75 1 1.25"},
		{"fortran.npy", any3(serval.Int64), "x INT64 [2,3,4] 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23"},
		{"big.npy", any3(serval.Int16), "x INT16 [2,3] 0 1 2 3 4 5"},
		{"texts.npy", any3(serval.Bytes), "x BYTES [4] a é€ 😀 "},
		{"bytes.npy", any3(serval.Bytes), "x BYTES [2] ab c"},
		{"half.npy", any3(serval.FP32), "x FP32 [3] 0.5 -2 65504"},
		{"bool.npy", any3(serval.Uint8), "x UINT8 [2] 1 0"},
		{"two.npz", two, "a FP64 [2,1] 1.5 2.5; b BYTES [2,1] x y"},
		{"one.npz", net, "x FP32 [2,3] 0 1 2 3 4 5"},
	} {
		in, err := ReadFile(filepath.Join("testdata", c.file), c.m)
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
		} else if got := show(t, in); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.file, got, c.want)
		}
	}
}

// npy writes a version 1 file with any header.
func npy(header, body string) []byte {
	return append([]byte(npyMagic+"\x01\x00"+string([]byte{byte(len(header)), byte(len(header) >> 8)})+header), body...)
}

func TestNPYErrors(t *testing.T) {
	const good = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }"
	for _, c := range []struct {
		data []byte
		want string
	}{
		{[]byte("x"), "t.npy, input 'x': not an .npy file: it does not start as one"},
		{npy(good, "12345678"), "shape [1,3] of <f4 does not agree with the 8 bytes of data"},
		{npy(strings.Replace(good, "(1, 3)", "(1000000000000, 30)", 1), "1234"), "does not agree"},
		{npy(strings.Replace(good, "(1, 3)", "(9223372036854775807, 9223372036854775807)", 1), ""), "does not agree"},
		{npy(strings.Replace(good, "(1, 3)", "(9223372036854775807)", 1), "1234"), "does not agree"},
		{npy(strings.Replace(good, "(1, 3)", "(-1, 3)", 1), ""), "shape (-1, 3) is not one"},
		{npy(strings.Replace(good, "<f4", "<c8", 1), ""), "the type \"<c8\" is not one that models take"},
		{npy(strings.Replace(good, "'<f4'", "[('a', '<f4')]", 1), ""), "a structured array"},
		{npy(strings.Replace(good, "<f4", "<U0", 1)[:len(good)-1], ""), "not a dictionary"},
		{npy("{'shape': (1,), }", ""), "lacks descr, fortran_order or shape"},
		{npy("{'a': 1}", ""), "unknown key"},
		{npy(good, "")[:20], "its header is cut short"},
		{npy(strings.Replace(good, "(1, 3)", "(2, 2)", 1), "1234123412341234"), "t.npy, input 'x': shape [2,2], where the model takes [-1,3]"},
	} {
		_, err := Read("t.npy", c.data, net)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n got %v\nwant %s", c.data, err, c.want)
		}
	}
	if _, err := ReadFile("testdata/objects.npy", net); err == nil || !strings.Contains(err.Error(), "Python objects") {
		t.Errorf("objects: %v", err)
	}
	if _, err := ReadFile("testdata/two.npz", net); err == nil || !strings.Contains(err.Error(), "no input 'a'") {
		t.Errorf("wrong names: %v", err)
	}
	if _, err := ReadFile("testdata/f8.npy", people); err == nil || !strings.Contains(err.Error(), "numpy.savez") {
		t.Errorf("one array for many inputs: %v", err)
	}
	if _, err := ReadFile("testdata/missing.npy", net); serval.AsError(err).Code != serval.NotFound {
		t.Errorf("a missing file: %v", err)
	}
}

func FuzzNPY(f *testing.F) {
	files, err := filepath.Glob("testdata/*.np?")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds: ", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := ParseNPY(data); err == nil {
			if err := a.Check(); err != nil {
				t.Errorf("a tensor that does not hold together: %v", err)
			}
		}
		if in, err := Read("f.npz", data, net); err == nil {
			if err := in.Tensors[0].Check(); err != nil {
				t.Errorf("a tensor that does not hold together: %v", err)
			}
		}
	})
}
