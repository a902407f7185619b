package onnx

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strconv"
	"unsafe"

	"serval"
	"serval/engine"
)

// stack puts a sequence of tensors of equal shapes into one, whose leading dimension counts them.
func (in *instance) stack(o *output, ort uintptr) error {
	n, err := in.count(ort)
	if err != nil {
		return err
	}
	o.shape = append(o.shape, int64(n))
	for i := range n {
		part, err := in.part(ort, i)
		if err != nil {
			return err
		}
		rank := len(o.shape)
		at := len(o.own)
		data, err := in.tensor(o, part)
		if err == nil && o.info.DType != serval.Bytes {
			o.own = append(o.own[:at], data...)
		}
		in.release(fnReleaseValue, part)
		if err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		if first, this := o.shape[1:rank], o.shape[rank:]; !slices.Equal(first, this) {
			return serval.Errorf(serval.InvalidArgument, "output '%s' is a sequence of tensors of different shapes (%s and, at %d, %s) for these inputs; only equal ones can be answered", o.info.Name, serval.ShapeString(first), i, serval.ShapeString(this))
		}
		o.shape = o.shape[:rank]
	}
	for n == 0 && len(o.shape) < len(o.info.Shape) { // nothing to stack: the declared rank is all that is known
		o.shape = append(o.shape, max(o.info.Shape[len(o.shape)], 0))
	}
	return nil
}

// table puts a sequence of maps into a tensor with a row for each map; the keys become labels.
func (in *instance) table(o *output, ort uintptr) error {
	n, err := in.count(ort)
	if err != nil {
		return err
	}
	for i := range n {
		row, err := in.part(ort, i)
		if err != nil {
			return err
		}
		err = in.entries(o, row, i == 0)
		in.release(fnReleaseValue, row)
		if err != nil {
			return err
		}
	}
	columns := len(o.labels)
	if n == 0 {
		o.labels = o.info.Labels
		columns = len(o.labels)
	}
	o.shape = append(o.shape[:0], int64(n), int64(columns))
	return nil
}

// entries appends a map's values to o.own and makes its keys the labels. All maps of a sequence must have the same keys.
func (in *instance) entries(o *output, m uintptr, first bool) error {
	keys, err := in.part(m, 0)
	if err != nil {
		return err
	}
	defer in.release(fnReleaseValue, keys)
	values, err := in.part(m, 1)
	if err != nil {
		return err
	}
	defer in.release(fnReleaseValue, values)

	rank, at := len(o.shape), len(o.own)
	data, err := in.tensor(o, values)
	if err != nil {
		return err
	}
	if o.info.DType != serval.Bytes {
		o.own = append(o.own[:at], data...)
	}
	count, _ := serval.Elements(o.shape[rank:])
	o.shape = o.shape[:rank]

	raw, starts, err := in.rawKeys(o, keys, int(count))
	if err != nil {
		return err
	}
	if o.labels != nil && int(count) == len(o.labels) && bytes.Equal(raw, o.lastKeys) && slices.Equal(starts, o.lastStarts) {
		return nil
	}
	if !first {
		return serval.Errorf(serval.Internal, "output '%s' is a sequence of maps whose keys differ from row to row, which makes no tensor", o.info.Name)
	}
	o.lastKeys = append(o.lastKeys[:0], raw...)
	o.lastStarts = append(o.lastStarts[:0], starts...)
	o.labels = make([]string, count) // new: an answer that is under way keeps the old ones
	for i := range o.labels {
		if starts != nil {
			o.labels[i] = string(o.textAt(starts, i))
		} else {
			o.labels[i] = strconv.FormatInt(int64(binary.LittleEndian.Uint64(raw[8*i:])), 10)
		}
	}
	return nil
}

// rawKeys is the bytes of a map's keys; starts is set where they are strings.
func (in *instance) rawKeys(o *output, keys uintptr, count int) (raw []byte, starts []uintptr, err error) {
	if count == 0 {
		return nil, nil, nil
	}
	if o.keys == elementString {
		starts, err = in.strings(o, keys, count)
		return o.text, starts, err
	}
	err = in.call(fnGetTensorMutableData, keys, uintptr(unsafe.Pointer(&in.word.data)))
	if err != nil {
		return nil, nil, err
	}
	return unsafe.Slice((*byte)(pointer(in.word.data)), 8*count), nil, nil
}

// count is the number of a sequence's elements.
func (in *instance) count(ort uintptr) (int, error) {
	err := in.call(fnGetValueCount, ort, uintptr(unsafe.Pointer(&in.word.size)))
	return int(in.word.size), err
}

// part is element i of a sequence, or the keys (0) and values (1) of a map. The caller frees it.
func (in *instance) part(ort uintptr, i int) (uintptr, error) {
	in.word.part = 0
	err := in.call(fnGetValue, ort, uintptr(i), in.allocator, uintptr(unsafe.Pointer(&in.word.part)))
	return in.word.part, err
}

// sortKeys puts class labels into the order of ONNX Runtime's maps: ascending, each once.
func sortKeys(labels []string, keys elementType) []string {
	sorted := slices.Clone(labels)
	if keys == elementString {
		slices.Sort(sorted)
	} else {
		slices.SortFunc(sorted, func(a, b string) int {
			x, _ := strconv.ParseInt(a, 10, 64)
			y, _ := strconv.ParseInt(b, 10, 64)
			return cmp.Compare(x, y)
		})
	}
	return slices.Compact(sorted)
}

// answerNothing answers a batch of no rows that ONNX Runtime would not run, where the signature says what shape nothing
// has: a leading dimension that the request chooses, all others fixed.
func (in *instance) answerNothing(calls []*engine.Call) bool {
	if len(calls) != 1 {
		return false
	}
	for i := range in.outputs {
		info := &in.outputs[i].info
		if len(info.Shape) == 0 || info.Shape[0] != -1 || slices.Contains(info.Shape[1:], -1) {
			return false
		}
		shape := slices.Clone(info.Shape)
		shape[0] = 0
		in.answer[i] = serval.Tensor{Name: info.Name, DType: info.DType, Shape: shape, Data: []byte{}, Labels: info.Labels}
	}
	calls[0].Answer(in.answer, nil)
	return true
}
