package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Kind is the type of a metadata value, by GGUF's numbers.
type Kind uint32

// The kinds of metadata values.
const (
	Uint8 Kind = iota
	Int8
	Uint16
	Int16
	Uint32
	Int32
	Float32
	Bool
	String
	Array
	Uint64
	Int64
	Float64
	numKinds
)

var kindNames = [numKinds]string{"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string", "array",
	"uint64", "int64", "float64"}

// kindSizes is the width of a value in bytes; 0 for strings and arrays.
var kindSizes = [numKinds]int64{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}

func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

// integer tells whether the kind has whole numbers.
func (k Kind) integer() bool { return k <= Int32 || k == Uint64 || k == Int64 }

// signed tells whether a whole number of the kind can be negative.
func (k Kind) signed() bool { return k == Int8 || k == Int16 || k == Int32 || k == Int64 }

// value is one metadata value. For an array kind is the elements' and array is set.
type value struct {
	kind    Kind
	array   bool
	count   int
	raw     []byte   // numbers and bools, little endian: one, or count of them
	strings []string // one, or count of them
}

// word is the i-th number's bits, with the sign extended.
func (v *value) word(i int) uint64 {
	b := v.raw[int64(i)*kindSizes[v.kind]:]
	switch v.kind {
	case Uint8, Bool:
		return uint64(b[0])
	case Int8:
		return uint64(int64(int8(b[0])))
	case Uint16:
		return uint64(binary.LittleEndian.Uint16(b))
	case Int16:
		return uint64(int64(int16(binary.LittleEndian.Uint16(b))))
	case Uint32, Float32:
		return uint64(binary.LittleEndian.Uint32(b))
	case Int32:
		return uint64(int64(int32(binary.LittleEndian.Uint32(b))))
	}
	return binary.LittleEndian.Uint64(b)
}

// float is the i-th number as a float.
func (v *value) float(i int) float64 {
	w := v.word(i)
	switch {
	case v.kind == Float32:
		return float64(math.Float32frombits(uint32(w)))
	case v.kind == Float64:
		return math.Float64frombits(w)
	case v.kind.signed():
		return float64(int64(w))
	}
	return float64(w)
}

// text is the i-th element as a person reads it.
func (v *value) text(i int) string {
	switch {
	case v.kind == String:
		return v.strings[i]
	case v.kind == Bool:
		return strconv.FormatBool(v.word(i) != 0)
	case v.kind == Float32:
		return strconv.FormatFloat(v.float(i), 'g', -1, 32)
	case v.kind == Float64:
		return strconv.FormatFloat(v.float(i), 'g', -1, 64)
	case v.kind.signed():
		return strconv.FormatInt(int64(v.word(i)), 10)
	}
	return strconv.FormatUint(v.word(i), 10)
}

// Keys are the metadata's keys in the file's order. The slice belongs to f.
func (f *File) Keys() []string { return f.keys }

// Kind is the kind of the value at key, and whether it is an array of that kind; ok is false when there is none.
func (f *File) Kind(key string) (kind Kind, array, ok bool) {
	v, ok := f.meta[key]
	if !ok {
		return 0, false, false
	}
	return v.kind, v.array, true
}

// Text shows the value at key to a person: strings as they are, arrays as their first elements and their length.
func (f *File) Text(key string) (string, bool) {
	v, ok := f.meta[key]
	if !ok {
		return "", false
	}
	if !v.array {
		return v.text(0), true
	}
	const shown = 8
	var b strings.Builder
	b.WriteByte('[')
	for i := range min(v.count, shown) {
		if i > 0 {
			b.WriteString(", ")
		}
		if v.kind == String {
			b.WriteString(strconv.Quote(v.text(i)))
		} else {
			b.WriteString(v.text(i))
		}
	}
	if v.count > shown {
		fmt.Fprintf(&b, ", … %d in all", v.count)
	}
	b.WriteByte(']')
	return b.String(), true
}

// scalar is the value at key if it is one and not an array.
func (f *File) scalar(key string) *value {
	if v, ok := f.meta[key]; ok && !v.array {
		return v
	}
	return nil
}

// list is the value at key if it is an array.
func (f *File) list(key string) *value {
	if v, ok := f.meta[key]; ok && v.array {
		return v
	}
	return nil
}

// String is the string at key; false when there is none or it is of another kind.
func (f *File) String(key string) (string, bool) {
	if v := f.scalar(key); v != nil && v.kind == String {
		return v.strings[0], true
	}
	return "", false
}

// Uint is the whole number at key, of any width and sign; false when there is none or it is negative.
func (f *File) Uint(key string) (uint64, bool) {
	v := f.scalar(key)
	if v == nil || !v.kind.integer() || v.kind.signed() && int64(v.word(0)) < 0 {
		return 0, false
	}
	return v.word(0), true
}

// Int is the whole number at key, of any width and sign; false when there is none or it is too large.
func (f *File) Int(key string) (int64, bool) {
	v := f.scalar(key)
	if v == nil || !v.kind.integer() || !v.kind.signed() && v.word(0) > math.MaxInt64 {
		return 0, false
	}
	return int64(v.word(0)), true
}

// Float is the number at key, of any kind; false when there is none.
func (f *File) Float(key string) (float64, bool) {
	v := f.scalar(key)
	if v == nil || v.kind == String || v.kind == Bool {
		return 0, false
	}
	return v.float(0), true
}

// Bool is the bool at key; false, false when there is none.
func (f *File) Bool(key string) (is, ok bool) {
	if v := f.scalar(key); v != nil && v.kind == Bool {
		return v.word(0) != 0, true
	}
	return false, false
}

// Strings is the array of strings at key; false when there is none. The slice belongs to f.
func (f *File) Strings(key string) ([]string, bool) {
	if v := f.list(key); v != nil && v.kind == String {
		return v.strings, true
	}
	return nil, false
}

// Ints is the array of whole numbers or bools (0 and 1) at key, of any width, in a new slice; false when there is none or a
// number is too large.
func (f *File) Ints(key string) ([]int64, bool) {
	v := f.list(key)
	if v == nil || !v.kind.integer() && v.kind != Bool {
		return nil, false
	}
	out := make([]int64, v.count)
	for i := range out {
		out[i] = int64(v.word(i))
		if v.kind == Uint64 && out[i] < 0 {
			return nil, false
		}
	}
	return out, true
}

// Floats is the array of numbers at key, of any kind, in a new slice; false when there is none. Files keep such arrays (the
// scores of tokens, factors of RoPE) as float32.
func (f *File) Floats(key string) ([]float32, bool) {
	v := f.list(key)
	if v == nil || v.kind == String || v.kind == Bool {
		return nil, false
	}
	out := make([]float32, v.count)
	for i := range out {
		out[i] = float32(v.float(i))
	}
	return out, true
}
