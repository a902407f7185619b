package format

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"serval"
	"serval/stream"
	"serval/wire/inference"
)

// Protobuf is an infer request of the Open Inference Protocol as protobuf: inference.ModelInferRequest, answered by a
// ModelInferResponse with raw contents.
type Protobuf struct{}

type protobuf struct{}

func appendInt(b []byte, v int64) []byte { return strconv.AppendInt(b, v, 10) }

// Decode implements stream.Format.
func (*protobuf) Decode(m *stream.Message, _ *serval.ModelInfo, call *stream.Call) error {
	var req inference.ModelInferRequest
	if err := proto.Unmarshal(m.Value, &req); err != nil {
		return wrong("", "the message is not a ModelInferRequest: %v", err)
	}
	if len(req.Inputs) > maxTensors || len(req.Outputs) > maxTensors {
		return wrong("inputs", "the message has more than %d inputs or outputs", maxTensors)
	}
	raw := req.RawInputContents
	if len(raw) > 0 && len(raw) != len(req.Inputs) {
		return wrong("raw_input_contents", "the message has %d inputs and raw_input_contents for %d", len(req.Inputs), len(raw))
	}
	in := &serval.Tensors{}
	for i, t := range req.Inputs {
		d, ok := serval.ParseDType(t.Datatype)
		if !ok || t.Name == "" {
			return wrong(t.Name, "inputs[%d] needs a name, and a datatype such as FP32; it has %s", i, quoted(t.Datatype))
		}
		if slices.ContainsFunc(in.List, func(o serval.Tensor) bool { return o.Name == t.Name }) {
			return wrong(t.Name, "input '%s' is given twice", t.Name)
		}
		one := serval.Tensor{Name: t.Name, DType: d, Shape: t.Shape}
		if len(raw) > 0 {
			one.Data = raw[i]
		} else if one.Data = contents(d, t.Contents); one.Data == nil && t.Contents != nil {
			return wrong(t.Name, "input '%s' is %s; its values can only be sent in raw_input_contents", t.Name, d)
		}
		if err := one.Check(); err != nil {
			return err
		}
		in.List = append(in.List, one)
	}
	for _, o := range req.Outputs {
		in.Want = append(in.Want, o.Name)
	}
	if p := req.Parameters["priority"]; p != nil {
		if n := p.GetInt64Param(); n >= 0 && n <= 127 {
			call.Priority = int8(n)
		}
	}
	call.ID, call.Input = req.Id, in
	return nil
}

// contents are the typed values of an input as a tensor has them; nil where the type has no field. A number that is too large
// for its type is cut by the wire's own rule: clients narrow before they send.
func contents(d serval.DType, c *inference.InferTensorContents) []byte {
	b := []byte{}
	le := binary.LittleEndian
	switch d {
	case serval.Bool:
		for _, v := range c.GetBoolContents() {
			n := byte(0)
			if v {
				n = 1
			}
			b = append(b, n)
		}
	case serval.Int8, serval.Int16, serval.Int32:
		for _, v := range c.GetIntContents() {
			b = narrow(b, uint64(v), d.Size())
		}
	case serval.Uint8, serval.Uint16, serval.Uint32:
		for _, v := range c.GetUintContents() {
			b = narrow(b, uint64(v), d.Size())
		}
	case serval.Int64:
		for _, v := range c.GetInt64Contents() {
			b = le.AppendUint64(b, uint64(v))
		}
	case serval.Uint64:
		for _, v := range c.GetUint64Contents() {
			b = le.AppendUint64(b, v)
		}
	case serval.FP32:
		for _, v := range c.GetFp32Contents() {
			b = le.AppendUint32(b, math.Float32bits(v))
		}
	case serval.FP64:
		for _, v := range c.GetFp64Contents() {
			b = le.AppendUint64(b, math.Float64bits(v))
		}
	case serval.Bytes:
		for _, v := range c.GetBytesContents() {
			b = serval.AppendBytes(b, v)
		}
	default:
		return nil
	}
	return b
}

func narrow(b []byte, v uint64, size int) []byte {
	for i := range size {
		b = append(b, byte(v>>(8*i)))
	}
	return b
}

// Encode implements stream.Format.
func (*protobuf) Encode(_ *stream.Message, call *stream.Call, a *stream.Answer, out *stream.Message) error {
	if a.Outputs == nil {
		return noTensors(a, "oip_protobuf")
	}
	r := &inference.ModelInferResponse{ModelName: a.Model.Name, ModelVersion: a.Model.Version, Id: call.ID}
	if id := traceID(a.Trace); id != "" {
		r.Parameters = map[string]*inference.InferParameter{memberTrace: {ParameterChoice: &inference.InferParameter_StringParam{StringParam: id}}}
	}
	for i := range a.Outputs {
		t := &a.Outputs[i]
		r.Outputs = append(r.Outputs, &inference.ModelInferResponse_InferOutputTensor{Name: t.Name, Datatype: t.DType.String(), Shape: t.Shape})
		r.RawOutputContents = append(r.RawOutputContents, t.Data)
	}
	b, err := proto.Marshal(r)
	if err != nil {
		return serval.Errorf(serval.Internal, "format oip_protobuf: %w", err)
	}
	out.Value = b
	typed(out, protoType)
	return nil
}
