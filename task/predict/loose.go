package predict

import (
	"context"
	"encoding/binary"
	"math"

	"serval"
)

// Loose lets clients give a model's only input under any name and as any type of number, as servers do that hand NumPy arrays
// on. What it changes, it hands to next as the signature has it.
func Loose(sig serval.Signature, next serval.Handler) serval.Handler {
	if len(sig.Inputs) != 1 {
		return next
	}
	info := &sig.Inputs[0]
	return serval.HandlerFunc(func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		in, ok := req.Input.(*serval.Tensors)
		if !ok || len(in.List) != 1 || in.List[0].Name == info.Name && in.List[0].DType == info.DType {
			return next.Handle(ctx, req, sink)
		}
		t := in.List[0]
		if t.DType != info.DType {
			if err := t.Check(); err != nil {
				return err
			}
			if data, ok := cast(&t, info.DType); ok { // else the check behind says what is wrong
				t.DType, t.Data = info.DType, data
			}
		}
		t.Name = info.Name
		original := req.Input
		req.Input = &serval.Tensors{List: []serval.Tensor{t}, Want: in.Want}
		defer func() { req.Input = original }()
		return next.Handle(ctx, req, sink)
	})
}

// cast makes floating-point numbers of any numbers; it reports false for another type.
func cast(t *serval.Tensor, to serval.DType) ([]byte, bool) {
	at := t.DType.Numbers()
	if at == nil || to != serval.FP32 && to != serval.FP64 {
		return nil, false
	}
	n := len(t.Data) / t.DType.Size()
	out := make([]byte, 0, n*to.Size())
	for i := range n {
		if v := at(t.Data, i); to == serval.FP32 {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(v)))
		} else {
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(v))
		}
	}
	return out, true
}
