package load

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"serval"
)

func payload(t *testing.T, format Format) Payload {
	t.Helper()
	p, err := Body(format, serval.Ref{Name: "m"}, []serval.Tensor{tensor("x", serval.Bool, []int64{1}, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// web serves h and returns its address.
func web(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestRunCountsEveryRequest(t *testing.T) {
	var seen, bad atomic.Int64
	addr := web(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/models/m/infer" || r.Header.Get("X-Key") != "secret" || r.Header.Get("Inference-Header-Content-Length") == "" {
			bad.Add(1)
		}
		if seen.Add(1)%10 == 0 {
			http.Error(w, "queue full", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, `{"model_name":"m"}`)
	})
	r, err := Run(context.Background(), Options{Addr: addr, Payload: payload(t, Binary), Concurrency: 7, Count: 500,
		Headers: map[string]string{"X-Key": "secret"}, Expect: []byte(`{"model`)})
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != 500 || seen.Load() != 500 || r.Errors != 50 || r.ErrorsBy["HTTP 503"] != 50 || bad.Load() != 0 {
		t.Errorf("%d seen, %d bad, %+v", seen.Load(), bad.Load(), r)
	}
	if !strings.Contains(r.FirstError, "queue full") || r.Latency.P50 <= 0 || r.Latency.Max < r.Latency.P999 || r.Sent == 0 || r.Received == 0 {
		t.Errorf("%+v", r)
	}
	if text := r.Text(); !strings.Contains(text, "50 × HTTP 503") {
		t.Error(text)
	}
	var out map[string]any
	if data, err := json.Marshal(r); err != nil || json.Unmarshal(data, &out) != nil || out["requests"] != 500.0 {
		t.Errorf("%s: %v", data, err)
	}
}

func TestRunForADuration(t *testing.T) {
	addr := web(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	before := runtime.NumGoroutine()
	r, err := Run(context.Background(), Options{Addr: addr, Payload: payload(t, JSON), Concurrency: 3, WarmUp: 20 * time.Millisecond, Duration: 100 * time.Millisecond})
	if err != nil || r.Requests == 0 || r.Errors != 0 || r.Elapsed != 100*time.Millisecond {
		t.Errorf("%v, %+v", err, r)
	}
	if after := runtime.NumGoroutine(); after > before+6 { // the server's own connections may linger
		t.Errorf("%d goroutines before, %d after", before, after)
	}
	r, err = Run(context.Background(), Options{Addr: addr, Payload: payload(t, JSON), Expect: []byte("no"), Count: 2})
	if err != nil || r.ErrorsBy["unexpected body"] != 2 || r.Throughput() != 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

// A server that stalls holds up requests that an open loop would have sent meanwhile; their latency must show it.
func TestOpenLoopSeesAStall(t *testing.T) {
	const stall = 300 * time.Millisecond
	for _, arrivals := range []Arrivals{Constant, Poisson} {
		var once sync.Once
		addr := web(t, func(w http.ResponseWriter, _ *http.Request) {
			once.Do(func() { time.Sleep(stall) })
			fmt.Fprint(w, "ok")
		})
		r, err := Run(context.Background(), Options{Addr: addr, Payload: payload(t, JSON), Concurrency: 1, Rate: 500, Arrivals: arrivals, Duration: 2 * stall})
		if err != nil || r.Errors != 0 {
			t.Fatalf("%v, %+v", err, r)
		}
		// About half of the requests were due during the stall, one of them was in flight.
		if r.Latency.P90 < stall/2 || r.Service.P90 > r.Latency.P90 || r.Latency.Max < stall {
			t.Errorf("%s: the stall is hidden: %+v, served in %+v", arrivals, r.Latency, r.Service)
		}
	}
}

func TestPacer(t *testing.T) {
	start := time.Unix(1000, 0) // long ago, so that nothing waits
	for _, arrivals := range []Arrivals{Constant, Poisson} {
		p := NewPacer(3000, arrivals, 1)
		done := make(chan struct{})
		go func() { p.Run(context.Background(), start, start.Add(time.Second)); close(done) }()
		n, last := 0, start
		for at := range p.due {
			if at.Before(last) {
				t.Fatalf("%v after %v", at, last)
			}
			n, last = n+1, at
		}
		<-done
		if n < 2800 || n > 3200 || (arrivals == Constant && n != 3000) {
			t.Errorf("%s: %d arrivals in a second at 3000/s", arrivals, n)
		}
	}
}

func TestReconnectsAreNotErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// Two answers a connection, then it is closed without a word.
			r := bufio.NewReader(conn)
			for range 2 {
				request, err := http.ReadRequest(r)
				if err != nil {
					break
				}
				_, _ = r.Discard(int(request.ContentLength))
				fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
			_ = conn.Close()
		}
	})
	r, err := Run(context.Background(), Options{Addr: l.Addr().String(), Payload: payload(t, JSON), Count: 20})
	if err != nil || r.Requests != 20 || r.Errors != 0 || r.Reconnects != 9 {
		t.Errorf("%v, %+v", err, r)
	}
	_ = l.Close()
	serving.Wait()
	r, err = Run(context.Background(), Options{Addr: l.Addr().String(), Payload: payload(t, JSON), Count: 2})
	if err != nil || r.ErrorsBy["connection refused"] != 2 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestTimeoutAndCancel(t *testing.T) {
	release := make(chan struct{})
	addr := web(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	r, err := Run(context.Background(), Options{Addr: addr, Payload: payload(t, JSON), Count: 1, Timeout: 20 * time.Millisecond})
	if err != nil || r.ErrorsBy["timeout"] != 1 {
		t.Errorf("%v, %+v", err, r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if r, err = Run(ctx, Options{Addr: addr, Payload: payload(t, JSON), Concurrency: 4, Duration: time.Hour}); err != nil || r.Requests != 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Addr: "127.0.0.1:1", Payload: payload(t, JSON), Count: 1}
	for want, change := range map[string]func(*Options){
		"without a scheme": func(o *Options) { o.Addr = "http://x:1" },
		"host:port":        func(o *Options) { o.Addr = "x" },
		"load.Body":        func(o *Options) { o.Payload = Payload{} },
		"duration":         func(o *Options) { o.Count = 0 },
		"negative":         func(o *Options) { o.Concurrency = -1 },
		"rate":             func(o *Options) { o.Rate = -1 },
		"poisson":          func(o *Options) { o.Arrivals = "bursts" },
		"not a header":     func(o *Options) { o.Headers = map[string]string{"a": "b\r\nc"} },
	} {
		o := good
		change(&o)
		if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// echo answers ModelInfer with the request's own bytes.
type echo struct{}

func (echo) Name() string { return "proto" }
func (echo) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}
func (echo) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func TestGRPC(t *testing.T) {
	var seen atomic.Int64
	s := grpc.NewServer(grpc.ForceServerCodecV2(echo{}))
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "inference.GRPCInferenceService", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "ModelInfer",
		Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new([]byte)
			if err := decode(in); err != nil {
				return nil, err
			}
			if md, _ := metadata.FromIncomingContext(ctx); len(md.Get("x-key")) != 1 {
				return nil, status.Error(codes.Unauthenticated, "no key")
			}
			if seen.Add(1)%4 == 0 {
				return nil, status.Error(codes.ResourceExhausted, "queue full")
			}
			return in, nil
		},
	}}}, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	defer serving.Wait()
	defer s.Stop()
	p := payload(t, Proto)
	o := Options{Addr: l.Addr().String(), Payload: p, Concurrency: 8, Connections: 2, Count: 400, Headers: map[string]string{"x-key": "k"}, Expect: p.Bytes[:4]}
	r, err := Run(context.Background(), o)
	if err != nil || r.Requests != 400 || r.ErrorsBy["gRPC ResourceExhausted"] != 100 || r.Errors != 100 || r.Received != uint64(300*len(p.Bytes)) {
		t.Errorf("%v, %+v", err, r)
	}
	o.Headers = nil
	if r, err = Run(context.Background(), o); err != nil || r.ErrorsBy["gRPC Unauthenticated"] != 400 {
		t.Errorf("%v, %+v", err, r)
	}
	o.Rate, o.Count, o.Duration, o.Headers = 200, 0, 200*time.Millisecond, map[string]string{"x-key": "k"}
	if r, err = Run(context.Background(), o); err != nil || r.Requests != 40 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestFetchSignature(t *testing.T) {
	addr := web(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/models/m/versions/2" {
			http.Error(w, `{"error":"no such model"}`, http.StatusNotFound)
			return
		}
		fmt.Fprint(w, `{"name":"m","inputs":[{"name":"x","datatype":"FP32","shape":[-1,30]}],"outputs":[{"name":"p","datatype":"FP32","shape":[-1,1]}]}`)
	})
	sig, err := FetchSignature(context.Background(), addr, serval.Ref{Name: "m", Version: "2"})
	if err != nil || len(sig.Inputs) != 1 || sig.Inputs[0].DType != serval.FP32 || sig.Inputs[0].Shape[1] != 30 {
		t.Errorf("%v, %+v", err, sig)
	}
	if _, err = FetchSignature(context.Background(), addr, serval.Ref{Name: "m"}); err == nil || !strings.Contains(err.Error(), "no such model") {
		t.Error(err)
	}
}
