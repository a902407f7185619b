package oip

import (
	"math"
	"net/http"
	"strconv"

	"serval"
)

// headerLength reads Inference-Header-Content-Length: the size of the JSON part in front of binary data; -1 where there is
// no such header, 0 for a raw binary request.
func headerLength(h http.Header) (int64, error) {
	values := h["Inference-Header-Content-Length"]
	if len(values) == 0 {
		return -1, nil
	}
	n, err := strconv.ParseUint(values[0], 10, 63)
	if err != nil || len(values) > 1 {
		return 0, serval.Errorf(serval.InvalidArgument, "header Inference-Header-Content-Length is %q; it must be the number of bytes of the JSON part, or 0 for a raw binary request", values[0])
	}
	return int64(n), nil
}

// attach gives the inputs that have a binary_data_size their part of rest, in the order of the inputs.
func (x *exchange) attach(rest []byte, header bool) error {
	for i := range x.from {
		size := x.from[i].binarySize
		if size < 0 {
			continue
		}
		t := &x.in.List[i]
		if !header && size > 0 { // KServe's SDK sends no header where all tensors are empty
			return serval.Errorf(serval.InvalidArgument, "input '%s' has the parameter binary_data_size, but the request has no header Inference-Header-Content-Length to say where the binary data begins", t.Name).At(t.Name)
		}
		if size > int64(len(rest)) {
			return serval.Errorf(serval.InvalidArgument, "input '%s': binary_data_size is %d, but only %d bytes of binary data are left", t.Name, size, len(rest)).At(t.Name)
		}
		t.Data, rest = rest[:size:size], rest[size:]
	}
	if len(rest) > 0 {
		return serval.Errorf(serval.InvalidArgument, "%d bytes of binary data are left over: the binary_data_size of the inputs and the binary data behind the JSON part (header Inference-Header-Content-Length) do not agree", len(rest))
	}
	return nil
}

// decodeRaw takes the whole body as the one input of the model; its shape follows from the model's and the size. For a
// BYTES input the body is the one string. The outputs are answered as binary data.
func (x *exchange) decodeRaw() error {
	info, err := x.p.backend.Models.Model(x.req.Model)
	if err != nil {
		return err
	}
	if n := len(info.Signature.Inputs); n != 1 {
		return serval.Errorf(serval.InvalidArgument, "a raw binary request (Inference-Header-Content-Length: 0) is for models with one input; model '%s' has %d", info.Name, n)
	}
	in := &info.Signature.Inputs[0]
	t := serval.Tensor{Name: in.Name, DType: in.DType, Data: x.body}
	count := int64(1)
	if size := in.DType.Size(); size > 0 {
		if len(x.body)%size != 0 {
			return serval.Errorf(serval.InvalidArgument, "input '%s': the body has %d bytes, which is no whole number of %s values of %d bytes", in.Name, len(x.body), in.DType, size).At(in.Name)
		}
		count = int64(len(x.body) / size)
	} else {
		if int64(len(x.body)) > math.MaxUint32 {
			return serval.Errorf(serval.TooLarge, "input '%s': a string has at most %d bytes", in.Name, uint32(math.MaxUint32)).At(in.Name)
		}
		x.arena = serval.AppendBytes(x.arena[:0], x.body)
		t.Data = x.arena
	}
	shape, ok := fillShape(x.shapes[:0], in.Shape, count)
	if !ok {
		return serval.Errorf(serval.InvalidArgument, "input '%s': the body holds %d values of %s, which do not make a shape %s; send the shape in a JSON part", in.Name, count, in.DType, serval.ShapeString(in.Shape)).At(in.Name)
	}
	x.shapes, t.Shape = shape, shape
	x.addInput(t)
	x.binaryOutput = true
	return nil
}

// fillShape replaces the dynamic dimensions of shape so that it has count elements: where there are several, all but the
// last are 1. It reports false where that cannot be.
func fillShape(dst, shape []int64, count int64) ([]int64, bool) {
	if shape == nil {
		return append(dst, count), true
	}
	last, known := -1, int64(1)
	for i, d := range shape {
		if d < 0 {
			if last >= 0 {
				dst[last] = 1
			}
			last = i
		} else if known *= d; known > count {
			return dst, false
		}
		dst = append(dst, d)
	}
	if last >= 0 {
		if known == 0 || count%known != 0 {
			return dst, false
		}
		dst[last] = count / known
		known *= dst[last]
	}
	return dst, known == count
}
