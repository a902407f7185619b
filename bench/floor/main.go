package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

const answer = `{"model_name":"mlp","model_version":"1","outputs":[{"name":"p","shape":[1,1],"datatype":"FP32","data":[0.5]}]}`

// grpcAnswer is an inference.ModelInferResponse with one FP32 output of shape [1,1], by hand.
var grpcAnswer = []byte("\x0a\x03mlp\x12\x011\x2a\x0d\x0a\x01p\x12\x04FP32\x1a\x02\x01\x01\x32\x04\x00\x00\x00\x3f")

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address of the HTTP listener")
	grpcListen := flag.String("grpc", "127.0.0.1:8081", "address of the gRPC listener")
	delay := flag.Duration("delay", 0, "time to wait before each answer, to compare load generators where the server is the limit")
	flag.Parse()
	if err := run(*listen, *grpcListen, *delay); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

// run serves on both addresses until SIGINT or SIGTERM.
func run(httpAddr, grpcAddr string, delay time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	web, err := net.Listen("tcp", httpAddr)
	if err != nil {
		return err
	}
	rpc, err := net.Listen("tcp", grpcAddr)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/health/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /v2/models/{model}/infer", func(w http.ResponseWriter, r *http.Request) { infer(w, r, delay) })
	h := &http.Server{Handler: mux}
	g := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}))
	g.RegisterService(service(delay), nil)

	errs := make(chan error, 2)
	var serving sync.WaitGroup
	serving.Go(func() { errs <- h.Serve(web) })
	serving.Go(func() { errs <- g.Serve(rpc) })
	select {
	case <-ctx.Done():
	case err = <-errs:
	}
	g.Stop()
	_ = h.Close() // the process ends
	serving.Wait()
	return err
}

func infer(w http.ResponseWriter, r *http.Request, delay time.Duration) {
	body := make([]byte, max(r.ContentLength, 0))
	if _, err := io.ReadFull(r.Body, body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	wait(delay)
	w.Header()["Content-Type"] = []string{"application/json"}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(answer))}
	_, _ = io.WriteString(w, answer) // a client that left is no concern of the floor
}

func service(delay time.Duration) *grpc.ServiceDesc {
	infer := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var request []byte
		err := decode(&request)
		wait(delay)
		return grpcAnswer, err
	}
	return &grpc.ServiceDesc{
		ServiceName: "inference.GRPCInferenceService",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "ModelInfer", Handler: infer}},
	}
}

func wait(delay time.Duration) {
	if delay > 0 {
		time.Sleep(delay)
	}
}

// rawCodec reads and writes messages as the bytes that they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("the raw codec cannot send a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("the raw codec cannot read into a %T", v)
	}
	*b = data.Materialize()
	return nil
}
