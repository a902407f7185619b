package oip

import (
	"strconv"

	"serval"
	"serval/internal/jsontensor"
)

// encode writes the answer into x.out: the JSON part and behind it the outputs that are answered as binary data.
func (x *exchange) encode(outs []result) error {
	b := append(x.out[:0], '{')
	if x.req.ID != "" {
		b = append(jsontensor.AppendString(append(b, `"id":`...), x.req.ID), ',')
	}
	b = jsontensor.AppendString(append(b, `"model_name":`...), x.req.Model.Name)
	b = jsontensor.AppendString(append(b, `,"model_version":`...), x.req.Model.Version)
	b = append(b, `,"outputs":[`...)
	binary := false
	var err error
	for i := range outs {
		if i > 0 {
			b = append(b, ',')
		}
		o := &outs[i]
		b = appendHead(b, &o.Tensor)
		switch {
		case o.shared:
			b = appendRegion(b, o)
		case x.asBinary(o):
			b = strconv.AppendInt(append(b, `,"parameters":{"binary_data_size":`...), int64(len(o.Data)), 10)
			b = append(b, '}')
			binary = true
		default:
			if b, err = appendData(b, o); err != nil {
				return err
			}
		}
		b = append(b, '}')
	}
	b = append(b, ']', '}')
	x.jsonSize = 0
	if binary {
		x.jsonSize = len(b)
		for i := range outs {
			if o := &outs[i]; !o.shared && x.asBinary(o) {
				b = append(b, o.Data...)
			}
		}
	}
	x.out = b
	return nil
}

func (x *exchange) asBinary(o *result) bool {
	if o.want != nil && o.want.binarySet {
		return o.want.binary
	}
	return x.binaryOutput
}

func appendHead(b []byte, t *serval.Tensor) []byte {
	b = jsontensor.AppendString(append(b, `{"name":`...), t.Name)
	b = append(b, `,"datatype":"`...)
	b = append(b, t.DType.String()...)
	return appendShape(append(b, `","shape":`...), t.Shape)
}

func appendShape(b []byte, shape []int64) []byte {
	b = append(b, '[')
	for i, d := range shape {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, d, 10)
	}
	return append(b, ']')
}

func appendRegion(b []byte, o *result) []byte {
	b = jsontensor.AppendString(append(b, `,"parameters":{"shared_memory_region":`...), o.want.region)
	b = strconv.AppendUint(append(b, `,"shared_memory_offset":`...), o.want.offset, 10)
	b = strconv.AppendInt(append(b, `,"shared_memory_byte_size":`...), int64(len(o.Data)), 10)
	return append(b, '}')
}

func appendData(b []byte, o *result) ([]byte, error) {
	if o.DType == serval.FP16 || o.DType == serval.BF16 {
		return b, serval.Errorf(serval.InvalidArgument, "output '%s' is %s, which JSON answers do not carry; ask for it as binary data (parameter binary_data, or binary_data_output for all)", o.Name, o.DType).At(o.Name)
	}
	return jsontensor.AppendFlat(append(b, `,"data":`...), &o.Tensor)
}
