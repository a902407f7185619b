package input

import (
	"bytes"
	"fmt"

	"serval"
	"serval/client/element"
)

// asciiSpace is what Python's bytes.strip drops.
const asciiSpace = " \t\n\r\v\f"

// readWindow makes one row of a file's first and last bytes.
func readWindow(data []byte, r *serval.BytesInput, m Model) (*Input, error) {
	info, err := m.info(r.Input)
	if err != nil {
		return nil, err
	}
	block := max(r.Block, r.Begin, r.End)
	first := data[:min(len(data), block)]
	last := data[len(data)-min(len(data), block):]
	if r.Strip {
		first, last = bytes.TrimLeft(first, asciiSpace), bytes.TrimRight(last, asciiSpace)
	}
	have := len(first)
	if r.Begin == 0 {
		have = len(last)
	}
	if have < r.Min {
		return nil, fmt.Errorf("too short to tell: the model needs at least %d bytes that are not white space", r.Min)
	}
	first, last = first[:min(len(first), r.Begin)], last[len(last)-min(len(last), r.End):]
	t := serval.Tensor{Name: info.Name, DType: info.DType, Shape: []int64{1, int64(r.Begin + r.End)}}
	put := func(v int64) {
		if err == nil {
			t.Data, err = element.AppendInt(t.Data, info.DType, v)
		}
	}
	for _, b := range first {
		put(int64(b))
	}
	for range r.Begin - len(first) + r.End - len(last) {
		put(r.Padding)
	}
	for _, b := range last {
		put(int64(b))
	}
	if err != nil {
		return nil, atInput(info.Name, err)
	}
	if !matches(t.Shape, info) {
		return nil, atInput(info.Name, fmt.Errorf("the recipe makes %s, where the model takes %s", serval.ShapeString(t.Shape), serval.ShapeString(info.Shape)))
	}
	return &Input{Tensors: []serval.Tensor{t}}, nil
}
