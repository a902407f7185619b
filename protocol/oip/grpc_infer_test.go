package oip

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"serval"
	"serval/wire/inference"
)

func floats(values ...float32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func echoRequest(raw []byte, shape ...int64) *inference.ModelInferRequest {
	return &inference.ModelInferRequest{
		ModelName: "echo", Id: "id-1",
		Inputs:           []*inference.ModelInferRequest_InferInputTensor{{Name: "x", Datatype: "FP32", Shape: shape}},
		RawInputContents: [][]byte{raw},
	}
}

func TestModelInferEchoes(t *testing.T) {
	f := startGRPC(t, echo)
	for _, n := range []int{0, 1, 4, 5000, 1 << 20} { // the last two arrive in several buffers
		raw := bytes.Repeat(floats(1.5), n)
		got, err := f.client.ModelInfer(t.Context(), echoRequest(raw, int64(n)))
		if err != nil {
			t.Fatal(err)
		}
		if got.ModelName != "echo" || got.ModelVersion != "3" || got.Id != "id-1" {
			t.Errorf("answer of %q version %q id %q", got.ModelName, got.ModelVersion, got.Id)
		}
		if len(got.Outputs) != 1 || got.Outputs[0].Name != "x" || got.Outputs[0].Datatype != "FP32" || got.Outputs[0].Shape[0] != int64(n) {
			t.Errorf("outputs %v", got.Outputs)
		}
		if len(got.RawOutputContents) != 1 || !bytes.Equal(got.RawOutputContents[0], raw) {
			t.Errorf("n=%d: other data", n)
		}
	}
}

func TestModelInferTypedContents(t *testing.T) {
	f := startGRPC(t, echo)
	type contents = inference.InferTensorContents
	for _, c := range []struct {
		dtype string
		in    *contents
		want  []byte
		fails string
	}{
		{"BOOL", &contents{BoolContents: []bool{true, false}}, []byte{1, 0}, ""},
		{"INT8", &contents{IntContents: []int32{-1, 127}}, []byte{255, 127}, ""},
		{"INT8", &contents{IntContents: []int32{-1, 128}}, nil, "which INT8 cannot hold"},
		{"INT16", &contents{IntContents: []int32{-2, 3}}, []byte{254, 255, 3, 0}, ""},
		{"INT32", &contents{IntContents: []int32{-2, 3}}, []byte{254, 255, 255, 255, 3, 0, 0, 0}, ""},
		{"UINT8", &contents{UintContents: []uint32{1, 256}}, nil, "which UINT8 cannot hold"},
		{"UINT16", &contents{UintContents: []uint32{1, 65535}}, []byte{1, 0, 255, 255}, ""},
		{"UINT32", &contents{UintContents: []uint32{1, math.MaxUint32}}, []byte{1, 0, 0, 0, 255, 255, 255, 255}, ""},
		{"INT64", &contents{Int64Contents: []int64{-1, 1}}, append(bytes.Repeat([]byte{255}, 8), 1, 0, 0, 0, 0, 0, 0, 0), ""},
		{"UINT64", &contents{Uint64Contents: []uint64{1, 2}}, []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0}, ""},
		{"FP32", &contents{Fp32Contents: []float32{1, float32(math.Inf(1))}}, floats(1, float32(math.Inf(1))), ""},
		{"FP64", &contents{Fp64Contents: []float64{1, 0}}, []byte{0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0}, ""},
		{"BYTES", &contents{BytesContents: [][]byte{[]byte("é"), nil}}, []byte{2, 0, 0, 0, 0xc3, 0xa9, 0, 0, 0, 0}, ""},
		{"FP16", &contents{Fp32Contents: []float32{1, 2}}, nil, "only be sent in raw_input_contents"},
		{"FP32", &contents{Fp64Contents: []float64{1, 2}}, nil, "belong in contents.fp32_contents, not in contents.fp64_contents"},
		{"FP32", &contents{Fp32Contents: []float32{1, 2}, IntContents: []int32{1}}, nil, "more than one field"},
		{"FP32", &contents{Fp32Contents: []float32{1}}, nil, "shape [2] of FP32 takes 8 bytes, the data holds 4"},
		{"FP32", nil, nil, "shape [2] of FP32 takes 8 bytes, the data holds 0"},
		{"STRING", nil, nil, `datatype "STRING" is not one of`},
	} {
		got, err := f.client.ModelInfer(t.Context(), &inference.ModelInferRequest{ModelName: "echo",
			Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: "x", Datatype: c.dtype, Shape: []int64{2}, Contents: c.in}}})
		switch {
		case c.fails != "":
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s %v: %v, want %q", c.dtype, c.in, err, c.fails)
			}
		case err != nil:
			t.Errorf("%s: %v", c.dtype, err)
		case !bytes.Equal(got.RawOutputContents[0], c.want):
			t.Errorf("%s: %v, want %v", c.dtype, got.RawOutputContents[0], c.want)
		}
	}
}

func TestModelInferRefusals(t *testing.T) {
	f := startGRPC(t, echo)
	for name, c := range map[string]struct {
		change func(*inference.ModelInferRequest)
		code   codes.Code
		want   string
	}{
		"unknown model": {func(r *inference.ModelInferRequest) { r.ModelName = "none" }, codes.NotFound, "there is echo"},
		"no model":      {func(r *inference.ModelInferRequest) { r.ModelName = "" }, codes.InvalidArgument, "has no name"},
		"too few raw":   {func(r *inference.ModelInferRequest) { r.Inputs = append(r.Inputs, r.Inputs[0]) }, codes.InvalidArgument, "has only 1 entries for 2 inputs"},
		"too many raw":  {func(r *inference.ModelInferRequest) { r.RawInputContents = append(r.RawInputContents, nil) }, codes.InvalidArgument, "unexpected additional input data"},
		"short raw":     {func(r *inference.ModelInferRequest) { r.RawInputContents[0] = r.RawInputContents[0][1:] }, codes.InvalidArgument, "takes 16 bytes, the data holds 15"},
		"huge shape":    {func(r *inference.ModelInferRequest) { r.Inputs[0].Shape = []int64{1e12, 30} }, codes.InvalidArgument, "[1000000000000,30]"},
		"overflow":      {func(r *inference.ModelInferRequest) { r.Inputs[0].Shape = []int64{math.MaxInt64, 2} }, codes.InvalidArgument, "more elements than can be counted"},
		"negative":      {func(r *inference.ModelInferRequest) { r.Inputs[0].Shape = []int64{-1, 4} }, codes.InvalidArgument, "negative dimension"},
		"both": {func(r *inference.ModelInferRequest) {
			r.Inputs[0].Contents = &inference.InferTensorContents{Fp32Contents: []float32{1}}
		}, codes.InvalidArgument, "contents field must not be specified when using raw_input_contents for 'x'"},
		"unknown output": {func(r *inference.ModelInferRequest) {
			r.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "y"}}
		}, codes.InvalidArgument, "no output 'y'"},
		"wrong priority": {func(r *inference.ModelInferRequest) {
			r.Parameters = map[string]*inference.InferParameter{"priority": {ParameterChoice: &inference.InferParameter_StringParam{StringParam: "high"}}}
		}, codes.InvalidArgument, "priority"},
		"unknown region": {func(r *inference.ModelInferRequest) {
			r.RawInputContents = nil
			r.Inputs[0].Parameters = shmParams("gone", 0, 16)
		}, codes.NotFound, "Unable to find shared memory region: 'gone'"},
		"too many inputs": {func(r *inference.ModelInferRequest) {
			for range maxTensors {
				r.Inputs = append(r.Inputs, r.Inputs[0])
			}
		}, codes.InvalidArgument, "more than 4096 inputs"},
		"too many params": {func(r *inference.ModelInferRequest) { r.Parameters = manyParams(maxParams + 1) }, codes.InvalidArgument, "more than 64 entries"},
		"not utf-8":       {func(r *inference.ModelInferRequest) { r.ModelName = "\xff" }, codes.Internal, "UTF-8"},
	} {
		r := echoRequest(floats(1, 2, 3, 4), 1, 4)
		c.change(r)
		_, err := f.client.ModelInfer(t.Context(), r)
		if status.Code(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s with %q", name, err, c.code, c.want)
		}
	}
}

func manyParams(n int) map[string]*inference.InferParameter {
	m := map[string]*inference.InferParameter{}
	for i := range n {
		m[strings.Repeat("p", i+1)] = uintParam(1)
	}
	return m
}

func uintParam(n uint64) *inference.InferParameter {
	return &inference.InferParameter{ParameterChoice: &inference.InferParameter_Uint64Param{Uint64Param: n}}
}

func intParam(n int64) *inference.InferParameter {
	return &inference.InferParameter{ParameterChoice: &inference.InferParameter_Int64Param{Int64Param: n}}
}

func textParam(s string) *inference.InferParameter {
	return &inference.InferParameter{ParameterChoice: &inference.InferParameter_StringParam{StringParam: s}}
}

func shmParams(region string, offset, size int64) map[string]*inference.InferParameter {
	return map[string]*inference.InferParameter{"shared_memory_region": textParam(region),
		"shared_memory_offset": intParam(offset), "shared_memory_byte_size": intParam(size)}
}

// What the call says beside its tensors reaches the Request.
func TestModelInferRequestFields(t *testing.T) {
	var got serval.Request
	f := startGRPC(t, func(ctx context.Context, r *serval.Request, sink serval.Sink) error {
		got = *r
		return echo(ctx, r, sink)
	})
	r := echoRequest(floats(1), 1)
	r.ModelVersion = "3"
	r.Parameters = map[string]*inference.InferParameter{
		"priority": uintParam(2), "timeout": intParam(3_600_000_000), "sequence_id": textParam("s"), "custom": intParam(7),
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer secret")
	if _, err := f.client.ModelInfer(ctx, r); err != nil {
		t.Fatal(err)
	}
	left := time.Until(got.Deadline)
	if got.ID != "id-1" || got.Protocol != "oip-grpc" || got.Credential != "secret" || got.Priority != 2 || left > time.Minute || left < 0 {
		t.Errorf("request %+v, %v left", got, left)
	}
	ctx = metadata.AppendToOutgoingContext(t.Context(), "x-api-key", "other")
	if _, err := f.client.ModelInfer(ctx, r); err != nil || got.Credential != "other" {
		t.Errorf("credential %q, %v", got.Credential, err)
	}
	if got.Timeout != time.Hour || !got.Deadline.IsZero() {
		t.Errorf("the timeout parameter became %v, the deadline %v", got.Timeout, got.Deadline)
	}
}

func TestModelInferErrors(t *testing.T) {
	for code, want := range map[serval.Code]codes.Code{
		serval.Internal: codes.Internal, serval.InvalidArgument: codes.InvalidArgument, serval.Unauthenticated: codes.Unauthenticated,
		serval.PermissionDenied: codes.PermissionDenied, serval.NotFound: codes.NotFound, serval.Conflict: codes.AlreadyExists,
		serval.TooLarge: codes.ResourceExhausted, serval.ResourceExhausted: codes.ResourceExhausted, serval.Canceled: codes.Canceled,
		serval.Unimplemented: codes.Unimplemented, serval.Unavailable: codes.Unavailable, serval.DeadlineExceeded: codes.DeadlineExceeded,
	} {
		f := startGRPC(t, func(context.Context, *serval.Request, serval.Sink) error {
			return serval.Errorf(code, "because").After(1500 * time.Millisecond)
		})
		var trailer metadata.MD
		_, err := f.client.ModelInfer(t.Context(), echoRequest(nil, 0), grpc.Trailer(&trailer))
		st, _ := status.FromError(err)
		if st.Code() != want || st.Message() != "because" {
			t.Errorf("%s became %v", code, err)
		}
		if v := trailer.Get("retry-after"); len(v) != 1 || v[0] != "2" {
			t.Errorf("%s: retry-after %v", code, v)
		}
		if d := st.Details(); len(d) != 1 || d[0].(*errdetails.RetryInfo).RetryDelay.AsDuration() != 1500*time.Millisecond {
			t.Errorf("%s: details %v", code, d)
		}
	}
}

func TestModelInferClassification(t *testing.T) {
	f := startGRPC(t, echo)
	r := echoRequest(floats(1, 4, 2, 3), 1, 4)
	r.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{
		{Name: "x", Parameters: map[string]*inference.InferParameter{"classification": intParam(2)}}}
	got, err := f.client.ModelInfer(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	want = serval.AppendString(want, "4.000000:1")
	want = serval.AppendString(want, "3.000000:3")
	if got.Outputs[0].Datatype != "BYTES" || !bytes.Equal(got.RawOutputContents[0], want) {
		t.Errorf("%v %q", got.Outputs[0], got.RawOutputContents[0])
	}
}

// An answer in several parts, or none, is not for a plain call.
func TestModelInferParts(t *testing.T) {
	f := startGRPC(t, func(ctx context.Context, r *serval.Request, sink serval.Sink) error {
		for range map[string]int{"none": 0, "many": 3}[r.Model.Name] {
			if err := sink.Send(&serval.Chunk{Output: r.Input.(*serval.Tensors)}); err != nil {
				return err
			}
		}
		return nil
	})
	r := echoRequest(floats(1), 1)
	r.ModelName = "many"
	if _, err := f.client.ModelInfer(t.Context(), r); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "ModelStreamInfer") {
		t.Errorf("many parts: %v", err)
	}
	r.ModelName = "none"
	if _, err := f.client.ModelInfer(t.Context(), r); status.Code(err) != codes.Internal {
		t.Errorf("no part: %v", err)
	}
}

// Reused calls must not leak from one request into another.
func TestModelInferConcurrent(t *testing.T) {
	f := startGRPC(t, echo)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 50 {
				n := 1 + (i*j)%700*20
				r := echoRequest(bytes.Repeat(floats(float32(i)), n), int64(n))
				r.Id = strings.Repeat("i", i)
				got, err := f.client.ModelInfer(context.Background(), r)
				if err != nil {
					t.Error(err)
					return
				}
				if got.Id != r.Id || !bytes.Equal(got.RawOutputContents[0], r.RawInputContents[0]) {
					t.Errorf("call %d/%d got another's answer", i, j)
				}
			}
		})
	}
	wg.Wait()
}
