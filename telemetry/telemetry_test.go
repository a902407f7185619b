package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
)

var update = flag.Bool("update", false, "write the golden files anew")

// models is a Models with the answers written down.
type models struct {
	list  []serval.ModelInfo
	stats serval.Stats
}

func (m models) List() []serval.ModelInfo { return m.list }

func (m models) Stats(r serval.Ref) (serval.Stats, error) {
	if r.Name == "gone" {
		return serval.Stats{}, errors.New("gone")
	}
	return m.stats, nil
}

func someModels() models {
	took := func(n uint64, d time.Duration) serval.StatDuration { return serval.StatDuration{Count: n, Total: d} }
	return models{
		list: []serval.ModelInfo{
			{Name: "credit", Version: "3", State: serval.StateReady, Engine: "onnx", Memory: 4096, LoadTime: 250 * time.Millisecond,
				Loaded: time.UnixMilli(1_700_000_000_500), Batching: serval.Batching{On: true},
				Settings: serval.ModelSettings{Sequence: &serval.SequenceSettings{}}},
			{Name: "credit", Version: "3", State: serval.StateReady},
			{Name: "broken", Version: "1", State: serval.StateUnavailable, Engine: "onnx"},
			{Name: "gone", Version: "1", State: serval.StateUnloading, Engine: "onnx"},
			{Name: "odd\xff", Version: "1", State: serval.StateLoading, Engine: "onnx"},
		},
		stats: serval.Stats{
			Inferences: 70, Executions: 12, Waiting: 2, Instances: 1, Sequences: 3,
			Success: took(40, 80*time.Millisecond), Fail: took(9, time.Millisecond),
			Queue: took(40, 30*time.Millisecond), Input: took(40, time.Millisecond), Compute: took(40, 44*time.Millisecond), Output: took(40, 1500*time.Microsecond),
			Batches:  []serval.BatchStat{{Size: 1, Compute: took(10, 0)}, {Size: 30, Compute: took(2, 0)}},
			Closed:   map[string]uint64{"idle": 10, "drained": 2},
			Rejected: map[string]uint64{"queue_full": 5, "canceled": 1},
		},
	}
}

func scrape(t *testing.T, m *Telemetry) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Metrics().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// TestTextMetrics: a model of text is also told of by vLLM's names.
func TestTextMetrics(t *testing.T) {
	text := models{
		list:  []serval.ModelInfo{{Name: "chat", Version: "1", State: serval.StateReady, Engine: "llama", Language: &serval.Language{}}},
		stats: serval.Stats{Waiting: 2, Sequences: 3, CacheUsed: 512, CacheSize: 2048, Tokens: serval.Usage{Prompt: 100, Cached: 40}},
	}
	m, err := New(Options{Models: text, InFlight: func() int64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got := scrape(t, m)
	for _, want := range []string{
		`vllm:num_requests_running{model_name="chat",version="1"} 3`, `vllm:num_requests_waiting{model_name="chat",version="1"} 2`,
		`vllm:kv_cache_usage_perc{model_name="chat",version="1"} 0.25`,
		`vllm:prefix_cache_queries_total{model_name="chat",version="1"} 100`, `vllm:prefix_cache_hits_total{model_name="chat",version="1"} 40`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	text.stats.CacheSize = 0 // an encoder has no such cache
	m2, err := New(Options{Models: text, InFlight: func() int64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	defer m2.Close()
	if got := scrape(t, m2); strings.Contains(got, "vllm:kv_cache_usage_perc{") {
		t.Errorf("an encoder has a cache in\n%s", got)
	}
}

func TestMetricsGolden(t *testing.T) {
	m, err := New(Options{Version: "1.2.3", Models: someModels(), InFlight: func() int64 { return 7 }})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	found := serval.HandlerFunc(nil)
	req := &serval.Request{Protocol: "oip-rest", Model: serval.Ref{Name: "credit", Version: "3"}, Target: found}
	for range 3 {
		m.Done(req, nil)
	}
	m.Done(req, serval.Errorf(serval.ResourceExhausted, "full"))
	m.Done(&serval.Request{Protocol: "oip-rest", Model: serval.Ref{Name: "made-up", Version: "9"}}, serval.Errorf(serval.NotFound, "no"))

	var got strings.Builder
	for line := range strings.Lines(scrape(t, m)) {
		if strings.Contains(line, "duration_seconds_bucket") || strings.Contains(line, "duration_seconds_sum") {
			continue // they hold measured times
		}
		if strings.Contains(line, "serval_") && !strings.Contains(line, "build_info{") || strings.Contains(line, "nv_inference") {
			got.WriteString(line)
		}
	}
	file := filepath.Join("testdata", "metrics.txt")
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got:\n%s", got.String())
	}
}

func TestSeriesAreBounded(t *testing.T) {
	m, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const most = 100
	m.requests.most = most
	observe := func(i int) {
		m.requests.observe(&serval.Request{Model: serval.Ref{Name: "m", Version: string(rune(0x4e00 + i))}, Target: serval.HandlerFunc(nil)}, nil, 0)
	}
	for i := range most + 50 {
		observe(i)
	}
	if n := len(*m.requests.known.Load()) + len(m.requests.fresh); n != most {
		t.Errorf("%d series are kept", n)
	}
	for range 3 { // those that are asked for again and again need no lock in the end
		for i := range most {
			observe(i)
		}
	}
	if n, fresh := len(*m.requests.known.Load()), len(m.requests.fresh); n != most || fresh != 0 {
		t.Errorf("%d series are known, %d are not", n, fresh)
	}
	if !strings.Contains(scrape(t, m), `serval_request_duration_seconds_count{code="ok",model="other",protocol="",version=""} 50`) {
		t.Error("what came after the bound is not counted as other")
	}
}

// timedRequest took 5 ms, ended at now.
func timedRequest(now time.Time) *serval.Request {
	return &serval.Request{ID: "0123-7", Tenant: "ann", Protocol: "oip-grpc", Model: serval.Ref{Name: "credit", Version: "3"},
		Timing: serval.Timing{Start: now.Add(-5 * time.Millisecond), Queue: 2 * time.Millisecond, Input: 10 * time.Microsecond,
			Compute: 1234 * time.Microsecond, Output: 5 * time.Microsecond, Batch: 8}}
}

var someTime = time.Date(2026, 11, 24, 8, 30, 0, 42_000_000, time.FixedZone("CET", 3600))

func TestAccessLine(t *testing.T) {
	hostile := timedRequest(someTime.Add(time.Second))
	hostile.ID, hostile.Model.Name, hostile.Tenant = "a\" b=c", "naïve\u2028\xff", ""
	for format, want := range map[string]string{
		"text": `time=2026-11-24T07:30:00.042Z level=INFO msg=request id=0123-7 tenant=ann protocol=oip-grpc model=credit version=3 code=ok queue_us=2000 input_us=10 compute_us=1234 output_us=5 total_us=5000 batch=8
time=2026-11-24T07:30:01.042Z level=INFO msg=request id="a\" b=c" tenant="" protocol=oip-grpc model="naïve\u2028\xff" version=3 code=not_found error="no\nsuch" queue_us=2000 input_us=10 compute_us=1234 output_us=5 total_us=5000 batch=8
`,
		"json": `{"time":"2026-11-24T07:30:00.042Z","level":"INFO","msg":"request","id":"0123-7","tenant":"ann","protocol":"oip-grpc","model":"credit","version":"3","code":"ok","queue_us":2000,"input_us":10,"compute_us":1234,"output_us":5,"total_us":5000,"batch":8}
{"time":"2026-11-24T07:30:01.042Z","level":"INFO","msg":"request","id":"a\" b=c","tenant":"","protocol":"oip-grpc","model":"naïve\u2028�","version":"3","code":"not_found","error":"no\u000asuch","queue_us":2000,"input_us":10,"compute_us":1234,"output_us":5,"total_us":5000,"batch":8}
`,
	} {
		var out bytes.Buffer
		l, err := OpenLog(LogOptions{Format: format, Access: true, To: &out})
		if err != nil {
			t.Fatal(err)
		}
		l.request(timedRequest(someTime), nil, someTime)
		l.request(hostile, serval.Errorf(serval.NotFound, "no\nsuch"), someTime.Add(time.Second))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
		}
	}
}

func TestLongTextsAreCut(t *testing.T) {
	var out bytes.Buffer
	l, err := OpenLog(LogOptions{Format: "json", Access: true, To: &out})
	if err != nil {
		t.Fatal(err)
	}
	req := timedRequest(someTime)
	req.Model.Name = strings.Repeat("ä", 5000)
	req.ID = strings.Repeat("\x00", 5000)
	l.request(req, serval.Errorf(serval.NotFound, "%s", strings.Repeat("\x01", 5000)), someTime)
	l.Close()
	if out.Len() == 0 || out.Len() > lineRoom*3 || !json.Valid(out.Bytes()) {
		t.Errorf("a line of %d bytes: %.100s", out.Len(), out.String())
	}
}

// stuck is a writer that waits.
type stuck struct {
	entered sync.Once
	in      chan struct{}
	leave   chan struct{}
	wrote   int
}

func (s *stuck) Write(p []byte) (int, error) {
	s.entered.Do(func() { close(s.in) })
	<-s.leave
	s.wrote += bytes.Count(p, []byte("\n"))
	return len(p), nil
}

func TestSlowLogDropsAndNeverBlocks(t *testing.T) {
	to := &stuck{in: make(chan struct{}), leave: make(chan struct{})}
	l, err := OpenLog(LogOptions{Access: true, To: to})
	if err != nil {
		t.Fatal(err)
	}
	l.request(timedRequest(someTime), nil, someTime)
	<-to.in // the writer holds the first line now
	const n = 40_000
	for range n {
		l.request(timedRequest(someTime), nil, someTime)
	}
	dropped := l.Dropped()
	if dropped == 0 || dropped == n {
		t.Errorf("%d of %d lines were dropped", dropped, n)
	}
	close(to.leave)
	l.Close()
	if got := uint64(to.wrote) + dropped; got != n+1 {
		t.Errorf("%d lines written and %d dropped of %d", to.wrote, dropped, n+1)
	}
	l.request(timedRequest(someTime), nil, someTime) // after Close: dropped, no panic
}

func TestLogGoesToFileAndManyWriteAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "serval.log")
	l, err := OpenLog(LogOptions{Format: "json", Access: true, File: file})
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 500 {
				l.request(timedRequest(someTime), nil, time.Now())
				l.Logger().Info("between")
			}
		})
	}
	wait.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for line := range bytes.Lines(data) {
		var event struct{ Msg string }
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		count[event.Msg]++
	}
	if count["request"] != 2000 || count["between"] != 2000 {
		t.Errorf("lines: %v", count)
	}
}

func TestOpenLogRefuses(t *testing.T) {
	for _, o := range []LogOptions{{Level: "loud"}, {Format: "xml"}, {File: filepath.Join(t.TempDir(), "no", "such", "folder")}} {
		if _, err := OpenLog(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestLogSettings(t *testing.T) {
	var out bytes.Buffer
	l, err := OpenLog(LogOptions{Level: "warn", Access: true, To: &out})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Get("any"); got["log_info"] != false || got["log_warning"] != true || got["log_verbose_level"] != int64(0) || got["log_file"] != "" {
		t.Errorf("at the start: %v", got)
	}
	for _, bad := range []map[string]any{
		{"log_info": "yes"},
		{"log_info": true, "log_verbose_level": -1.0},
		{"log_file": "/etc/passwd"},
		{"log_format": "xml"},
		{"log_level": 1},
	} {
		_, err := l.Set("", bad)
		e, ok := err.(*serval.Error)
		if !ok || e.Code != serval.InvalidArgument || e.Param == "" {
			t.Errorf("%v: %v", bad, err)
		}
		if l.Get("")["log_info"] != false {
			t.Errorf("%v was refused and yet changed something", bad)
		}
	}
	got, err := l.Set("", map[string]any{"log_info": true, "log_verbose_level": json.Number("1"), "log_file": "", "log_format": "ISO8601"})
	if err != nil || got["log_info"] != true || got["log_verbose_level"] != int64(1) || got["log_format"] != "ISO8601" {
		t.Errorf("%v, %v", got, err)
	}
	l.Logger().Debug("deep")
	l.request(timedRequest(someTime), nil, someTime)
	l.Set("", map[string]any{"log_info": false})
	l.request(timedRequest(someTime), nil, someTime)
	l.Logger().With("a", 1).WithGroup("g").Info("never")
	l.Close()
	if s := out.String(); !strings.Contains(s, "msg=deep") || strings.Count(s, "msg=request") != 1 || strings.Contains(s, "never") {
		t.Errorf("logged:\n%s", s)
	}
}

func FuzzAccessLine(f *testing.F) {
	f.Add("id", "model", "error")
	f.Add("a\"b\\c", "x\ny", "\xff\x00\u2028")
	f.Fuzz(func(t *testing.T, id, model, message string) {
		for _, format := range []string{"text", "json"} {
			var out bytes.Buffer
			l := &Log{access: true, json: format == "json", lines: &lines{wake: make(chan struct{}, 1)}}
			l.levels.set(slog.LevelInfo)
			req := timedRequest(someTime)
			req.ID, req.Model.Name = id, model
			l.request(req, serval.Errorf(serval.NotFound, "%s", message), someTime)
			out.Write(l.lines.buffer)
			if bytes.Count(out.Bytes(), []byte("\n")) != 1 || out.Len() > 4*lineRoom {
				t.Fatalf("%q", out.String())
			}
			if l.json && !json.Valid(out.Bytes()) {
				t.Fatalf("no JSON: %q", out.String())
			}
		}
	})
}

func BenchmarkDone(b *testing.B) {
	for _, format := range []string{"text", "json"} {
		b.Run(format, func(b *testing.B) {
			l, err := OpenLog(LogOptions{Format: format, Access: true, To: io.Discard})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			m, err := New(Options{Log: l})
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			req := timedRequest(time.Now())
			req.Target = serval.HandlerFunc(nil)
			b.ReportAllocs()
			for b.Loop() {
				m.Done(req, nil)
			}
			b.ReportMetric(float64(l.Dropped())/float64(b.N), "dropped/op")
		})
	}
}
