package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Number is what metadata can hold beside strings, by its Go type.
type Number interface {
	uint8 | int8 | uint16 | int16 | uint32 | int32 | float32 | bool | uint64 | int64 | float64
}

// Value is a metadata value of a file that is being written: from a File, or made by Text, Texts, Num or Nums. It never changes.
type Value struct{ v *value }

// Text is a string.
func Text(s string) Value { return Value{&value{kind: String, count: 1, strings: []string{s}}} }

// Texts is an array of strings.
func Texts(s []string) Value {
	return Value{&value{kind: String, array: true, count: len(s), strings: slices.Clone(s)}}
}

// Num is a number or a bool of the kind that its Go type has: Num(uint32(5)) is a uint32.
func Num[T Number](n T) Value {
	v := Nums([]T{n})
	v.v.array = false
	return v
}

// Nums is an array of numbers or bools.
func Nums[T Number](list []T) Value {
	v := &value{kind: kindOf[T](), array: true, count: len(list)}
	// Every T has a fixed size, so that Append cannot fail.
	v.raw, _ = binary.Append(make([]byte, 0, int64(len(list))*kindSizes[v.kind]), binary.LittleEndian, list)
	return Value{v}
}

func kindOf[T Number]() Kind {
	switch any(*new(T)).(type) {
	case uint8:
		return Uint8
	case int8:
		return Int8
	case uint16:
		return Uint16
	case int16:
		return Int16
	case uint32:
		return Uint32
	case int32:
		return Int32
	case float32:
		return Float32
	case bool:
		return Bool
	case uint64:
		return Uint64
	case int64:
		return Int64
	}
	return Float64
}

// Value is the value at key as it stands in the file, to be written into another; false when there is none.
func (f *File) Value(key string) (Value, bool) {
	v, ok := f.meta[key]
	return Value{v}, ok
}

// Draft is a GGUF file that is to be written: its metadata and its tensors' names, types and shapes. Their data is asked for
// when the file is written (Save), in the order in which they were added. The zero Draft is empty and ready. It belongs to one
// goroutine.
type Draft struct {
	keys    []string
	meta    map[string]*value
	tensors []Tensor
	names   map[string]bool
}

// Set sets a key, at the place it has, or at the end.
func (d *Draft) Set(key string, v Value) {
	if d.meta == nil {
		d.meta = map[string]*value{}
	}
	if _, there := d.meta[key]; !there {
		d.keys = append(d.keys, key)
	}
	d.meta[key] = v.v
}

// Delete takes a key away.
func (d *Draft) Delete(key string) {
	if _, there := d.meta[key]; there {
		delete(d.meta, key)
		d.keys = slices.DeleteFunc(d.keys, func(k string) bool { return k == key })
	}
}

// Inherit sets all keys of f, in its order and of its kinds; not those that say how f is split over files, since a Draft is
// written as one.
func (d *Draft) Inherit(f *File) {
	for _, key := range f.keys {
		if !strings.HasPrefix(key, "split.") {
			d.Set(key, Value{f.meta[key]})
		}
	}
}

// Add adds a tensor. shape is in ggml's order: shape[0] is the length of a row.
func (d *Draft) Add(name string, t Type, shape []int64) error {
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("tensor %q: a name has 1 to %d bytes, this one has %d", name, maxName, len(name))
	case d.names[name]:
		return fmt.Errorf("the tensor %q is there twice", name)
	case len(shape) == 0 || len(shape) > maxDims:
		return fmt.Errorf("tensor %q has %d dimensions; 1 to %d are allowed", name, len(shape), maxDims)
	case len(d.tensors) == maxTensors:
		return fmt.Errorf("tensor %q: more than %d tensors", name, maxTensors)
	}
	size, err := extent(t, shape)
	if err != nil {
		return fmt.Errorf("tensor %q: %w", name, err)
	}
	if d.names == nil {
		d.names = map[string]bool{}
	}
	d.names[name] = true
	d.tensors = append(d.tensors, Tensor{Name: name, Type: t, Shape: slices.Clone(shape), Size: size})
	return nil
}

// Size is how many bytes the file will have, and why it cannot be written.
func (d *Draft) Size() (int64, error) {
	l, err := d.lay()
	return l.size, err
}

// plan is where everything of a draft goes.
type plan struct {
	head    []byte // up to the padding before the data
	tensors []Tensor
	align   int64
	size    int64 // of the whole file
}

// lay gives the tensors their places and writes the header. It holds a draft to what Read asks of a file.
func (d *Draft) lay() (plan, error) {
	align, err := d.alignment()
	if err != nil {
		return plan{}, err
	}
	p := plan{tensors: slices.Clone(d.tensors), align: align}
	var offset int64
	for i := range p.tensors {
		t := &p.tensors[i]
		t.Offset = offset
		if t.Size > math.MaxInt64-maxHeader-align-offset {
			return plan{}, fmt.Errorf("tensor %q: the file would have more bytes than can be counted", t.Name)
		}
		offset = up(offset+t.Size, align)
	}
	if p.head, err = d.header(p.tensors); err != nil {
		return plan{}, err
	}
	begin := up(int64(len(p.head)), align)
	for i := range p.tensors {
		p.tensors[i].Offset += begin
	}
	p.size = begin + offset
	return p, nil
}

func up(n, align int64) int64 { return (n + align - 1) / align * align }

// alignment is what general.alignment says, else 32.
func (d *Draft) alignment() (int64, error) {
	v := d.meta["general.alignment"]
	if v == nil {
		return 32, nil
	}
	if v.array || !v.kind.integer() {
		return 0, fmt.Errorf("general.alignment must be one whole number")
	}
	a := v.word(0)
	if a == 0 || a&(a-1) != 0 || a > 1<<30 {
		return 0, fmt.Errorf("general.alignment is %d; it must be a power of two", a)
	}
	return int64(a), nil
}

// header writes magic number, version 3, metadata and directory; the tensors' offsets are from the data's beginning on.
func (d *Draft) header(tensors []Tensor) ([]byte, error) {
	le := binary.LittleEndian
	str := func(b []byte, s string) []byte { return append(le.AppendUint64(b, uint64(len(s))), s...) }
	b := le.AppendUint32([]byte("GGUF"), 3)
	b = le.AppendUint64(b, uint64(len(tensors)))
	b = le.AppendUint64(b, uint64(len(d.keys)))
	for _, key := range d.keys {
		if key == "" || len(key) > maxKey {
			return nil, fmt.Errorf("a key has 1 to %d bytes, %.40q has %d", maxKey, key, len(key))
		}
		v := d.meta[key]
		if v == nil {
			return nil, fmt.Errorf("the key %s has no value", key)
		}
		b = str(b, key)
		if v.array {
			b = le.AppendUint32(b, uint32(Array))
		}
		b = le.AppendUint32(b, uint32(v.kind))
		if v.array {
			b = le.AppendUint64(b, uint64(v.count))
		}
		for _, s := range v.strings {
			b = str(b, s)
		}
		b = append(b, v.raw...)
		if len(b) > maxHeader {
			return nil, fmt.Errorf("the key %s takes the header over %d MiB", key, maxHeader>>20)
		}
	}
	for i := range tensors {
		t := &tensors[i]
		b = str(b, t.Name)
		b = le.AppendUint32(b, uint32(len(t.Shape)))
		for _, n := range t.Shape {
			b = le.AppendUint64(b, uint64(n))
		}
		b = le.AppendUint32(b, uint32(t.Type))
		b = le.AppendUint64(b, uint64(t.Offset))
	}
	if len(b) > maxHeader {
		return nil, fmt.Errorf("the directory of %d tensors takes the header over %d MiB", len(tensors), maxHeader>>20)
	}
	return b, nil
}
