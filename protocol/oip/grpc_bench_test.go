package oip

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"serval"
	"serval/wire/inference"
)

// bytesCodec sends and receives bytes as they are, so that a benchmark's client costs next to nothing.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error { *v.(*int) = data.Len(); return nil }
func (bytesCodec) Name() string                                { return "proto" }

// generatedService answers by the generated code alone: what BenchmarkModelInfer is compared with.
type generatedService struct {
	inference.UnimplementedGRPCInferenceServiceServer
	handler serval.Handler
}

func (s generatedService) ModelInfer(ctx context.Context, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	in := &serval.Tensors{}
	for i, t := range r.Inputs {
		d, _ := serval.ParseDType(t.Datatype)
		in.List = append(in.List, serval.Tensor{Name: t.Name, DType: d, Shape: t.Shape, Data: r.RawInputContents[i]})
	}
	req := &serval.Request{ID: r.Id, Model: serval.Ref{Name: r.ModelName}, Input: in}
	out := &inference.ModelInferResponse{ModelName: r.ModelName, Id: r.Id}
	err := s.handler.Handle(ctx, req, serval.SinkFunc(func(c *serval.Chunk) error {
		out.ModelVersion = req.Model.Version
		for _, t := range c.Output.(*serval.Tensors).List {
			out.Outputs = append(out.Outputs, &inference.ModelInferResponse_InferOutputTensor{Name: t.Name, Datatype: t.DType.String(), Shape: t.Shape})
			out.RawOutputContents = append(out.RawOutputContents, bytes.Clone(t.Data))
		}
		return nil
	}))
	return out, err
}

func cpuTime() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// benchmarkCalls calls the server at addr from 16 goroutines over one connection; client and server share the process, so
// the CPU time is that of both.
func benchmarkCalls(b *testing.B, addr string, floats32 int) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{}), grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	message, err := proto.Marshal(echoRequest(bytes.Repeat(floats(1), floats32), 1, int64(floats32)))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetParallelism(8)
	b.ResetTimer()
	began := cpuTime()
	b.RunParallel(func(pb *testing.PB) {
		var size int
		for pb.Next() {
			if err := conn.Invoke(context.Background(), inference.GRPCInferenceService_ModelInfer_FullMethodName, message, &size); err != nil || size == 0 {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(cpuTime()-began)/float64(b.N), "cpu-ns/op")
}

func BenchmarkModelInfer(b *testing.B) {
	for _, n := range []int{30, 3000, 150_000} {
		b.Run(fmt.Sprintf("floats=%d", n), func(b *testing.B) { benchmarkCalls(b, startGRPC(b, echo).addr, n) })
	}
}

func BenchmarkModelInferGenerated(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	inference.RegisterGRPCInferenceServiceServer(g, generatedService{handler: serval.HandlerFunc(echo)})
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	for _, n := range []int{30, 3000, 150_000} {
		b.Run(fmt.Sprintf("floats=%d", n), func(b *testing.B) { benchmarkCalls(b, listener.Addr().String(), n) })
	}
	g.Stop()
	if err := <-served; err != nil {
		b.Error(err)
	}
}

// BenchmarkModelInferNothing answers empty: what gRPC itself costs.
func BenchmarkModelInferNothing(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	reply := make([]byte, 200)
	g := grpc.NewServer(grpc.ForceServerCodecV2(bytesCodec{}))
	desc := grpc.ServiceDesc{ServiceName: "inference.GRPCInferenceService", Methods: []grpc.MethodDesc{{MethodName: "ModelInfer",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var n int
			return reply, decode(&n)
		}}}}
	g.RegisterService(&desc, nil)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	benchmarkCalls(b, listener.Addr().String(), 30)
	g.Stop()
	if err := <-served; err != nil {
		b.Error(err)
	}
}
