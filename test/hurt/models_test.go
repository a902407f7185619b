//go:build hurt

package hurt

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"serval"
	"serval/bench/load"
	"serval/internal/testkit"
)

// TestModels serves 1,000 small models, and prints what that costs beside one of them: `test/hurt.sh models -v`. What is
// asserted has no bound on time but that a group has.
func TestModels(t *testing.T) { both(t, manyModels) }

func manyModels(t *testing.T, b build) {
	const n = 1000
	many, alone, data := t.TempDir(), t.TempDir(), t.TempDir()
	fleet := fleetOf(t, many, n)
	fleetOf(t, alone, 1)
	broken := brokenModels(t, many, fleet[0])

	begin := time.Now()
	s := start(t, b, setup{models: many, data: data, unset: true})
	s.Await("the end of loading", func() bool { return strings.Contains(s.Log(), "some models failed") })
	t.Logf("cold start, each ONNX model tried in a child first: %v", since(begin))
	if s.Ready() {
		t.Error("ready, though models failed")
	}
	states := map[string]int{}
	for _, e := range index(t, s) {
		states[e.State]++
		if slices.Contains(broken, e.Name) != (e.State == "UNAVAILABLE") || e.State == "UNAVAILABLE" && e.Reason == "" {
			t.Errorf("%+v", e)
		}
	}
	if states["READY"] != n {
		t.Errorf("%v", states)
	}
	answerRight(t, s, fleet)
	for _, name := range broken {
		if err := os.RemoveAll(filepath.Join(many, name)); err != nil {
			t.Fatal(err)
		}
	}
	stops(t, b, s, "stop with 1,000 models")

	begin = time.Now()
	s = start(t, b, setup{models: many, data: data, args: []string{"--model-control", "poll", "--poll", "1s"}})
	t.Logf("warm start: %v", since(begin))
	polls(t, s, n)
	stops(t, b, s, "stop")

	first, err := os.ReadFile(filepath.Join(alone, fleet[0].Name, "1", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	one := start(t, b, setup{models: alone})
	write(t, filepath.Join(alone, unbatched, "1", "model.onnx"), first)
	write(t, filepath.Join(alone, unbatched, "model.yaml"), []byte("batching: {mode: \"off\"}\n"))
	s = start(t, b, setup{models: many, data: data})
	held := s.RSS() - one.RSS()
	t.Logf("resident: %d MiB with one model, %d MiB with %d: %d KiB a model; threads: %d and %d; goroutines: %d and %d",
		one.RSS()>>20, s.RSS()>>20, n, held/(n-1)>>10, threads(t, one), threads(t, s), goroutines(t, one), goroutines(t, s))
	if most := pick(b, int64(512<<10), 2<<20); held/(n-1) > most {
		t.Errorf("a small model takes %d bytes, more than %d", held/(n-1), most)
	}
	if k := threads(t, s); k > threads(t, one)+50 { // the runtime's own; no model has any
		t.Errorf("%d threads with 1,000 models", k)
	}
	controls(t, s, one, fleet)
	if a, err := control(client(t, time.Minute), one, unbatched, "load"); err != nil || a.status != 200 {
		t.Fatalf("load: %v %v", a, err)
	}
	latencies(t, b, s, one, fleet)
	answerRight(t, s, fleet)
	healthy(t, s, model{fleet[0].Name, fleet[0].Input, testkit.Columns})
	stops(t, b, s, "stop after all were called")
}

func fleetOf(t *testing.T, dir string, n int) []testkit.Small {
	t.Helper()
	fleet, err := testkit.Fleet(dir, n)
	if err != nil {
		t.Fatal(err)
	}
	return fleet
}

// brokenModels writes models that cannot be loaded among the others.
func brokenModels(t *testing.T, dir string, whole testkit.Small) (names []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, whole.Name, "1", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		name := fmt.Sprintf("small-%04d-broken", 200*i)
		names = append(names, name)
		write(t, filepath.Join(dir, name, "1", "model.onnx"), raw[:len(raw)*(i+1)/6])
	}
	return names
}

func since(begin time.Time) time.Duration { return time.Since(begin).Round(10 * time.Millisecond) }

// answerRight asks each model.
func answerRight(t *testing.T, s *testkit.Server, fleet []testkit.Small) {
	t.Helper()
	c := client(t, 30*time.Second)
	for i, m := range fleet {
		row := testkit.Row(i)
		a, err := post(c, s.URL("/v2/models/"+m.Name+"/infer"), m.Request(row))
		var got struct{ Outputs []struct{ Data []float32 } }
		if err == nil {
			err = json.Unmarshal(a.body, &got)
		}
		if err != nil || len(got.Outputs) != 1 || len(got.Outputs[0].Data) != 1 || got.Outputs[0].Data[0] != m.Answer(row) {
			t.Fatalf("%s (%s): want %v: %v %v", m.Name, m.Kind, m.Answer(row), a, err)
		}
	}
}

func stops(t *testing.T, b build, s *testkit.Server, what string) {
	t.Helper()
	begin := time.Now()
	s.Term()
	ends(t, s, pick(b, 15*time.Second, 30*time.Second), 0)
	t.Logf("%s: %v", what, since(begin))
}

// polls lets the server look at its folders a few times: it must load nothing.
func polls(t *testing.T, s *testkit.Server, n int) {
	t.Helper()
	loads := func() int { return strings.Count(s.Log(), `msg="model loaded"`) }
	eventually(t, 10*time.Second, "the log says that all were loaded", func() bool { return loads() == n })
	before := cpu(t, s)
	time.Sleep(5 * time.Second)
	t.Logf("looking at 1,000 unchanged folders each second: %.0f ms of CPU a second", float64((cpu(t, s)-before).Milliseconds())/5)
	if more := loads() - n; more != 0 {
		t.Errorf("%d models were loaded anew though nothing changed", more)
	}
}

// controls times what operators ask.
func controls(t *testing.T, s, one *testkit.Server, fleet []testkit.Small) {
	t.Helper()
	c := client(t, 60*time.Second)
	ask := func(what string, f func(s *testkit.Server) (answer, error)) {
		t.Helper()
		var took [2]time.Duration
		var size [2]int
		for i, s := range []*testkit.Server{one, s} {
			best := time.Hour
			for range 5 {
				begin := time.Now()
				a, err := f(s)
				if err != nil || a.status != 200 {
					t.Fatalf("%s: %v %v", what, a, err)
				}
				best = min(best, time.Since(begin))
				size[i] = len(a.body)
			}
			took[i] = best.Round(10 * time.Microsecond)
		}
		t.Logf("%-12s with one model %8v, with 1,000 %8v (%d bytes)", what, took[0], took[1], size[1])
	}
	ask("index", func(s *testkit.Server) (answer, error) { return post(c, s.URL("/v2/repository/index"), "{}") })
	ask("metrics", func(s *testkit.Server) (answer, error) { return get(c, "http://"+s.Admin+"/metrics") })
	ask("statistics", func(s *testkit.Server) (answer, error) { return get(c, s.URL("/v2/models/stats")) })
	ask("ready", func(s *testkit.Server) (answer, error) { return get(c, s.URL("/v2/health/ready")) })
	ask("load", func(s *testkit.Server) (answer, error) { return control(c, s, fleet[0].Name, "load") })
	ask("unload", func(s *testkit.Server) (answer, error) {
		if a, err := control(c, s, fleet[0].Name, "load"); err != nil || a.status != 200 {
			return a, err
		}
		return control(c, s, fleet[0].Name, "unload")
	})
	for _, s := range []*testkit.Server{s, one} {
		if a, err := control(c, s, fleet[0].Name, "load"); err != nil || a.status != 200 {
			t.Fatalf("load: %v %v", a, err)
		}
	}
	begin := time.Now()
	if out, errs, code := testkit.Run(t.Context(), t, "model", "list", "--server", s.URL("")); code != 0 || strings.Count(out, "READY") != len(fleet) {
		t.Errorf("model list: exit code %d, %d lines\n%s", code, strings.Count(out, "\n"), errs)
	}
	t.Logf("serval model list: %v", since(begin))
}

// latencies compares one model with 500 that are called at random, all of them ONNX networks of the same size: with many
// callers, also with one model whose requests share no batches, as those for 500 models cannot. The servers take turns, so
// that the machine's moods hit all.
func latencies(t *testing.T, b build, s, one *testkit.Server, fleet []testkit.Small) {
	t.Helper()
	var all []load.Payload
	for _, m := range fleet {
		if m.Kind == fleet[0].Kind {
			all = append(all, payloadOf(t, m.Name, m.Input))
		}
	}
	random := make([]load.Payload, len(all)) // in an order without order: 7,919 is a prime
	for i := range random {
		random[i] = all[i*7919%len(all)]
	}
	cases := []struct {
		name string
		at   *testkit.Server
		send []load.Payload
	}{
		{"one model", one, all[:1]},
		{"one model, batching off", one, []load.Payload{payloadOf(t, unbatched, fleet[0].Input)}},
		{fmt.Sprintf("%d of 1,000 models", len(all)), s, random},
	}
	const rounds = 5
	for _, c := range []int{1, 16} {
		p50, p99, rate := make([][]float64, len(cases)), make([][]float64, len(cases)), make([][]float64, len(cases))
		for range rounds {
			for i, of := range cases {
				r, err := load.Run(t.Context(), load.Options{Addr: of.at.HTTP, Payload: of.send[0], More: of.send[1:], Concurrency: c,
					WarmUp: 500 * time.Millisecond, Duration: pick(b, 2*time.Second, time.Second)})
				if err != nil || r.Errors > 0 || r.Requests == 0 {
					t.Fatalf("%s, c=%d: %v %+v", of.name, c, err, r)
				}
				p50[i] = append(p50[i], float64(r.Latency.P50.Microseconds()))
				p99[i] = append(p99[i], float64(r.Latency.P99.Microseconds()))
				rate[i] = append(rate[i], float64(r.Requests)/r.Elapsed.Seconds())
			}
		}
		for i, of := range cases {
			t.Logf("c=%-2d %-24s p50 %5.0f µs (× %.2f)  p99 %5.0f µs (× %.2f)  %6.0f requests/s", c, of.name,
				middle(p50[i]), middle(p50[i])/middle(p50[0]), middle(p99[i]), middle(p99[i])/middle(p99[0]), middle(rate[i]))
		}
	}
}

// unbatched is a model as the first of the fleet, whose requests share no batches.
const unbatched = "unbatched"

func payloadOf(t *testing.T, name, input string) load.Payload {
	t.Helper()
	in := serval.Tensor{Name: input, DType: serval.FP32, Shape: []int64{1, testkit.Columns}, Data: make([]byte, 4*testkit.Columns)}
	p, err := load.Body(load.JSON, serval.Ref{Name: name}, []serval.Tensor{in})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func middle(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// threads is how many threads the server's process has.
func threads(t *testing.T, s *testkit.Server) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", s.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// cpu is how much time the server's process has computed.
func cpu(t *testing.T, s *testkit.Server) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	var sum time.Duration
	for _, f := range fields[11:13] { // user and system, in hundredths of a second
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum
}
