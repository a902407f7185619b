package oip

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"serval"
	"serval/protocol"
	"serval/wire/inference"
)

// grpcModels knows one model, "echo", in version 3, whose outputs are its inputs.
type grpcModels struct{}

func (grpcModels) info() serval.ModelInfo {
	return serval.ModelInfo{
		Name: "echo", Version: "3", Versions: []string{"3"}, State: serval.StateReady, Engine: "fake", Platform: "fake_echo",
		Signature: serval.Signature{
			Inputs:  []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 4}}},
			Outputs: []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 4}}},
		},
		Settings: serval.ModelSettings{
			Device: "cpu", Instances: 2, Versions: serval.VersionPolicy{Latest: 1},
			Batching: serval.BatchSettings{Mode: "auto", Max: 64, Preferred: []int{8}, MaxDelay: time.Millisecond},
			Queue:    serval.QueueSettings{Limit: 1024, Timeout: 30 * time.Second, PriorityLevels: 2},
		},
		Batching: serval.Batching{On: true}, Memory: 1000,
	}
}

func (m grpcModels) Model(r serval.Ref) (serval.ModelInfo, error) {
	if r.Name != "echo" || r.Version != "" && r.Version != "3" {
		return serval.ModelInfo{}, serval.Errorf(serval.NotFound, "no model %s; there is echo", r)
	}
	return m.info(), nil
}

func (m grpcModels) List() []serval.ModelInfo {
	broken := serval.ModelInfo{Name: "broken", Version: "1", State: serval.StateUnavailable, Reason: "no artefact"}
	return []serval.ModelInfo{broken, m.info()}
}

func (m grpcModels) Stats(r serval.Ref) (serval.Stats, error) {
	d := serval.StatDuration{Count: 2, Total: 300}
	return serval.Stats{
		LastInference: time.UnixMilli(1234567), Inferences: 5, Executions: 2, Success: d, Queue: d,
		Batches: []serval.BatchStat{{Size: 3, Compute: d}},
	}, nil
}

func (grpcModels) Ready() bool { return true }

// grpcControl remembers what it was asked to do.
type grpcControl struct {
	mu       sync.Mutex
	done     []string
	override *serval.ModelSettings
}

func (c *grpcControl) Load(_ context.Context, name string, override *serval.ModelSettings) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = append(c.done, "load "+name)
	c.override = override
	return nil
}

func (c *grpcControl) Unload(_ context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = append(c.done, "unload "+name)
	return nil
}

// grpcSettings are two log settings.
type grpcSettings struct {
	mu     sync.Mutex
	values map[string]any
}

func (s *grpcSettings) Get(string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]any{}
	for k, v := range s.values {
		out[k] = v
	}
	return out
}

func (s *grpcSettings) Set(model string, values map[string]any) (map[string]any, error) {
	s.mu.Lock()
	for k, v := range values {
		if _, ok := s.values[k]; !ok {
			s.mu.Unlock()
			return nil, serval.Errorf(serval.InvalidArgument, "no setting %q", k).At(k)
		}
		s.values[k] = v
	}
	s.mu.Unlock()
	return s.Get(model), nil
}

// echo answers with the inputs, or those of them that were asked for.
func echo(_ context.Context, r *serval.Request, sink serval.Sink) error {
	if r.Model.Name != "echo" {
		return serval.Errorf(serval.NotFound, "no model '%s'; there is echo", r.Model.Name).At("model")
	}
	r.Model.Version = "3"
	in := r.Input.(*serval.Tensors)
	out := &serval.Tensors{List: in.List}
	if len(in.Want) > 0 {
		out.List = nil
		for _, name := range in.Want {
			t := in.Find(name)
			if t == nil {
				return serval.Errorf(serval.InvalidArgument, "no output '%s'", name).At(name)
			}
			out.List = append(out.List, *t)
		}
	}
	return sink.Send(&serval.Chunk{Output: out, Finish: serval.Stop})
}

type grpcFixture struct {
	*Protocol
	client  inference.GRPCInferenceServiceClient
	control *grpcControl
	addr    string
}

// startGRPC serves the protocol on a port of its own, in front of the handler. The client has the generated codec.
func startGRPC(t testing.TB, handler serval.HandlerFunc, opts ...grpc.ServerOption) *grpcFixture {
	t.Helper()
	f := &grpcFixture{control: &grpcControl{}}
	f.Protocol = New(protocol.Backend{
		Handler: handler, Models: grpcModels{}, Control: f.control, Version: "0.1",
		Config:  protocol.Limits{MaxBody: 64 << 20},
		Logging: &grpcSettings{values: map[string]any{"log_info": true, "log_verbose_level": int64(0), "log_format": "default"}},
		Tracing: &grpcSettings{values: map[string]any{"trace_level": []string{"OFF"}, "trace_rate": "1000"}},
	}, Options{})
	g := grpc.NewServer(slices.Concat(f.ServerOptions(), []grpc.ServerOption{grpc.MaxRecvMsgSize(64 << 20)}, opts)...)
	f.Register(g)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	conn, err := grpc.NewClient(f.addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		f.shm.close()
	})
	f.client = inference.NewGRPCInferenceServiceClient(conn)
	return f
}
