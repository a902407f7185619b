package gguf

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
)

// File is an open model: one GGUF file, or all parts of a split one. It is read-only and safe for concurrent use; Close it once.
type File struct {
	Version   uint32   // of the format: 2 or 3
	Alignment int64    // of the tensors' offsets, in bytes
	Paths     []string // one for each part, in order
	Sizes     []int64  // of the parts, in bytes
	Tensors   []Tensor // of all parts, in the files' order

	keys  []string
	meta  map[string]*value
	files []*os.File
}

// Tensor is an entry of the directory.
type Tensor struct {
	Name   string
	Type   Type
	Shape  []int64 // in ggml's order: Shape[0] is the length of a row, whose elements are neighbours; one to four dimensions
	File   int     // the index of its part in File.Paths
	Offset int64   // of its data from the beginning of that part, in bytes
	Size   int64   // of its data, in bytes

	entry int64 // where its directory entry begins, for errors
}

// Elements is how many elements the tensor has.
func (t *Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Architecture is general.architecture: "llama", "gemma3", …
func (f *File) Architecture() string {
	s, _ := f.String("general.architecture")
	return s
}

// Tensor finds a tensor by its name; nil when there is none. It searches: keep what it finds.
func (f *File) Tensor(name string) *Tensor {
	for i := range f.Tensors {
		if f.Tensors[i].Name == name {
			return &f.Tensors[i]
		}
	}
	return nil
}

// Data reads the tensor's bytes as they stand in the file. It is valid until Close.
func (f *File) Data(t *Tensor) *io.SectionReader {
	return io.NewSectionReader(f.files[t.File], t.Offset, t.Size)
}

// Parts are the open files, as Paths. They belong to f.
func (f *File) Parts() []*os.File { return f.files }

// Close closes the parts.
func (f *File) Close() error {
	var first error
	for _, file := range f.files {
		if err := file.Close(); err != nil && first == nil {
			first = err
		}
	}
	f.files = nil
	return first
}

// Read reads the header, the metadata and the directory of one GGUF file of the given size from its beginning. The File has
// no path and Data must not be called; parts of a split model are not looked for.
func Read(from io.Reader, size int64) (*File, error) {
	f := &File{meta: map[string]*value{}, Sizes: []int64{size}}
	r := newReader(from, size)
	tensors := f.header(r)
	f.metadata(r)
	f.directory(r, tensors)
	if r.err != nil {
		return nil, r.err
	}
	if err := f.place(r.at, size); err != nil {
		return nil, err
	}
	return f, nil
}

// header reads what stands before the metadata and gives the number of tensors. It leaves the keys' number in cap(f.keys).
func (f *File) header(r *reader) (tensors int) {
	var magic [4]byte
	switch {
	case r.size == 0:
		r.fail(0, "the file is empty")
	case r.size < 24:
		r.fail(0, "the file has %d bytes, too few for a GGUF file", r.size)
	}
	r.fill(magic[:], "the magic number")
	if r.err == nil && string(magic[:]) != "GGUF" {
		r.fail(0, "this is no GGUF file: it begins with %q and not with \"GGUF\"", magic[:])
	}
	f.Version = r.uint32("the version")
	switch v := f.Version; {
	case r.err != nil:
	case v&0xFFFF == 0 && v != 0:
		r.fail(4, "this is a big-endian GGUF file, which is not supported; convert it with llama.cpp's gguf_convert_endian.py")
	case v == 1:
		r.fail(4, "GGUF version 1 is not supported; convert the model anew")
	case v != 2 && v != 3:
		r.fail(4, "GGUF version %d is not supported; versions 2 and 3 are", v)
	}
	const entry = 8 + 1 + 4 + 4 + 8 // name's length, name, dimensions, type, offset
	tensors = r.count(entry, "the number of tensors")
	if tensors > maxTensors {
		r.fail(8, "the file has %d tensors, more than the %d allowed", tensors, maxTensors)
	}
	const pair = 8 + 1 + 4 + 1 // key's length, key, kind, value
	keys := r.count(pair, "the number of metadata keys")
	if r.err == nil {
		f.keys = make([]string, 0, keys)
	}
	return tensors
}

// metadata reads the pairs of key and value.
func (f *File) metadata(r *reader) {
	for range cap(f.keys) {
		at := r.at
		key := r.string(maxKey, "a key")
		if r.err == nil && key == "" {
			r.fail(at, "a key is empty")
		}
		if _, twice := f.meta[key]; twice {
			r.fail(at, "the key %q stands twice", key)
		}
		v := r.value(Kind(r.uint32("the kind of "+key)), key)
		if r.err != nil {
			return
		}
		f.keys = append(f.keys, key)
		f.meta[key] = v
	}
	f.Alignment = 32
	if f.meta["general.alignment"] != nil {
		a, ok := f.Uint("general.alignment")
		if !ok || a == 0 || a&(a-1) != 0 || a > 1<<30 {
			text, _ := f.Text("general.alignment")
			r.fail(r.at, "general.alignment is %s; it must be a power of two", text)
		}
		f.Alignment = int64(a)
	}
}

// directory reads the tensors' names, shapes, types and offsets.
func (f *File) directory(r *reader, n int) {
	names := make(map[string]bool, min(n, 4096))
	for range n {
		t := Tensor{entry: r.at}
		t.Name = r.string(maxName, "a tensor's name")
		if r.err == nil && names[t.Name] {
			r.fail(t.entry, "the tensor %q stands twice", t.Name)
		}
		names[t.Name] = true
		at := r.at
		dims := r.uint32("the number of dimensions")
		if r.err == nil && (dims == 0 || dims > maxDims) {
			r.fail(at, "tensor %q has %d dimensions; 1 to %d are allowed", t.Name, dims, maxDims)
		}
		for d := uint32(0); d < dims && r.err == nil; d++ {
			t.Shape = append(t.Shape, int64(r.uint64("a dimension")))
		}
		t.Type = Type(r.uint32("a tensor's type"))
		offset := r.uint64("a tensor's offset")
		if r.err != nil {
			return
		}
		size, err := extent(t.Type, t.Shape)
		if err != nil {
			r.fail(t.entry, "tensor %q: %w", t.Name, err)
			return
		}
		if offset > math.MaxInt64-maxHeader || int64(offset)%f.Alignment != 0 {
			r.fail(t.entry, "tensor %q: its offset %d is no multiple of the alignment, %d", t.Name, offset, f.Alignment)
			return
		}
		t.Offset, t.Size = int64(offset), size
		f.Tensors = append(f.Tensors, t)
	}
}

// extent is how many bytes a tensor takes.
func extent(t Type, shape []int64) (int64, error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	elements, bytes := t.Block()
	if shape[0]%elements != 0 {
		return 0, fmt.Errorf("its rows have %d elements, which is no multiple of the %d in a block of %s", shape[0], elements, t)
	}
	n := int64(1)
	for _, d := range shape {
		if d <= 0 {
			return 0, fmt.Errorf("shape %v has a dimension that is not positive", shape)
		}
		if n > math.MaxInt64/64/d { // 64: bytes of an element and room for sums
			return 0, fmt.Errorf("shape %v has too many elements", shape)
		}
		n *= d
	}
	return n / elements * bytes, nil
}

// place turns the offsets, which count from the data's beginning, into offsets in the file, and checks that the tensors lie
// in the file and not on each other.
func (f *File) place(header, size int64) error {
	begin := (header + f.Alignment - 1) / f.Alignment * f.Alignment
	order := make([]*Tensor, len(f.Tensors))
	for i := range f.Tensors {
		order[i] = &f.Tensors[i]
		order[i].Offset += begin
	}
	slices.SortFunc(order, func(a, b *Tensor) int { return cmp.Compare(a.Offset, b.Offset) })
	var last *Tensor
	for _, t := range order {
		if t.Size > size || t.Offset > size-t.Size {
			return fmt.Errorf("at byte %d: tensor %q needs %d bytes from byte %d on, but the file ends at byte %d: it is cut short, download it again",
				t.entry, t.Name, t.Size, t.Offset, size)
		}
		if last != nil && t.Offset < last.Offset+last.Size {
			return fmt.Errorf("at byte %d: tensor %q begins at byte %d, inside tensor %q, which ends at %d",
				t.entry, t.Name, t.Offset, last.Name, last.Offset+last.Size)
		}
		last = t
	}
	return nil
}
