package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serval/bench/load"
)

// asked is a request's body as the server below reads it.
type asked struct {
	Model         string
	Messages      []struct{ Role, Content string }
	Prompt        string
	Input         []string
	MaxTokens     int      `json:"max_tokens"`
	IgnoreEOS     bool     `json:"ignore_eos"`
	Temperature   *float64 `json:"temperature"`
	Stream        bool
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	Format string `json:"encoding_format"`
}

// words are those of the whole prompt.
func (a *asked) words() []string {
	list := strings.Fields(a.Prompt)
	for _, m := range a.Messages {
		list = append(list, strings.Fields(m.Content)...)
	}
	return list
}

// vendor is a server of OpenAI's API: a word is a token, and it remembers what it has answered.
type vendor struct {
	t      *testing.T
	addr   string
	cached int
	before func(w http.ResponseWriter, r *http.Request, n int) bool // true: it has answered itself
	pause  time.Duration                                            // between tokens

	mu    sync.Mutex
	seen  []asked
	keys  []string
	paths []string
	gone  atomic.Int64 // clients that left before the end
}

func newVendor(t *testing.T, v *vendor) *vendor {
	t.Helper()
	v.t = t
	s := httptest.NewServer(v)
	t.Cleanup(s.Close)
	v.addr = s.URL
	return v
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var a asked
	raw, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	if err != nil {
		v.t.Errorf("the body %.200q: %v", raw, err)
	}
	v.mu.Lock()
	v.seen, v.keys, v.paths = append(v.seen, a), append(v.keys, r.Header.Get("Authorization")), append(v.paths, r.URL.Path)
	n := len(v.seen)
	v.mu.Unlock()
	if v.before != nil && v.before(w, r, n) {
		return
	}
	if a.Input != nil {
		fmt.Fprintf(w, `{"object":"list","data":[%s],"usage":{"prompt_tokens":%d,"total_tokens":1}}`,
			strings.TrimSuffix(strings.Repeat(`{"embedding":"AAAA"},`, len(a.Input)), ","), len(strings.Fields(strings.Join(a.Input, " "))))
		return
	}
	v.stream(w, r, &a)
}

func (v *vendor) stream(w http.ResponseWriter, r *http.Request, a *asked) {
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(format string, args ...any) {
		fmt.Fprintf(w, "data: "+format+"\n\n", args...)
		w.(http.Flusher).Flush()
	}
	if a.Prompt == "" {
		send(`{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}`)
	}
	for i := range a.MaxTokens {
		select {
		case <-r.Context().Done():
			v.gone.Add(1)
			return
		case <-time.After(v.pause):
		}
		if a.Prompt != "" {
			send(`{"choices":[{"index":0,"text":" \"t%d\"","finish_reason":null}]}`, i)
		} else {
			send(`{"choices":[{"index":0,"delta":{"content":" \"t%d\""},"finish_reason":null}],"usage":null}`, i)
		}
	}
	send(`{"choices":[{"index":0,"delta":{},"text":"","finish_reason":"length"}],"usage":null}`)
	if a.StreamOptions.IncludeUsage {
		send(`{"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}}}`, len(a.words()), a.MaxTokens, v.cached)
	}
	send("[DONE]")
}

func measure(t *testing.T, o Options) *Result {
	t.Helper()
	if o.Model == "" {
		o.Model = "m"
	}
	before := runtime.NumGoroutine()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if after := runtime.NumGoroutine(); after > before+2*o.Concurrency+4 { // the server's own connections may linger
		t.Errorf("%d goroutines before, %d after", before, after)
	}
	return r
}

func TestRunCountsTokens(t *testing.T) {
	v := newVendor(t, &vendor{cached: 3})
	var calls []Call
	r := measure(t, Options{URL: v.addr + "/v1/", Model: `a"b`, Key: "secret", Concurrency: 5, Count: 40, Workload: Workload{Words: Fixed(10), Tokens: Fixed(6), Shared: 4},
		SLO: SLO{E2E: time.Hour}, Each: func(c Call) { calls = append(calls, c) }})
	if r.Requests != 40 || r.Failures != 0 || r.PromptTokens != 40*14 || r.CachedTokens != 120 || !r.CacheKnown || r.OutputTokens != 240 || r.Deltas != 240 || r.ArrivedDeltas != 240 ||
		r.Short != 0 || r.Empty != 0 || r.Good != 40 || r.GivenUp != 0 || r.Reconnects != 0 {
		t.Errorf("%+v", r)
	}
	if len(v.seen) != 40 || len(calls) != 40 {
		t.Errorf("the server saw %d requests, the callback %d", len(v.seen), len(calls))
	}
	prompts := map[string]bool{}
	for i, a := range v.seen {
		if a.Model != `a"b` || !a.Stream || !a.IgnoreEOS || a.Temperature == nil || *a.Temperature != 0 || a.MaxTokens != 6 || len(a.Messages) != 2 || v.keys[i] != "Bearer secret" ||
			v.paths[i] != "/v1/chat/completions" || a.Messages[0].Content != v.seen[0].Messages[0].Content || a.Messages[0].Role != "system" {
			t.Fatalf("%s %q %+v", v.paths[i], v.keys[i], a)
		}
		prompts[a.Messages[1].Content] = true
	}
	if len(prompts) != 40 {
		t.Errorf("%d prompts are different", len(prompts))
	}
	var indexes []uint64
	for _, c := range calls {
		indexes = append(indexes, c.Index)
		if c.Failure != "" || c.Deltas != 6 || len(c.Gaps) != 5 || c.Finish != "length" || c.TTFT() <= 0 || c.E2E() < c.TTFT() || c.TPOT() < 0 || c.First.Before(c.Sent) || c.End.Before(c.Last) {
			t.Errorf("%+v", c)
		}
	}
	slices.Sort(indexes)
	if indexes[0] != 0 || indexes[39] != 39 {
		t.Errorf("conversations %v", indexes)
	}
	if text := r.Text(); !strings.Contains(text, "240 tokens in 240 deltas") || !strings.Contains(text, "120 of them from the cache (21.4 %)") || !strings.Contains(text, "100.0 % of all") {
		t.Error(text)
	}
	var out map[string]any
	if data, err := json.Marshal(r); err != nil || json.Unmarshal(data, &out) != nil || out["output_tokens"] != 240.0 || out["cached_share"].(float64) < 0.2 {
		t.Errorf("%s: %v", data, err)
	}
}

func TestConversationsGrowWithRealAnswers(t *testing.T) {
	for _, api := range []API{Chat, Completions} {
		v := newVendor(t, &vendor{})
		r := measure(t, Options{URL: v.addr, API: api, Concurrency: 1, Count: 6, Workload: Workload{Words: Fixed(4), Tokens: Fixed(2), Turns: 3}})
		if r.Requests != 6 || r.Failures != 0 || len(v.seen) != 6 || r.OutputTokens != 12 {
			t.Fatalf("%s: %d seen, %+v", api, len(v.seen), r)
		}
		for i, a := range v.seen {
			turn := i % 3
			if len(a.words()) != 4+6*turn {
				t.Errorf("%s: turn %d has %d words: %+v", api, turn, len(a.words()), a)
			}
			if turn == 0 {
				continue
			}
			last := v.seen[i-1]
			switch api {
			case Chat:
				if n := len(last.Messages); !slices.Equal(a.Messages[:n], last.Messages) || a.Messages[n].Role != "assistant" || a.Messages[n].Content != ` "t0" "t1"` {
					t.Errorf("turn %d: %+v after %+v", turn, a.Messages, last.Messages)
				}
			case Completions:
				if !strings.HasPrefix(a.Prompt, last.Prompt+` "t0" "t1" `) {
					t.Errorf("turn %d: %q after %q", turn, a.Prompt, last.Prompt)
				}
			}
		}
	}
}

func TestFieldsAndReplay(t *testing.T) {
	v := newVendor(t, &vendor{})
	prompts, err := ReadPrompts(strings.NewReader("{\"prompt\":\"one\",\"max_tokens\":3}\n{\"messages\":[{\"role\":\"system\",\"content\":\"two\"},{\"role\":\"user\",\"content\":\"three\"}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := measure(t, Options{URL: v.addr, Count: 4, StopEarly: true, Fields: map[string]json.RawMessage{"temperature": json.RawMessage("0.5")}, Workload: Workload{Prompts: prompts, Tokens: Fixed(5)}})
	if r.Requests != 4 || r.Failures != 0 || r.OutputTokens != 16 || r.PromptTokens != 6 {
		t.Errorf("%+v", r)
	}
	for i, a := range v.seen {
		if *a.Temperature != 0.5 || a.IgnoreEOS || len(a.Messages) != 1+i%2 || a.MaxTokens != 3+2*(i%2) {
			t.Errorf("%+v", a)
		}
	}
	v = newVendor(t, &vendor{})
	r = measure(t, Options{URL: v.addr, Count: 2, NoUsage: true, Fields: map[string]json.RawMessage{"max_tokens": json.RawMessage("4"), "temperature": json.RawMessage("null")}})
	if r.Failures != 0 || r.OutputTokens != 8 || r.Short != 0 || v.seen[0].Temperature != nil || v.seen[0].StreamOptions.IncludeUsage {
		t.Errorf("%+v, %+v", r, v.seen[0])
	}
}

func TestEmbeddings(t *testing.T) {
	v := newVendor(t, &vendor{})
	r := measure(t, Options{URL: v.addr, API: Embeddings, Concurrency: 3, Count: 10, Workload: Workload{Words: Fixed(5), Batch: 4}})
	if r.Requests != 10 || r.Failures != 0 || r.Texts != 40 || r.PromptTokens != 200 || v.paths[0] != "/v1/embeddings" || v.seen[0].Stream || v.seen[0].Format != "base64" {
		t.Errorf("%+v, %+v", r, v.seen[0])
	}
	if text := r.Text(); !strings.Contains(text, "texts/s") || strings.Contains(text, "first token") {
		t.Error(text)
	}
	v = newVendor(t, &vendor{before: func(w http.ResponseWriter, _ *http.Request, n int) bool {
		fmt.Fprint(w, []string{`{"data":[1,2],"usage":{"prompt_tokens":3}}`, `{"data":[1]}`, `{"data":[`, `{"error":"full"}`}[(n-1)%4])
		return true
	}})
	r = measure(t, Options{URL: v.addr, API: Embeddings, Count: 4})
	if r.FailuresBy[BadAnswer] != 3 || r.FailuresBy[NoUsage] != 1 {
		t.Errorf("%+v", r)
	}
}

// A client that is slow to read, or a server that sends a piece of an event at a time, changes no count.
func TestEventsInPieces(t *testing.T) {
	text := `data: {"choices":[{"delta":{"content":"é"}}]}` + "\r\n\r\n: ping\n\n" + `data: {"choices":[{"delta":{"content":"y"},"finish_reason":"length"}]}` + "\n\n" +
		`data: {"usage":{"prompt_tokens":2,"completion_tokens":2},"choices":[],"timings":{"cache_n":1}}` + "\n\ndata: [DONE]\n\n"
	v := newVendor(t, &vendor{before: func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		for i := range len(text) {
			_, _ = io.WriteString(w, text[i:i+1])
			w.(http.Flusher).Flush()
		}
		return true
	}})
	r := measure(t, Options{URL: v.addr, Count: 2, Workload: Workload{Tokens: Fixed(3)}})
	if r.Failures != 0 || r.Deltas != 4 || r.OutputTokens != 4 || r.CachedTokens != 2 || !r.CacheKnown || r.Short != 2 || r.Reconnects != 0 {
		t.Errorf("%+v", r)
	}
}

// At its end a closed loop gives up what is in flight, and the server hears of it.
func TestADurationEnds(t *testing.T) {
	v := newVendor(t, &vendor{pause: time.Millisecond})
	r := measure(t, Options{URL: v.addr, Concurrency: 3, WarmUp: 10 * time.Millisecond, Duration: 300 * time.Millisecond, Workload: Workload{Tokens: Fixed(maxLength)}})
	if r.Requests != 0 || r.GivenUp > 3 || r.ArrivedDeltas == 0 || r.Elapsed != 300*time.Millisecond || r.OutputTokens != 0 {
		t.Errorf("%+v", r)
	}
	for limit := time.Now().Add(time.Minute); v.gone.Load() < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%d of 3 clients left", v.gone.Load())
		}
	}
	v = newVendor(t, &vendor{})
	r = measure(t, Options{URL: v.addr, Concurrency: 2, Duration: 200 * time.Millisecond, Workload: Workload{Tokens: Fixed(2)}})
	if r.Requests == 0 || r.Failures != 0 || r.OutputTokens != 2*r.Requests || r.Elapsed != 200*time.Millisecond {
		t.Errorf("%+v", r)
	}
}

func TestOpenLoop(t *testing.T) {
	const stall = 200 * time.Millisecond
	for _, arrivals := range []load.Arrivals{load.Constant, load.Poisson} {
		var once sync.Once
		v := newVendor(t, &vendor{before: func(http.ResponseWriter, *http.Request, int) bool {
			once.Do(func() { time.Sleep(stall) })
			return false
		}})
		r := measure(t, Options{URL: v.addr, Concurrency: 1, Rate: 200, Arrivals: arrivals, Count: 30, WarmUp: 0, Workload: Workload{Tokens: Fixed(1), Seed: 3}})
		if r.Requests != 30 || r.Failures != 0 || len(v.seen) < 30 {
			t.Fatalf("%+v", r)
		}
		// Half of the 30 were due in the first half of the stall, and waited for the only caller.
		if r.TTFT.Max < stall || r.Wait.P50 < stall/3 || r.TTFT.P50 < r.Wait.P50 || r.E2E.P50 < r.TTFT.P50 {
			t.Errorf("%s: the stall is hidden: %+v", arrivals, r)
		}
		if text := r.Text(); !strings.Contains(text, "held back") {
			t.Error(text)
		}
	}
	v := newVendor(t, &vendor{})
	r := measure(t, Options{URL: v.addr, Concurrency: 4, Rate: 100, Duration: 100 * time.Millisecond, Workload: Workload{Tokens: Fixed(1), Turns: 3, Words: Fixed(2)}})
	if r.Requests != 30 || r.Failures != 0 {
		t.Errorf("10 conversations of 3 turns: %+v", r)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	v := newVendor(t, &vendor{before: func(_ http.ResponseWriter, r *http.Request, n int) bool {
		if n == 3 {
			cancel()
			<-r.Context().Done()
			return true
		}
		return false
	}})
	r, err := Run(ctx, Options{URL: v.addr, Model: "m", Count: 1000, Workload: Workload{Tokens: Fixed(1)}})
	if err != nil || r.Requests != 2 || r.Failures != 0 || r.GivenUp != 1 {
		t.Errorf("%v, %+v", err, r)
	}
	// Nor does a warm-up that nobody answers hold it up.
	ctx, cancel = context.WithCancel(t.Context())
	v = newVendor(t, &vendor{before: func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		cancel()
		<-r.Context().Done()
		return true
	}})
	r, err = Run(ctx, Options{URL: v.addr, Model: "m", Count: 10, WarmUp: time.Hour})
	if err != nil || r.Requests != 0 || r.GivenUp != 0 || !strings.Contains(r.Text(), "before an answer was counted") {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestProgress(t *testing.T) {
	v := newVendor(t, &vendor{})
	var last load.Progress
	measure(t, Options{URL: v.addr, Duration: 1200 * time.Millisecond, Concurrency: 1, Workload: Workload{Tokens: Fixed(1)}, Progress: func(p load.Progress) { last = p }})
	if last.Requests == 0 || last.Errors != 0 || last.WarmUp || last.Elapsed < time.Second {
		t.Errorf("%+v", last)
	}
}

func TestWrongOptions(t *testing.T) {
	ok := Options{URL: "http://127.0.0.1:1", Model: "m", Count: 1}
	for param, change := range map[string]func(*Options){
		"url":                 func(o *Options) { o.URL = "ftp://x" },
		"model":               func(o *Options) { o.Model = "" },
		"api":                 func(o *Options) { o.API = "soap" },
		"duration":            func(o *Options) { o.Count = 0 },
		"concurrency":         func(o *Options) { o.Concurrency = -1 },
		"timeout":             func(o *Options) { o.Timeout = -1 },
		"rate":                func(o *Options) { o.Rate = -1 },
		"arrivals":            func(o *Options) { o.Arrivals = "sometimes" },
		"headers":             func(o *Options) { o.Headers = map[string]string{"a": "b\r\nc"} },
		"key":                 func(o *Options) { o.Key = "a\nb" },
		"fields":              func(o *Options) { o.Fields = map[string]json.RawMessage{"messages": json.RawMessage("[]")} },
		"turns":               func(o *Options) { o.Workload.Turns = -1 },
		"batch":               func(o *Options) { o.Workload.Batch = 2 },
		"mix":                 func(o *Options) { o.Workload.Mix = []Part{{}} },
		"shared-prefix-words": func(o *Options) { o.Workload.Shared = -1 },
		"words":               func(o *Options) { o.Workload.Words = Lengths{Least: 5, Most: 3} },
		"file":                func(o *Options) { o.API, o.Workload.Prompts = Completions, []Prompt{{messages: json.RawMessage("[]")}} },
	} {
		o := ok
		change(&o)
		if _, err := Run(t.Context(), o); err == nil || !strings.HasPrefix(err.Error(), param+":") {
			t.Errorf("%s: %v", param, err)
		}
	}
	if _, err := (Options{URL: "x", Model: "m", Count: 1, Fields: map[string]json.RawMessage{"a": json.RawMessage("b")}}).withDefaults(); err == nil || !strings.Contains(err.Error(), "quotes") {
		t.Error(err)
	}
}

func TestDetect(t *testing.T) {
	answer := `{"capabilities":["completion","embedding"]}`
	status := 200
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Model string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Model != "m" || r.URL.Path != "/api/show" || r.Header.Get("Authorization") != "Bearer k" {
			t.Errorf("%v, %+v, %s", err, body, r.URL)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	defer s.Close()
	for in, want := range map[string]API{answer: Chat, `{"capabilities":["embedding"]}`: Embeddings, `{"capabilities":[]}`: "", `<html>`: "", `{}`: ""} {
		answer = in
		if api, err := Detect(t.Context(), s.URL+"/v1", "k", "m"); api != want || err != nil {
			t.Errorf("%s: %q, %v", in, api, err)
		}
	}
	answer, status = `{"capabilities":["completion"]}`, 404
	if api, err := Detect(t.Context(), s.URL, "k", "m"); api != "" || err != nil {
		t.Errorf("%q, %v", api, err)
	}
	if _, err := Detect(t.Context(), "ftp://x", "", "m"); err == nil || errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A warm-up before a count is over when the count begins: every token that arrives from then on is one that is counted.
func TestACountBeginsAfterItsWarmUp(t *testing.T) {
	v := newVendor(t, &vendor{pause: time.Millisecond})
	r := measure(t, Options{URL: v.addr, Concurrency: 4, Count: 8, WarmUp: 30 * time.Millisecond, Workload: Workload{Tokens: Fixed(9), Turns: 2}})
	if r.Requests != 8 || r.Failures != 0 || r.ArrivedDeltas != 72 || r.Deltas != 72 || len(v.seen) < 12 {
		t.Errorf("%d seen, %+v", len(v.seen), r)
	}
	v = newVendor(t, &vendor{})
	measure(t, Options{URL: v.addr, Concurrency: 4, Count: 8, WarmUp: 10 * time.Millisecond, Workload: Workload{Tokens: Fixed(2)}})
	again := newVendor(t, &vendor{})
	measure(t, Options{URL: again.addr, Concurrency: 1, Count: 8, Workload: Workload{Tokens: Fixed(9)}})
	first := func(list []asked) map[string]bool {
		m := map[string]bool{}
		for _, a := range list {
			m[a.Messages[0].Content] = true
		}
		return m
	}
	// The warm-up changes nothing of what is measured.
	if warm, cold := first(v.seen[len(v.seen)-8:]), first(again.seen); len(cold) != 8 || fmt.Sprint(warm) != fmt.Sprint(cold) {
		t.Errorf("%v\n%v", warm, cold)
	}
}

func TestTLS(t *testing.T) {
	v := &vendor{t: t}
	s := httptest.NewTLSServer(v)
	defer s.Close()
	if r := measure(t, Options{URL: s.URL, Count: 1}); r.FailuresBy[Unreachable] != 1 || !strings.Contains(r.FirstFailure, "certificate") {
		t.Errorf("a certificate of nobody: %+v", r)
	}
	o, err := Options{URL: s.URL + "/v1", Model: "m", Count: 3}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	target, err := newTarget(&o)
	if err != nil {
		t.Fatal(err)
	}
	target.tls.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c := newClient(&o, target, func(time.Time) {})
	defer c.disconnect()
	for range 2 {
		call := &Call{MaxTokens: 3}
		if c.do(t.Context(), call, []byte(`,"messages":[]`)); call.Failure != "" || call.Deltas != 3 || call.reconnects != 0 {
			t.Errorf("%+v", call)
		}
	}
}

// BenchmarkEvent is what a delta costs beside the system's calls.
func BenchmarkEvent(b *testing.B) {
	o := Options{}
	c := newClient(&o, &target{}, func(time.Time) {})
	event := []byte(`data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1764270000,"model":"chat","system_fingerprint":null,"choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],"usage":null}` + "\n\n")
	c.call = &Call{}
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for range b.N {
		c.now = time.Now()
		c.call.Gaps = c.call.Gaps[:0]
		if err := c.events.feed(event, c.each); err != nil {
			b.Fatal(err)
		}
	}
}
