package onnx

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unsafe"

	"serval"
	"serval/engine"
)

const (
	// copyUpTo is the size up to which a lone call's data is copied beside an OrtValue that stays, rather than used where
	// it stands: making and freeing an OrtValue costs about as much as copying this.
	copyUpTo = 32 << 10
	// keepUpTo is the largest staging buffer that an instance keeps between batches.
	keepUpTo = 8 << 20
)

// input is an instance's buffer for one of the model's inputs.
type input struct {
	*value
	shape   []int64 // of the batch; stands in the heap for C
	data    []byte  // the rows of the batch
	ort     uintptr // OrtValue over data, for the shape in made
	made    []int64
	direct  bool // ort is for this run only
	strings []uintptr
	room    uintptr // where C puts the address of a string's bytes
}

// stage lays the calls' inputs together and fills names and values. It returns the rows of the batch.
func (in *instance) stage(calls []*engine.Call) (int64, error) {
	in.names, in.values = in.names[:0], in.values[:0]
	for i := range in.inputs {
		present, err := in.inputs[i].join(calls, i)
		if err != nil {
			return 0, err
		}
		if !present {
			continue
		}
		if err := in.inputs[i].lay(&in.caller, calls, i); err != nil {
			return 0, err
		}
		in.names = append(in.names, address(in.inputs[i].name))
		in.values = append(in.values, in.inputs[i].ort)
	}
	return engine.Rows(calls), nil
}

// join works out the shape of the batch's input i, and checks what C code must be able to rely on. It reports false for an
// optional input that is left out.
func (n *input) join(calls []*engine.Call, i int) (bool, error) {
	if calls[0].Inputs[i].DType == serval.InvalidType {
		for _, c := range calls[1:] {
			if c.Inputs[i].DType != serval.InvalidType {
				return false, serval.Errorf(serval.Internal, "input '%s' is given by some calls of a batch only", n.info.Name)
			}
		}
		if !n.info.Optional {
			return false, serval.Errorf(serval.InvalidArgument, "input '%s' is missing", n.info.Name).At(n.info.Name)
		}
		return false, nil
	}
	n.shape = append(n.shape[:0], calls[0].Inputs[i].Shape...)
	for k, c := range calls {
		t := &c.Inputs[i]
		if t.DType != n.info.DType {
			return false, serval.Errorf(serval.InvalidArgument, "input '%s' is %s, the model takes %s", n.info.Name, t.DType, n.info.DType).At(n.info.Name)
		}
		if err := t.Check(); err != nil {
			return false, err
		}
		if t.DType == serval.Bool && !onlyBools(t.Data) {
			return false, serval.Errorf(serval.InvalidArgument, "input '%s': a BOOL is one byte, 0 or 1; the data holds other values", n.info.Name).At(n.info.Name)
		}
		if k == 0 {
			continue
		}
		if len(n.shape) == 0 || len(t.Shape) != len(n.shape) || !slices.Equal(t.Shape[1:], n.shape[1:]) {
			return false, serval.Errorf(serval.Internal, "input '%s' has different shapes in one batch", n.info.Name)
		}
		n.shape[0] += t.Shape[0]
	}
	return true, nil
}

// onlyBools says whether every byte is 0 or 1: C++ may do anything with another bool.
func onlyBools(data []byte) bool {
	for _, b := range data {
		if b > 1 {
			return false
		}
	}
	return true
}

// lay makes the OrtValue of the input.
func (n *input) lay(c *caller, calls []*engine.Call, i int) error {
	if n.info.DType == serval.Bytes {
		return n.layStrings(c, calls, i)
	}
	if own := calls[0].Inputs[i].Data; len(calls) == 1 && len(own) > copyUpTo && address(own)%uintptr(n.info.DType.Size()) == 0 {
		n.drop(c)
		n.direct = true
		return n.make(c, own)
	}
	size := 0
	for _, one := range calls {
		size += len(one.Inputs[i].Data)
	}
	if cap(n.data) < size || cap(n.data) == 0 {
		n.drop(c)
		n.data = make([]byte, 0, max(size, 64))
	}
	n.data = engine.Gather(n.data[:0], calls, i)
	if n.ort != 0 && slices.Equal(n.shape, n.made) {
		return nil
	}
	n.drop(c)
	n.made = append(n.made[:0], n.shape...)
	return n.make(c, n.data)
}

// make makes an OrtValue over data, which stays where it is until the OrtValue is freed.
func (n *input) make(c *caller, data []byte) error {
	return c.call(fnCreateTensorWithDataAsOrtValue, c.cpu, address(data), uintptr(len(data)), addressOf(n.shape), uintptr(len(n.shape)), uintptr(n.element), uintptr(unsafe.Pointer(&n.ort)))
}

// layStrings makes an OrtValue that holds its own copy of the strings.
func (n *input) layStrings(c *caller, calls []*engine.Call, i int) error {
	n.drop(c)
	n.direct = true
	if err := c.call(fnCreateTensorAsOrtValue, c.allocator, addressOf(n.shape), uintptr(len(n.shape)), uintptr(elementString), uintptr(unsafe.Pointer(&n.ort))); err != nil {
		return err
	}
	// C wants each string with a NUL behind it: the lengths before the strings make room for one.
	n.data = engine.Gather(n.data[:0], calls, i)
	n.data = append(n.data, 0)
	nul := false
	n.strings = n.strings[:0]
	for at := 0; at < len(n.data)-1; {
		size := int(binary.LittleEndian.Uint32(n.data[at:])) // whole: Check has counted them
		n.data[at] = 0
		at += 4
		n.strings = append(n.strings, address(n.data[at:]))
		nul = nul || bytes.IndexByte(n.data[at:at+size], 0) >= 0
		at += size
	}
	if len(n.strings) == 0 {
		return nil
	}
	if nul {
		return n.layElements(c, calls, i)
	}
	return c.call(fnFillStringTensor, n.ort, addressOf(n.strings), uintptr(len(n.strings)))
}

// layElements fills in strings that hold a NUL, one by one.
func (n *input) layElements(c *caller, calls []*engine.Call, i int) error {
	at := 0
	for _, one := range calls {
		for rest := one.Inputs[i].Data; len(rest) > 0; at++ {
			var s []byte
			s, rest, _ = serval.NextBytes(rest)
			if err := c.call(fnGetResizedStringTensorElementBuffer, n.ort, uintptr(at), uintptr(len(s)), uintptr(unsafe.Pointer(&n.room))); err != nil {
				return err
			}
			if len(s) > 0 {
				copy(unsafe.Slice((*byte)(pointer(n.room)), len(s)), s)
			}
		}
	}
	return nil
}

// finish lets go of what one run used.
func (n *input) finish(c *caller) {
	if n.direct || cap(n.data) > keepUpTo {
		n.drop(c)
		n.direct = false
	}
	if cap(n.data) > keepUpTo {
		n.data = nil
	}
	if cap(n.strings) > keepUpTo/8 {
		n.strings = nil
	}
}

// drop frees the OrtValue.
func (n *input) drop(c *caller) {
	c.release(fnReleaseValue, n.ort)
	n.ort = 0
	n.made = n.made[:0]
}

// addressOf is where the elements stand; never nil. The caller keeps them alive.
func addressOf[T int64 | uintptr](s []T) uintptr {
	if cap(s) == 0 {
		return uintptr(unsafe.Pointer(&nothing))
	}
	return uintptr(unsafe.Pointer(unsafe.SliceData(s)))
}

// nothing is what empty arrays point to.
var nothing [8]byte
