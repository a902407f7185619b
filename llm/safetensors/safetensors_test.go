package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// file is a .safetensors file of a header and so many bytes of data.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	for i := range data {
		b = append(b, byte(i))
	}
	return b
}

func read(b []byte) ([]Tensor, error) { return Read(bytes.NewReader(b), int64(len(b))) }

const two = `{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   `

func TestRead(t *testing.T) {
	list, err := read(file(two, 16))
	if err != nil {
		t.Fatal(err)
	}
	at := int64(8 + len(two))
	want := fmt.Sprint([]Tensor{{Name: "a", Type: F32, Shape: []int64{}, Offset: at, Size: 4}, {Name: "b", Type: BF16, Shape: []int64{2, 3}, Offset: at + 4, Size: 12}})
	if got := fmt.Sprint(list); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if list[1].Elements() != 6 || list[0].Elements() != 1 {
		t.Errorf("elements %d and %d", list[0].Elements(), list[1].Elements())
	}
	if list, err := read(file(`{"none":{"dtype":"I64","shape":[0,5],"data_offsets":[0,0]}}`, 0)); err != nil || list[0].Elements() != 0 {
		t.Errorf("a tensor without elements: %v %v", list, err)
	}
}

func TestRefusals(t *testing.T) {
	one := func(entry string, data int) []byte { return file(`{"t":`+entry+`}`, data) }
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":         {nil, "too few"},
		"long":          {binary.LittleEndian.AppendUint64(nil, 1<<40), "cut short"},
		"negative":      {append(binary.LittleEndian.AppendUint64(nil, 1<<63), '{'), "cut short"},
		"no JSON":       {file("PK\x03\x04", 4), "invalid character"},
		"list":          {file("[]", 0), "[ where { must be"},
		"ends":          {file(`{"t":`, 0), "ends too early"},
		"ends in entry": {file(`{"t":{"dtype":"F32"`, 0), "ends too early"},
		"more":          {file(`{} {}`, 0), "something follows"},
		"twice":         {file(`{"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"t":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), `"t" stands twice`},
		"no name":       {file(`{"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), "a name has"},
		"metadata":      {file(`{"__metadata__":{"a":1}}`, 0), "__metadata__"},
		"no dtype":      {one(`{"shape":[1],"data_offsets":[0,1]}`, 1), "must be there"},
		"dtype":         {one(`{"dtype":"F4","shape":[1],"data_offsets":[0,1]}`, 1), `"F4" is not known`},
		"shape":         {one(`{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}`, 1), "cannot unmarshal"},
		"fraction":      {one(`{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}`, 1), "cannot unmarshal"},
		"dimensions":    {one(`{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}`, 1), "9 dimensions"},
		"elements":      {one(`{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,1]}`, 1), "too many elements"},
		"offsets":       {one(`{"dtype":"U8","shape":[1],"data_offsets":[0]}`, 1), "1 numbers"},
		"turned":        {one(`{"dtype":"U8","shape":[1],"data_offsets":[1,0]}`, 1), "cut short"},
		"past the end":  {one(`{"dtype":"U8","shape":[2],"data_offsets":[0,2]}`, 1), "cut short"},
		"size":          {one(`{"dtype":"F32","shape":[2],"data_offsets":[0,4]}`, 4), "needs 8"},
		"hole":          {one(`{"dtype":"U8","shape":[1],"data_offsets":[1,2]}`, 2), "begins at byte 1"},
		"rest":          {one(`{"dtype":"U8","shape":[1],"data_offsets":[0,1]}`, 2), "belong to none"},
		"overlap":       {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3), "the data before it ends at 2"},
	} {
		if _, err := read(c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

func put(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "neither model.safetensors nor") {
		t.Errorf("an empty folder: %v", err)
	}
	put(t, dir, "pytorch_model.bin", []byte("PK"))
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "has pytorch_model.bin") {
		t.Errorf("a folder of PyTorch's: %v", err)
	}
	put(t, dir, "model.safetensors", file(two, 16))
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(s.Data(s.Tensor("b"))); err != nil || string(b) != string(file("", 16)[12:]) {
		t.Errorf("data %v %v", b, err)
	}
	if s.Tensor("c") != nil {
		t.Error("a tensor that is not there is found")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestIndex(t *testing.T) {
	part := func(name string) []byte {
		return file(`{"`+name+`":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 2)
	}
	lay := func(index string) string {
		dir := t.TempDir()
		put(t, dir, "x-2.safetensors", part("b"))
		put(t, dir, "x-1.safetensors", part("a"))
		put(t, dir, "model.safetensors.index.json", []byte(index))
		return dir
	}
	s, err := Open(lay(`{"metadata":{"total_size":4},"weight_map":{"b":"x-2.safetensors","a":"x-1.safetensors"}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.Tensors) != 2 || s.Tensors[0].Name != "a" || s.Tensors[1].File != 1 {
		t.Errorf("tensors %+v", s.Tensors)
	}
	for index, want := range map[string]string{
		`{`:  "ends too early",
		`{}`: "no weight_map",
		`{"weight_map":{"a":"x-1.safetensors"}}/`[:39]:                                       "",
		`{"weight_map":{"a":"../x-1.safetensors"}}`:                                          "not the name of a .safetensors file",
		`{"weight_map":{"a":"x-1.bin"}}`:                                                     "not the name of a .safetensors file",
		`{"weight_map":{"a":"x-1.safetensors","b":"x-3.safetensors"}}`:                       "no such file",
		`{"weight_map":{"a":"x-2.safetensors","b":"x-1.safetensors"}}`:                       ", not in x-",
		`{"weight_map":{"a":"x-1.safetensors","b":"x-2.safetensors","c":"x-1.safetensors"}}`: `does not have the tensor "c"`,
		`{"weight_map":{"a":"x-1.safetensors","c":"x-2.safetensors"}}`:                       `does not have the tensor "c"`,
	} {
		s, err := Open(lay(index))
		if err == nil {
			s.Close()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", index, err, want)
		}
	}
	dir := lay(`{"weight_map":{"a":"x-1.safetensors","b":"x-2.safetensors"}}`)
	put(t, dir, "x-2.safetensors", part("a"))
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), `"a" is in x-1.safetensors, too`) {
		t.Errorf("a tensor in two files: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(file(two, 16))
	f.Add(file(`{"a":{"dtype":"F16","shape":[1,0],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := read(b)
		if err != nil {
			return
		}
		var sum int64
		for _, x := range list {
			if x.Offset < 8 || x.Size < 0 || x.Offset+x.Size > int64(len(b)) || x.Size != x.Elements()*x.Type.Size() {
				t.Fatalf("%+v of %d bytes", x, len(b))
			}
			sum += x.Size
		}
		if int(sum) > len(b) {
			t.Fatalf("%d bytes of data in %d", sum, len(b))
		}
	})
}
