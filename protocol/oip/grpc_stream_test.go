package oip

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"serval"
	"serval/wire/inference"
)

type inferStreamClient = grpc.BidiStreamingClient[inference.ModelInferRequest, inference.ModelStreamInferResponse]

func openStream(t *testing.T, f *grpcFixture, md ...string) inferStreamClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	stream, err := f.client.ModelStreamInfer(metadata.AppendToOutgoingContext(ctx, md...))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func sendTo(t *testing.T, stream inferStreamClient, r *inference.ModelInferRequest) {
	t.Helper()
	if err := stream.Send(r); err != nil {
		t.Fatal(err)
	}
}

// describe writes an answer as one line: id, first number, whether it is the last, error.
func describe(r *inference.ModelStreamInferResponse) string {
	in := r.GetInferResponse()
	line := in.GetId()
	if raw := in.GetRawOutputContents(); len(raw) > 0 {
		line += fmt.Sprintf(" %d", raw[0])
	}
	if p := in.GetParameters()["triton_final_response"]; p != nil {
		line += fmt.Sprintf(" final=%v", p.GetBoolParam())
	}
	if r.ErrorMessage != "" {
		line += " error: " + r.ErrorMessage
	}
	return line
}

func receive(t *testing.T, stream inferStreamClient) string {
	t.Helper()
	r, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return describe(r)
}

func expectEnd(t *testing.T, stream inferStreamClient) {
	t.Helper()
	if r, err := stream.Recv(); err != io.EOF {
		t.Fatalf("received %v, %v, want the end", r, err)
	}
}

func byteRequest(id string, b byte) *inference.ModelInferRequest {
	return &inference.ModelInferRequest{
		ModelName: "echo", Id: id,
		Inputs:           []*inference.ModelInferRequest_InferInputTensor{{Name: "x", Datatype: "UINT8", Shape: []int64{1}}},
		RawInputContents: [][]byte{{b}},
	}
}

// Plain answers come in the order of the requests, although all are at work at once and later ones are done first.
func TestStreamKeepsOrder(t *testing.T) {
	const n = 20
	var begun atomic.Int32
	gates := make([]chan struct{}, n+1)
	for i := range gates {
		gates[i] = make(chan struct{})
	}
	close(gates[n])
	f := startGRPC(t, func(ctx context.Context, r *serval.Request, sink serval.Sink) error {
		begun.Add(1)
		i := r.Input.(*serval.Tensors).List[0].Data[0]
		<-gates[i+1] // the next request is about to be answered
		close(gates[i])
		return echo(ctx, r, sink)
	})
	stream := openStream(t, f)
	for i := range n {
		sendTo(t, stream, byteRequest(fmt.Sprint(i), byte(i)))
	}
	stream.CloseSend()
	for i := range n {
		if got, want := receive(t, stream), fmt.Sprintf("%d [%d] final=true", i, i); got != want {
			t.Fatalf("answer %q, want %q", got, want)
		}
	}
	expectEnd(t, stream)
	if begun.Load() != n {
		t.Errorf("%d calls", begun.Load())
	}
}

// An error is the answer to its request, in its place, and the stream goes on.
func TestStreamErrorsAreAnswers(t *testing.T) {
	f := startGRPC(t, echo)
	stream := openStream(t, f)
	bad := byteRequest("b", 2)
	bad.Inputs[0].Shape[0] = 2
	unknown := byteRequest("c", 3)
	unknown.ModelName = "none"
	for _, r := range []*inference.ModelInferRequest{byteRequest("a", 1), bad, unknown, byteRequest("d", 4)} {
		sendTo(t, stream, r)
	}
	stream.CloseSend()
	for _, want := range []string{
		"a [1] final=true",
		"b final=true error: input 'x': shape [2] of UINT8 takes 2 bytes, the data holds 1",
		"c final=true error: no model 'none'; there is echo",
		"d [4] final=true",
	} {
		if got := receive(t, stream); got != want {
			t.Errorf("answer %q, want %q", got, want)
		}
	}
	expectEnd(t, stream)
}

// With triton_grpc_error an error ends the stream, also while the client keeps it open.
func TestStreamStatusErrors(t *testing.T) {
	f := startGRPC(t, echo)
	stream := openStream(t, f, "triton_grpc_error", "true")
	sendTo(t, stream, byteRequest("a", 1))
	if got := receive(t, stream); got != "a [1] final=true" {
		t.Errorf("answer %q", got)
	}
	unknown := byteRequest("b", 3)
	unknown.ModelName = "none"
	sendTo(t, stream, unknown)
	if _, err := stream.Recv(); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "there is echo") {
		t.Errorf("the stream ended with %v", err)
	}
}

// parts answers with as many parts as the input says; the last is empty if the number is odd.
func parts(_ context.Context, r *serval.Request, sink serval.Sink) error {
	n := r.Input.(*serval.Tensors).List[0].Data[0]
	for i := range n {
		chunk := &serval.Chunk{Output: &serval.Tensors{List: []serval.Tensor{{Name: "y", DType: serval.Uint8, Shape: []int64{1}, Data: []byte{i}}}}}
		if i == n-1 {
			chunk.Finish = serval.Stop
			if n%2 == 1 {
				chunk.Output = nil
			}
		}
		if err := sink.Send(chunk); err != nil {
			return err
		}
	}
	return nil
}

func TestStreamOfParts(t *testing.T) {
	f := startGRPC(t, parts)
	stream := openStream(t, f)
	empty := byteRequest("c", 3)
	empty.Parameters = map[string]*inference.InferParameter{
		"triton_enable_empty_final_response": {ParameterChoice: &inference.InferParameter_BoolParam{BoolParam: true}}}
	for _, c := range []struct {
		r    *inference.ModelInferRequest
		want []string
	}{
		{byteRequest("a", 2), []string{"a [0] final=false", "a [1] final=true"}},
		{byteRequest("b", 3), []string{"b [0] final=false", "b [1] final=false"}},
		{empty, []string{"c [0] final=false", "c [1] final=false", "c final=true"}},
		{byteRequest("d", 0), nil},
	} {
		sendTo(t, stream, c.r)
		for _, want := range c.want {
			if got := receive(t, stream); got != want {
				t.Errorf("answer %q, want %q", got, want)
			}
		}
	}
	stream.CloseSend()
	expectEnd(t, stream)
}

// A streamed answer does not hold back the plain answers to later requests.
func TestStreamInterleaves(t *testing.T) {
	release := make(chan struct{})
	f := startGRPC(t, func(ctx context.Context, r *serval.Request, sink serval.Sink) error {
		in := r.Input.(*serval.Tensors)
		if in.List[0].Data[0] == 1 {
			return echo(ctx, r, sink)
		}
		for range 2 {
			if err := sink.Send(&serval.Chunk{Output: in}); err != nil {
				return err
			}
			<-release
		}
		return sink.Send(&serval.Chunk{Output: in, Finish: serval.Stop})
	})
	stream := openStream(t, f)
	sendTo(t, stream, byteRequest("slow", 0))
	sendTo(t, stream, byteRequest("plain", 1))
	got := []string{receive(t, stream), receive(t, stream)}
	if got[0] > got[1] { // either may be first
		got[0], got[1] = got[1], got[0]
	}
	if got[0] != "plain [1] final=true" || got[1] != "slow [0] final=false" {
		t.Errorf("answers %q", got)
	}
	close(release)
	for _, want := range []string{"slow [0] final=false", "slow [0] final=true"} {
		if got := receive(t, stream); got != want {
			t.Errorf("answer %q, want %q", got, want)
		}
	}
	stream.CloseSend()
	expectEnd(t, stream)
}

// Where the client takes nothing, no more than streamCalls requests are begun; when it leaves, all are canceled.
func TestStreamHoldsBack(t *testing.T) {
	var begun, ended atomic.Int32
	f := startGRPC(t, func(ctx context.Context, r *serval.Request, sink serval.Sink) error {
		begun.Add(1)
		defer ended.Add(1)
		<-ctx.Done()
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := f.client.ModelStreamInfer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * streamCalls {
		sendTo(t, stream, byteRequest(fmt.Sprint(i), 1))
	}
	for begun.Load() < streamCalls {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond) // room for one too many to begin
	if n := begun.Load(); n != streamCalls {
		t.Errorf("%d calls were begun", n)
	}
	cancel()
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("the stream ended with %v", err)
	}
	for ended.Load() < begun.Load() {
		time.Sleep(time.Millisecond)
	}
}

func TestOrder(t *testing.T) {
	var o order
	ready := func(x *turn) bool {
		select {
		case <-x.ready:
			return true
		default:
			return false
		}
	}
	a, b, c := o.enter(), o.enter(), o.enter()
	if !ready(a) || ready(b) || ready(c) {
		t.Fatal("only the first may be ready")
	}
	o.leave(b)
	if ready(c) {
		t.Fatal("a is still there")
	}
	o.leave(a)
	o.leave(a)
	if !ready(c) || ready(b) {
		t.Fatal("c is the first now")
	}
	o.leave(c)
	if d := o.enter(); !ready(d) {
		t.Fatal("d is alone")
	}
}

// The calls of a sequence run one after another, also where the client does not wait for the answers; a sequence that waits
// for another to end does not hold up that one's answers.
func TestStreamRunsSequencesInOrder(t *testing.T) {
	ended := make(chan struct{}) // sequence 1
	var at atomic.Int32          // of sequence 1
	f := startGRPC(t, func(ctx context.Context, r *serval.Request, sink serval.Sink) error {
		switch s := r.Sequence; {
		case s.ID == "other":
			<-ended
		case s.ID != "1" || s.Start != (at.Load() == 0):
			return fmt.Errorf("sequence %+v", s)
		default:
			if i := int32(r.Input.(*serval.Tensors).List[0].Data[0]); !at.CompareAndSwap(i, i+1) {
				return fmt.Errorf("call %d came out of order", i)
			}
			if s.End {
				defer close(ended)
			}
		}
		return echo(ctx, r, sink)
	})
	stream := openStream(t, f)
	other := byteRequest("other", 99)
	other.Parameters = map[string]*inference.InferParameter{"sequence_id": {ParameterChoice: &inference.InferParameter_StringParam{StringParam: "other"}}}
	sendTo(t, stream, other)
	const n = 200 // more than are at work at a time
	go func() {
		for i := range n {
			r := byteRequest(fmt.Sprint(i), byte(i))
			r.Parameters = map[string]*inference.InferParameter{
				"sequence_id":    {ParameterChoice: &inference.InferParameter_Int64Param{Int64Param: 1}},
				"sequence_start": {ParameterChoice: &inference.InferParameter_BoolParam{BoolParam: i == 0}},
				"sequence_end":   {ParameterChoice: &inference.InferParameter_BoolParam{BoolParam: i == n-1}},
			}
			if stream.Send(r) != nil {
				return
			}
		}
		_ = stream.CloseSend()
	}()
	for i := range n {
		if got, want := receive(t, stream), fmt.Sprintf("%d [%d] final=true", i, i); got != want {
			t.Fatalf("answer %q, want %q", got, want)
		}
	}
	if got := receive(t, stream); got != "other [99] final=true" {
		t.Error(got)
	}
	expectEnd(t, stream)
}
