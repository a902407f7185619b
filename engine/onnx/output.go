package onnx

import (
	"slices"
	"unsafe"

	"serval"
	"serval/engine"
)

// output is an instance's view of one of the model's outputs during a run.
type output struct {
	*value
	shape  []int64
	data   []byte // what the answer will copy: ONNX Runtime's memory, or own
	own    []byte // strings, and tensors put together of many
	text   []byte // scratch for strings, one behind another
	starts []uintptr

	labels     []string // of the map's keys, as they came last:
	lastKeys   []byte
	lastStarts []uintptr
}

// deliver copies the outputs out of ONNX Runtime's memory into one buffer and gives every call its rows.
func (in *instance) deliver(calls []*engine.Call) error {
	size, dims := 0, 0
	for i := range in.outputs {
		o := &in.outputs[i]
		if err := in.take(o, in.outPtr[i]); err != nil {
			return err
		}
		size += align(len(o.data))
		dims += len(o.shape)
	}
	hold := engine.NewBuffer(size)
	defer hold.Release()
	if room := dims * (1 + len(calls)); cap(hold.Dims) < room { // Scatter adds each call's shapes behind the batch's
		hold.Dims = make([]int64, 0, room)
	}
	at := 0
	for i := range in.outputs {
		o := &in.outputs[i]
		end := at + copy(hold.Data[at:], o.data)
		d := len(hold.Dims)
		hold.Dims = append(hold.Dims, o.shape...)
		in.answer[i] = serval.Tensor{Name: o.info.Name, DType: o.info.DType, Shape: hold.Dims[d:len(hold.Dims):len(hold.Dims)],
			Data: hold.Data[at:end:end], Labels: o.labels}
		if o.kind == tensorKind {
			in.answer[i].Labels = o.info.Labels
		}
		at += align(end - at)
	}
	return engine.Scatter(calls, in.answer, hold)
}

func align(n int) int { return (n + 15) &^ 15 }

// take looks at the OrtValue of an output and sets its shape and data.
func (in *instance) take(o *output, ort uintptr) error {
	o.shape, o.own = o.shape[:0], o.own[:0]
	if ort == 0 {
		return serval.Errorf(serval.Internal, "output '%s' was not computed", o.info.Name)
	}
	var err error
	switch o.kind {
	case tensorKind:
		o.data, err = in.tensor(o, ort)
		return err
	case tensorsKind:
		err = in.stack(o, ort)
	case mapKind:
		if err = in.entries(o, ort, true); err == nil {
			o.shape = append(o.shape, int64(len(o.labels)))
		}
	case mapsKind:
		err = in.table(o, ort)
	}
	o.data = o.own
	return err
}

// tensor appends a tensor's shape to o.shape and returns its data: ONNX Runtime's memory, good until the OrtValue is
// freed, or for strings a part of o.own, where they are appended.
func (in *instance) tensor(o *output, ort uintptr) ([]byte, error) {
	dims, err := in.dims(o, ort)
	if err != nil {
		return nil, err
	}
	o.shape = append(o.shape, dims...)
	n, ok := serval.Elements(dims)
	if !ok {
		return nil, serval.Errorf(serval.Internal, "output '%s' has the shape %s", o.info.Name, serval.ShapeString(dims))
	}
	if in.element == int32(elementString) {
		at := len(o.own)
		err := in.appendStrings(o, ort, int(n))
		return o.own[at:], err
	}
	if n == 0 {
		return nil, nil
	}
	if err := in.call(fnGetTensorMutableData, ort, uintptr(unsafe.Pointer(&in.word.data))); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(pointer(in.word.data)), n*int64(o.info.DType.Size())), nil
}

// dims is a tensor's shape in ONNX Runtime's memory, and sets in.element. The type must be the one that was declared.
func (in *instance) dims(o *output, ort uintptr) ([]int64, error) {
	w := &in.word
	err := in.call(fnGetTensorElementTypeAndShapeDataReference, ort, uintptr(unsafe.Pointer(&in.element)), uintptr(unsafe.Pointer(&w.dims)), uintptr(unsafe.Pointer(&w.rank)))
	if err != nil {
		return nil, serval.Errorf(serval.Internal, "output '%s': %w", o.info.Name, err)
	}
	if elementType(in.element) != o.element {
		return nil, serval.Errorf(serval.Internal, "output '%s' came as %s, the model declares %s", o.info.Name, elementType(in.element).dtype(), o.info.DType)
	}
	if w.rank == 0 {
		return nil, nil
	}
	return unsafe.Slice((*int64)(pointer(w.dims)), w.rank), nil
}

// appendStrings appends n strings to o.own in the layout of serval.Bytes.
func (in *instance) appendStrings(o *output, ort uintptr, n int) error {
	starts, err := in.strings(o, ort, n)
	if err != nil {
		return err
	}
	for i := range starts {
		o.own = serval.AppendBytes(o.own, o.textAt(starts, i))
	}
	return nil
}

// strings reads n strings into o.text; element i starts at starts[i].
func (in *instance) strings(o *output, ort uintptr, n int) ([]uintptr, error) {
	if n == 0 {
		return nil, nil
	}
	if err := in.call(fnGetStringTensorDataLength, ort, uintptr(unsafe.Pointer(&in.word.size))); err != nil {
		return nil, err
	}
	size := in.word.size
	o.text = slices.Grow(o.text[:0], int(size)+1)[:size]
	o.starts = slices.Grow(o.starts[:0], n)[:n]
	err := in.call(fnGetStringTensorContent, ort, address(o.text), size, addressOf(o.starts), uintptr(n))
	return o.starts, err
}

// textAt is string i of those that strings read.
func (o *output) textAt(starts []uintptr, i int) []byte {
	if i+1 < len(starts) {
		return o.text[starts[i]:starts[i+1]]
	}
	return o.text[starts[i]:]
}

// finish lets go of what one run used.
func (o *output) finish() {
	o.data = nil
	if cap(o.own) > keepUpTo {
		o.own = nil
	}
	if cap(o.text) > keepUpTo {
		o.text = nil
	}
	if cap(o.starts) > keepUpTo/8 {
		o.starts = nil
	}
}
