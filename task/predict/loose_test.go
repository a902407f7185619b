package predict

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"serval"
)

func TestLoose(t *testing.T) {
	sig := serval.Signature{Inputs: []serval.TensorInfo{{Name: "x", DType: serval.FP64, Shape: []int64{-1, 2}}}, Outputs: []serval.TensorInfo{{Name: "y", DType: serval.FP64, Shape: []int64{-1, 2}}}}
	var got serval.Tensor
	next := serval.HandlerFunc(func(_ context.Context, r *serval.Request, _ serval.Sink) error {
		got = r.Input.(*serval.Tensors).List[0]
		return nil
	})
	h := Loose(sig, New("m", "1", sig, true, next))
	want := floats64(1, 0)
	for d, data := range map[serval.DType][]byte{
		serval.Bool: {1, 0}, serval.Uint8: {1, 0}, serval.Int8: {1, 0}, serval.Uint16: {1, 0, 0, 0}, serval.Int16: {1, 0, 0, 0}, serval.Uint32: {1, 0, 0, 0, 0, 0, 0, 0},
		serval.Int32: {1, 0, 0, 0, 0, 0, 0, 0}, serval.Int64: append([]byte{1}, make([]byte, 15)...), serval.Uint64: append([]byte{1}, make([]byte, 15)...),
		serval.FP32: floats32(1, 0), serval.FP64: want,
	} {
		in := &serval.Tensors{List: []serval.Tensor{{Name: "whatever", DType: d, Shape: []int64{1, 2}, Data: data}}}
		req := &serval.Request{Input: in}
		if err := h.Handle(t.Context(), req, nil); err != nil || got.Name != "x" || got.DType != serval.FP64 || !bytes.Equal(got.Data, want) || req.Input != in {
			t.Errorf("%v: %v, %v", d, got, err)
		}
	}
	for what, list := range map[string][]serval.Tensor{
		"is FP64, the request gives BYTES": {{Name: "a", DType: serval.Bytes, Shape: []int64{1, 2}, Data: serval.AppendString(serval.AppendString(nil, "1"), "2")}},
		"takes 8 bytes, the data holds 4":  {{Name: "a", DType: serval.FP32, Shape: []int64{1, 2}, Data: make([]byte, 4)}},
		"has shape [-1,2]":                 {{Name: "a", DType: serval.FP32, Shape: []int64{2}, Data: make([]byte, 8)}},
		"unexpected input":                 {{Name: "a", DType: serval.FP64, Shape: []int64{1, 2}, Data: make([]byte, 16)}, {Name: "b"}},
	} {
		if err := h.Handle(t.Context(), &serval.Request{Input: &serval.Tensors{List: list}}, nil); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %q", err, what)
		}
	}
	if h := Loose(inner, next); h == nil {
		t.Error("a model with more inputs is left alone")
	}
}
