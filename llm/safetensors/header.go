package safetensors

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"unicode/utf8"
)

// Bounds on what a header may ask for. The largest models in use have a few thousand tensors in a file.
const (
	maxHeader  = 100_000_000 // bytes of JSON, by the format's own reader
	maxTensors = 1 << 17
	maxName    = 1 << 10 // bytes
	maxDims    = 8
)

// Tensor is an entry of a header.
type Tensor struct {
	Name   string
	Type   DType
	Shape  []int64 // as torch has it: the last dimension's elements are neighbours; none for a single value
	File   int     // the index of its file in Set.Paths
	Offset int64   // of its data from the beginning of that file, in bytes
	Size   int64   // of its data, in bytes
}

// Elements is how many elements the tensor has.
func (t *Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Read reads the header of a file of the given size. The tensors are in the order of their data.
func Read(from io.ReaderAt, size int64) ([]Tensor, error) {
	var word [8]byte
	if size < int64(len(word)) {
		return nil, fmt.Errorf("the file has %d bytes, too few for a .safetensors file", size)
	}
	if _, err := from.ReadAt(word[:], 0); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint64(word[:])
	switch {
	case length > uint64(size)-8:
		return nil, fmt.Errorf("the header should have %d bytes, but the file has %d: it is cut short, or no .safetensors file", length, size)
	case length > maxHeader:
		return nil, fmt.Errorf("the header has %d bytes, more than the %d allowed", length, maxHeader)
	}
	h := header{in: json.NewDecoder(io.NewSectionReader(from, 8, int64(length))), data: size - 8 - int64(length)}
	if err := h.read(); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := h.cover(); err != nil {
		return nil, err
	}
	for i := range h.list {
		h.list[i].Offset += 8 + int64(length)
	}
	return h.list, nil
}

// header is a header that is being read.
type header struct {
	in   *json.Decoder
	data int64 // bytes behind the header
	list []Tensor
}

// delimiter reads the one that must follow.
func (h *header) delimiter(want json.Delim) error {
	t, err := h.in.Token()
	if err != nil {
		return whole(err)
	}
	if t != want {
		return fmt.Errorf("at byte %d: %v where %v must be", h.in.InputOffset(), t, want)
	}
	return nil
}

// whole names the end of the input by what it means here.
func whole(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("its JSON ends too early")
	}
	return err
}

// read reads the JSON piece by piece: encoding/json alone would take the second of two tensors with one name.
func (h *header) read() error {
	if err := h.delimiter('{'); err != nil {
		return err
	}
	names := map[string]bool{}
	for h.in.More() {
		t, err := h.in.Token()
		if err != nil {
			return whole(err)
		}
		name := t.(string) // of a key, the decoder gives nothing else
		switch {
		case names[name]:
			return fmt.Errorf("%q stands twice", name)
		case len(name) > maxName || name == "" || !utf8.ValidString(name):
			return fmt.Errorf("%.40q: a name has 1 to %d bytes", name, maxName)
		}
		names[name] = true
		if name == "__metadata__" {
			var notes map[string]string
			if err := h.in.Decode(&notes); err != nil {
				return fmt.Errorf("__metadata__: %w", whole(err))
			}
			continue
		}
		if len(h.list) == maxTensors {
			return fmt.Errorf("more than %d tensors", maxTensors)
		}
		if err := h.tensor(name); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
	}
	if err := h.delimiter('}'); err != nil {
		return err
	}
	if _, err := h.in.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("at byte %d: something follows its end", h.in.InputOffset())
	}
	return nil
}

// entry is a tensor as the JSON has it.
type entry struct {
	DType   *DType
	Shape   *[]uint64
	Offsets *[]uint64 `json:"data_offsets"`
}

func (h *header) tensor(name string) error {
	var e entry
	if err := h.in.Decode(&e); err != nil {
		return whole(err)
	}
	switch {
	case e.DType == nil || e.Shape == nil || e.Offsets == nil:
		return errors.New("dtype, shape and data_offsets must be there")
	case len(*e.Offsets) != 2:
		return fmt.Errorf("data_offsets has %d numbers, not 2", len(*e.Offsets))
	case len(*e.Shape) > maxDims:
		return fmt.Errorf("it has %d dimensions, more than the %d allowed", len(*e.Shape), maxDims)
	}
	t := Tensor{Name: name, Type: *e.DType, Shape: make([]int64, len(*e.Shape))}
	n := t.Type.Size()
	if n == 0 {
		return fmt.Errorf("its dtype %.20q is not known", string(t.Type))
	}
	for i, d := range *e.Shape {
		if d > math.MaxInt64 || d > 0 && n > math.MaxInt64/int64(d) {
			return fmt.Errorf("shape %v has too many elements", *e.Shape)
		}
		t.Shape[i] = int64(d)
		n *= int64(d)
	}
	begin, end := (*e.Offsets)[0], (*e.Offsets)[1]
	switch {
	case begin > end || end > uint64(h.data):
		return fmt.Errorf("its data is from byte %d to %d of %d: the file is cut short or damaged", begin, end, h.data)
	case end-begin != uint64(n):
		return fmt.Errorf("its data has %d bytes, its shape %v of %s needs %d", end-begin, t.Shape, t.Type, n)
	}
	t.Offset, t.Size = int64(begin), n
	h.list = append(h.list, t)
	return nil
}

// cover checks that the tensors' data is all that the file has, without holes and overlaps.
func (h *header) cover() error {
	slices.SortStableFunc(h.list, func(a, b Tensor) int { return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Size, b.Size)) })
	var at int64
	for _, t := range h.list {
		if t.Offset != at {
			return fmt.Errorf("tensor %q: its data begins at byte %d, the data before it ends at %d", t.Name, t.Offset, at)
		}
		at += t.Size
	}
	if at != h.data {
		return fmt.Errorf("%d bytes behind the last tensor's data belong to none", h.data-at)
	}
	return nil
}
