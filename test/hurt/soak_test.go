//go:build hurt

package hurt

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"serval/bench/load"
	"serval/internal/testkit"
	"serval/wire/inference"
)

// TestSoak mixes everything for a while: memory, goroutines and descriptors stay where they are.
func TestSoak(t *testing.T) {
	both(t, func(t *testing.T, b build) {
		models := t.TempDir()
		m := mlp(t, models, "mlp", "")
		big := matrix(t, models, "big", 1200, "")
		f := fake(t, models, "echo", "2ms", "")
		s := start(t, b, setup{models: models})
		length := pick(b, time.Minute, 30*time.Second)
		ctx, stop := context.WithTimeout(context.Background(), length)
		defer stop()
		var work sync.WaitGroup
		results := make([]load.Result, 6)
		for i, o := range []load.Options{
			{Addr: s.HTTP, Payload: m.payload(t, load.JSON, 1), Rate: 800},
			{Addr: s.HTTP, Payload: m.payload(t, load.Binary, 64), Rate: 100},
			{Addr: s.GRPC, Payload: m.payload(t, load.Proto, 3), Rate: 400},
			{Addr: s.HTTP, Payload: f.payload(t, load.JSON, 2), Rate: 200},
			{Addr: s.GRPC, Payload: f.payload(t, load.Proto, 2), Rate: 200},
			{Addr: s.HTTP, Payload: big.payload(t, load.Binary, 2), Rate: 50},
		} {
			o.Concurrency, o.Duration, o.Arrivals = 16, length, load.Poisson
			if b.race {
				o.Rate /= 4
			}
			work.Go(func() {
				var err error
				if results[i], err = load.Run(context.Background(), o); err != nil {
					t.Error(err)
				}
			})
		}
		others := nuisances(ctx, t, s, m, f)
		rss, routines, files := sample(time.Second, s.RSS), sample(time.Second, func() int64 { return int64(goroutines(t, s)) }),
			sample(time.Second, func() int64 { return int64(descriptors(t, s)) })
		work.Wait()
		samples := [][]int64{rss(), routines(), files()}
		others()
		allAnswered(t, "soak", results)
		// Go's heap breathes between collections, at GOGC 400, and malloc's arenas, one for each thread, take a minute to
		// reach their size: 200 s of this were seen to stay between 205 and 235 MiB after the first 60.
		flat(t, "resident memory", samples[0], pick(b, int64(40<<20), 150<<20))
		flat(t, "goroutines", samples[1], 60) // as many as clients happen to be connected
		flat(t, "descriptors", samples[2], 40)
		for _, m := range []model{m, big, f} {
			healthy(t, s, m)
		}
		s.Term()
		ends(t, s, 15*time.Second, 0)
	})
}

// nuisances runs, until ctx ends, what else happens to a server: reloads, bad requests, callers that leave, streams, and
// questions about its state. wait waits for them and says how many there were.
func nuisances(ctx context.Context, t *testing.T, s *testkit.Server, m, f model) (wait func()) {
	var work sync.WaitGroup
	var done [5]atomic.Int64
	again := func(i int, pause time.Duration, do func()) {
		work.Go(func() {
			for ctx.Err() == nil {
				do()
				done[i].Add(1)
				time.Sleep(pause)
			}
		})
	}
	c := client(t, 20*time.Second)
	again(0, 300*time.Millisecond, func() {
		for _, name := range []string{"mlp", "echo", "big"} {
			if a, err := control(c, s, name, "load"); err != nil || a.status != 200 {
				t.Errorf("reload of %s: %v %v", name, a, err)
			}
		}
	})
	bad := []string{
		"", "{", `{"inputs":[]}`, `{"inputs":[{"name":"x","datatype":"FP32","shape":[1000000000000,30],"data":[1]}]}`,
		`{"inputs":[{"name":"y","datatype":"FP32","shape":[1,30],"data":[1]}]}`, strings.Repeat("[", 100000),
		strings.Replace(m.json(), "FP32", "INT8", 1), strings.Replace(m.json(), "[0,", "[NaN,", 1),
	}
	n := 0
	again(1, 5*time.Millisecond, func() {
		n++
		a, err := post(c, s.URL(m.path()), bad[n%len(bad)])
		if err != nil || a.status != http.StatusBadRequest {
			t.Errorf("bad request %d: %v %v", n%len(bad), a, err)
		}
	})
	request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", f.path(), len(f.json()), f.json())
	again(2, 20*time.Millisecond, func() {
		conn, err := net.Dial("tcp", s.HTTP)
		if err != nil {
			t.Error(err)
			return
		}
		n++
		_, _ = io.WriteString(conn, request[:len(request)-n%3*40])
		_ = conn.Close()
	})
	rpc := inference.NewGRPCInferenceServiceClient(dial(t, s.GRPC))
	again(3, 10*time.Millisecond, func() { streamOnce(t, rpc, f) })
	again(4, 50*time.Millisecond, func() {
		for _, url := range []string{s.URL("/v2/models/stats"), s.URL("/v2"), "http://" + s.Admin + "/metrics"} {
			if a, err := get(c, url); err != nil || a.status != 200 {
				t.Errorf("%s: %v %v", url, a, err)
			}
		}
	})
	return func() {
		work.Wait()
		t.Logf("%d rounds of reloads, %d bad requests, %d callers that left, %d streams, %d rounds of questions",
			done[0].Load(), done[1].Load(), done[2].Load(), done[3].Load(), done[4].Load())
	}
}

// streamOnce has five requests of a stream answered, and one more that the caller does not wait for.
func streamOnce(t *testing.T, rpc inference.GRPCInferenceServiceClient, f model) {
	ctx, leave := context.WithTimeout(context.Background(), 20*time.Second)
	defer leave()
	st, err := rpc.ModelStreamInfer(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	for range 5 {
		err := st.Send(f.proto())
		if err == nil {
			var r *inference.ModelStreamInferResponse
			if r, err = st.Recv(); err == nil && r.ErrorMessage != "" {
				err = status.Error(codes.Internal, r.ErrorMessage)
			}
		}
		if err != nil {
			t.Errorf("stream: %v", err)
			return
		}
	}
	if err := st.Send(f.proto()); err != nil {
		t.Errorf("stream: %v", err)
	}
}
