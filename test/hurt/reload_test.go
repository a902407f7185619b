//go:build hurt

package hurt

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serval/bench/load"
	"serval/internal/testkit"
)

// TestReload: models come and go under traffic, and the server dies in the middle of it.
func TestReload(t *testing.T) {
	both(t, func(t *testing.T, b build) {
		t.Run("kill", func(t *testing.T) { reloadKill(t, b) })
		t.Run("storm", func(t *testing.T) { reloadStorm(t, b) })
		t.Run("unload", func(t *testing.T) { reloadUnload(t, b) })
		t.Run("memory", func(t *testing.T) { reloadMemory(t, b) })
	})
}

// reloadKill ends servers by kill -9 at random points of reloads under traffic, and starts them again with the same --data.
// Every reload finds a file that was never probed, so each writes what is remembered.
func reloadKill(t *testing.T, b build) {
	models, data := t.TempDir(), t.TempDir()
	m := mlp(t, models, "mlp", "")
	big := matrix(t, models, "big", 1500, "")
	f := fake(t, models, "echo", "1ms", "")
	for round := range pick(b, 25, 8) {
		s := start(t, b, setup{models: models, data: data, config: "log: {access: false}\n"})
		for _, m := range []model{m, big, f} {
			healthy(t, s, m)
		}
		if t.Failed() {
			t.Fatalf("round %d: not healthy after the kill -9 before", round)
		}
		remembered(t, data)
		ctx, stop := context.WithCancel(context.Background())
		var work sync.WaitGroup
		for _, m := range []model{m, big} {
			work.Go(func() {
				_, _ = load.Run(ctx, load.Options{Addr: s.HTTP, Payload: m.payload(t, load.JSON, 1), Concurrency: 2, Duration: time.Minute})
			})
			work.Go(func() {
				c := client(t, 10*time.Second)
				for i := 0; ctx.Err() == nil; i++ {
					now := time.Now().Add(time.Duration(i) * time.Second)
					if err := os.Chtimes(filepath.Join(models, m.name, "1", "model.onnx"), now, now); err != nil {
						t.Error(err)
					}
					_, _ = control(c, s, m.name, "load") // fails when the server dies
				}
			})
		}
		time.Sleep(time.Duration(rand.Int64N(int64(pick(b, 400*time.Millisecond, 2*time.Second)))))
		family := children(s.Cmd.Process.Pid)
		s.Kill()
		stop()
		work.Wait()
		// Probe children read their orders and end by themselves: nobody is left to wait for them.
		eventually(t, 20*time.Second, "the probe children end", func() bool {
			for _, pid := range family {
				if _, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil && sameExe(pid) {
					return false
				}
			}
			return true
		})
	}
	list := remembered(t, data)
	left, _ := filepath.Glob(filepath.Join(data, ".probed-*"))
	t.Logf("%d artefacts remembered, %d temporary files left", len(list), len(left))
	if len(list) > 20 {
		t.Errorf("%d artefacts remembered of three models: what is replaced must be forgotten", len(list))
	}
	if len(left) > 3 {
		t.Errorf("%d temporary files pile up in --data", len(left))
	}
}

// sameExe says whether the pid still is a serval; pids come again.
func sameExe(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && filepath.Base(exe) == "serval" || filepath.Base(exe) == "serval-race"
}

// traffic sends requests of three kinds until stop is called, which gives what came of them.
func traffic(t *testing.T, s *testkit.Server, m model) (stop func() []load.Result) {
	ctx, cancel := context.WithCancel(context.Background())
	formats := []load.Format{load.JSON, load.Binary, load.Proto}
	results := make([]load.Result, len(formats))
	var work sync.WaitGroup
	for i, f := range formats {
		addr := s.HTTP
		if f == load.Proto {
			addr = s.GRPC
		}
		work.Go(func() {
			var err error
			o := load.Options{Addr: addr, Payload: m.payload(t, f, int64(1+i)), Concurrency: 3, Duration: 5 * time.Minute}
			if results[i], err = load.Run(ctx, o); err != nil {
				t.Error(err)
			}
		})
	}
	return func() []load.Result {
		cancel()
		work.Wait()
		return results
	}
}

// allAnswered fails the test where a request failed.
func allAnswered(t *testing.T, what string, results []load.Result) {
	t.Helper()
	for i := range results {
		r := &results[i]
		t.Logf("%s: %v: %d requests, %d errors, p99 %v", what, r.Format, r.Requests, r.Errors, r.Latency.P99)
		if r.Errors > 0 || r.Requests == 0 {
			t.Errorf("%s: no request may fail\n%s", what, r.Text())
		}
	}
}

// reloadStorm reloads two models from three sides as fast as it goes. Whoever calls them notices nothing.
func reloadStorm(t *testing.T, b build) {
	models := t.TempDir()
	m := mlp(t, models, "mlp", "")
	f := fake(t, models, "echo", "3ms", "")
	s := start(t, b, setup{models: models})
	files, routines := descriptors(t, s), goroutines(t, s)
	stops := []func() []load.Result{traffic(t, s, m), traffic(t, s, f)}
	var storm sync.WaitGroup
	var reloads atomic.Int64
	end := time.Now().Add(pick(b, 12*time.Second, 12*time.Second))
	for i := range 3 {
		storm.Go(func() {
			c := client(t, time.Minute)
			for n := i; time.Now().Before(end); n++ {
				name := []string{m.name, f.name}[n%2]
				if a, err := control(c, s, name, "load"); err != nil || a.status != 200 {
					t.Errorf("reload of %s: %v %v", name, a, err)
					return
				}
				reloads.Add(1)
			}
		})
	}
	storm.Wait()
	for i, stop := range stops {
		allAnswered(t, []string{m.name, f.name}[i], stop())
	}
	t.Logf("%d reloads", reloads.Load())
	healthy(t, s, m)
	healthy(t, s, f)
	settles(t, s, 20*time.Second, files, routines)
}

// reloadUnload unloads and loads one model under traffic on it and on its neighbour. The neighbour's callers notice nothing;
// the model's own are told that it is not there, in so many words, and by nothing worse.
func reloadUnload(t *testing.T, b build) {
	models := t.TempDir()
	m := mlp(t, models, "mlp", "")
	f := fake(t, models, "echo", "3ms", "")
	s := start(t, b, setup{models: models})
	other, own := traffic(t, s, f), traffic(t, s, m)
	c := client(t, time.Minute)
	cycles := 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); cycles++ {
		for _, what := range []string{"unload", "load"} {
			if a, err := control(c, s, "mlp", what); err != nil || a.status != 200 {
				t.Fatalf("%s: %v %v", what, a, err)
			}
			time.Sleep(30 * time.Millisecond)
		}
	}
	allAnswered(t, "the neighbour", other())
	for _, r := range own() {
		t.Logf("the model's own: %v: %d requests, %d refused, %v", r.Format, r.Requests, r.Errors, r.ErrorsBy)
		onlyRefusals(t, &r)
		if err := contains([]byte(r.FirstError), "mlp", "not ready"); r.Errors > 0 && err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d cycles", cycles)
	healthy(t, s, m)
}

// reloadMemory loads and unloads a model of 100 MB twenty times: its memory comes back every time (Triton#7279).
func reloadMemory(t *testing.T, b build) {
	models := t.TempDir()
	big := matrix(t, models, "big", 5000, "")
	f := fake(t, models, "echo", "1ms", "")
	s := start(t, b, setup{models: models})
	c := client(t, time.Minute)
	cycle := func() (loaded, unloaded int64) {
		if a, err := control(c, s, "big", "load"); err != nil || a.status != 200 {
			t.Fatalf("load: %v %v", a, err)
		}
		if a, err := post(c, s.URL(big.path()), big.jsonRows(4)); err != nil || a.status != 200 {
			t.Fatalf("infer: %v %v", a, err)
		}
		loaded = s.RSS()
		if a, err := control(c, s, "big", "unload"); err != nil || a.status != 200 {
			t.Fatalf("unload: %v %v", a, err)
		}
		return loaded, s.RSS()
	}
	cycle() // buffers of requests this large are there from now on
	_, before := cycle()
	heap := goHeap(t, s)
	for i := range 20 {
		loaded, unloaded := cycle()
		if i == 0 && loaded-unloaded < 60<<20 {
			t.Errorf("the model of 95 MiB makes a difference of %d MiB", (loaded-unloaded)>>20)
		}
		// Less than one model, after twenty.
		if grown := unloaded - before; grown > pick(b, int64(80<<20), 160<<20) {
			t.Errorf("cycle %d: %d MiB more than at first", i+1, grown>>20)
			break
		}
	}
	// Go's own heap may grow to five times what is live (GOGC 400) before it is collected; what is not it, must not.
	end, endHeap := s.RSS(), goHeap(t, s)
	t.Logf("at first %d MiB, of it Go's heap %d; at the end %d and %d", before>>20, heap>>20, end>>20, endHeap>>20)
	if native := (end - endHeap) - (before - heap); !b.race && native > 32<<20 { // the detector's shadow is neither
		t.Errorf("memory outside of Go's heap grew by %d MiB", native>>20)
	}
	healthy(t, s, f)
}
