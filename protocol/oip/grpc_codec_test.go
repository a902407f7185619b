package oip

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"serval"
	"serval/wire/inference"
)

// cut makes a message of buffers of n bytes, as it may arrive.
func cut(b []byte, n int) mem.BufferSlice {
	var s mem.BufferSlice
	for part := range slices.Chunk(b, max(n, 1)) {
		s = append(s, mem.SliceBuffer(part))
	}
	return s
}

// compareRequest says how a message that was read differs from what the generated code read; "" if it does not.
func compareRequest(m *inferMessage, want *inference.ModelInferRequest) string {
	switch {
	case m.model.s != want.ModelName || m.version.s != want.ModelVersion || m.id.s != want.Id:
		return "the model or the id"
	case !sameParams(m.params, want.Parameters):
		return "the parameters"
	case len(m.inputs) != len(want.Inputs) || len(m.outputs) != len(want.Outputs) || len(m.raw) != len(want.RawInputContents):
		return "the number of tensors"
	}
	for i, in := range m.inputs {
		w := want.Inputs[i]
		if in.name.s != w.Name || in.datatype.s != w.Datatype || !slices.Equal(in.shape, w.Shape) || !sameParams(in.params, w.Parameters) ||
			(in.contents == nil) != (w.Contents == nil) || in.contents != nil && !sameBits(in.contents, w.Contents) {
			return "an input"
		}
	}
	for i, o := range m.outputs {
		if o.name.s != want.Outputs[i].Name || !sameParams(o.params, want.Outputs[i].Parameters) {
			return "an output"
		}
	}
	for i, at := range m.raw {
		if !bytes.Equal(m.data[at.from:at.to], want.RawInputContents[i]) {
			return "raw contents"
		}
		if at.from%dataAlign != 0 && at.to > at.from {
			return "the alignment of raw contents"
		}
	}
	return ""
}

// sameBits compares messages by their bytes: a NaN equals itself.
func sameBits(a, b proto.Message) bool {
	opt := proto.MarshalOptions{Deterministic: true}
	x, err1 := opt.Marshal(a)
	y, err2 := opt.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

func sameParams(params []param, want map[string]*inference.InferParameter) bool {
	if len(params) != len(want) {
		return false
	}
	for _, p := range params {
		w, ok := want[p.name]
		if !ok || p.v != paramValue(w) {
			return false
		}
	}
	return true
}

func paramValue(p *inference.InferParameter) value {
	switch v := p.GetParameterChoice().(type) {
	case *inference.InferParameter_BoolParam:
		return boolValue(v.BoolParam)
	case *inference.InferParameter_Int64Param:
		return intValue(v.Int64Param)
	case *inference.InferParameter_Uint64Param:
		return uintValue(v.Uint64Param)
	case *inference.InferParameter_DoubleParam:
		return floatValue(v.DoubleParam)
	case *inference.InferParameter_StringParam:
		return stringValue(v.StringParam)
	}
	return value{}
}

// The reader takes, refuses and understands what the generated code does, however the bytes are cut, and in a message that
// was used before.
func FuzzReadModelInferRequest(f *testing.F) {
	full := &inference.ModelInferRequest{
		ModelName: "model", ModelVersion: "1", Id: "é",
		Parameters: map[string]*inference.InferParameter{"priority": uintParam(1), "sequence_id": textParam("s"), "n": intParam(-1),
			"b": {ParameterChoice: &inference.InferParameter_BoolParam{BoolParam: true}}, "": {},
			"d": {ParameterChoice: &inference.InferParameter_DoubleParam{DoubleParam: 2}}},
		Inputs: []*inference.ModelInferRequest_InferInputTensor{
			{Name: "a", Datatype: "FP32", Shape: []int64{1, 300}, Parameters: shmParams("r", 0, 8)},
			{Name: "b", Datatype: "INT8", Shape: []int64{-1}, Contents: &inference.InferTensorContents{IntContents: []int32{1, -1}, Fp32Contents: []float32{1}}},
		},
		Outputs:          []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "y", Parameters: shmParams("s", 1, 2)}, {}},
		RawInputContents: [][]byte{bytes.Repeat([]byte{1, 2, 3, 4}, 20), nil, {7}},
	}
	seed, err := proto.Marshal(full)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed, 7)
	f.Add(seed[:len(seed)-3], 1000)
	f.Add([]byte("\x0a\x01a\x0a\x01b\x2a\x04\x18\x05\x18\x06\x2a\x06\x1a\x04\x01\x02\x80\x01"), 1) // twice, unpacked and packed
	f.Add([]byte("\x2a\x08\x2a\x02\x10\x05\x2a\x02\x10\x06"), 3)                                   // contents that merge
	f.Add([]byte("\x43\x08\x01\x44\x4d\x01\x02\x03\x04\x51\x01\x02\x03\x04\x05\x06\x07\x08"), 2)   // unknown: a group, fixed
	f.Add([]byte("\x22\x09\x0a\x01k\x12\x02\x08\x01\x12\x00"), 4)
	f.Add([]byte("\x0a\x02\xff\xfe"), 4)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		var want inference.ModelInferRequest
		wantErr := proto.Unmarshal(data, &want)
		m := new(inferMessage)
		if err := m.ReadWire(cut(seed, 11)); err != nil {
			t.Fatal(err)
		}
		err := m.ReadWire(cut(data, n))
		if m.refusal != nil {
			return
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("read: %v, generated: %v", err, wantErr)
		}
		if err == nil {
			if what := compareRequest(m, &want); what != "" {
				t.Fatalf("%s differs: %+v, want %v", what, m, &want)
			}
			var c call
			_ = m.fill(&c) // must not panic, whatever is in it
		}
	})
}

// What is written is what the generated code reads, and as long as was said.
func FuzzWriteModelInferResponse(f *testing.F) {
	f.Add("model", "1", "id", "y", []byte{1, 2, 3, 4}, int64(1), int64(-1), uint8(2), "")
	f.Add("", "", "", "", []byte{}, int64(0), int64(1<<62), uint8(0), "went wrong")
	f.Add("m", "", "", "y", bytes.Repeat([]byte{1}, 3000), int64(3000), int64(1), uint8(1), "")
	f.Fuzz(func(t *testing.T, model, version, id, name string, data []byte, d0, d1 int64, final uint8, message string) {
		r := response{model: model, version: version, id: id, final: finalParam(final % 3)}
		r.results = []result{
			{Tensor: serval.Tensor{Name: name, DType: serval.FP32, Shape: []int64{d0, d1}, Data: data}},
			{Tensor: serval.Tensor{Name: name, DType: serval.Bytes, Data: data}, shared: true},
		}
		want := &inference.ModelInferResponse{
			ModelName: model, ModelVersion: version, Id: id,
			Outputs:           []*inference.ModelInferResponse_InferOutputTensor{{Name: name, Datatype: "FP32", Shape: []int64{d0, d1}}, {Name: name, Datatype: "BYTES"}},
			RawOutputContents: [][]byte{data, nil},
		}
		if r.final != finalUnsaid {
			want.Parameters = map[string]*inference.InferParameter{finalName: {ParameterChoice: &inference.InferParameter_BoolParam{BoolParam: r.final == finalYes}}}
		}
		checkWritten(t, r.encode(), r.size(), want)
		checkWritten(t, r.encodeStream(message), -1, &inference.ModelStreamInferResponse{ErrorMessage: message, InferResponse: want})
	})
}

func checkWritten(t *testing.T, e *encoded, size int, want proto.Message) {
	t.Helper()
	expect, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
	if err != nil {
		return // the fuzzer's text is not UTF-8
	}
	buffers, err := e.WriteWire()
	if err != nil {
		t.Fatal(err)
	}
	got := buffers.Materialize()
	buffers.Free()
	if !bytes.Equal(got, expect) {
		t.Fatalf("wrote %x, want %x", got, expect)
	}
	if size >= 0 && len(got) != size {
		t.Fatalf("wrote %d bytes, said %d", len(got), size)
	}
}

// A request as a client sends it costs no memory once its like was read before.
func TestReadWireAllocates(t *testing.T) {
	b, err := proto.Marshal(echoRequest(floats(1, 2, 3, 4), 1, 4))
	if err != nil {
		t.Fatal(err)
	}
	data := mem.BufferSlice{mem.SliceBuffer(b)}
	m := new(inferMessage)
	n := testing.AllocsPerRun(100, func() {
		if err := m.ReadWire(data); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
