package webhook

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serval"
	"serval/internal/webhook"
	"serval/stream"
	"serval/stream/streamtest"
	"serval/stream/streamtest/feed"
)

// server takes webhooks on a path for each place. Its signatures are verified, and messages of one id counted once.
type server struct {
	*httptest.Server
	t   *testing.T
	key webhook.Key

	mu     sync.Mutex
	down   bool
	places map[string][]stream.Message
	ids    map[string]string // webhook-id → key and value
	now    map[string]int    // requests under way, by key
	most   int               // of all together
}

func newServer(t *testing.T) *server {
	s := &server{t: t, key: webhook.NewKey(), places: map[string][]stream.Message{}, ids: map[string]string{}, now: map[string]int{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	key := r.Header.Get("Serval-Key")
	s.mu.Lock()
	s.now[key]++
	sum := 0
	for _, n := range s.now {
		sum += n
	}
	s.most = max(s.most, sum)
	if s.now[key] > 1 {
		s.t.Errorf("%d requests of %s at the same time", s.now[key], key)
	}
	down := s.down
	s.mu.Unlock()
	time.Sleep(200 * time.Microsecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now[key]--
	if down {
		if len(body)%2 == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if err := webhook.Verify(r.Header, body, time.Now(), s.key); err != nil {
		s.t.Error(err)
	}
	place := strings.TrimPrefix(r.URL.Path, "/")
	id := r.Header.Get(webhook.HeaderID)
	if before, ok := s.ids[place+id]; ok && before != key+string(body) {
		s.t.Errorf("the id %s is of %q and of %q", id, before, body)
	}
	s.ids[place+id] = key + string(body)
	m := stream.Message{Key: []byte(key), Value: body}
	for name := range r.Header {
		m.Headers = append(m.Headers, stream.Header{Key: strings.ToLower(name), Value: []byte(r.Header.Get(name))})
	}
	s.places[place] = append(s.places[place], m)
}

// sink is the server under the suite.
type sink struct{ *server }

func (s sink) Create(*testing.T, string) {}

func (s sink) Target(ctx context.Context, place string, env stream.Env) (stream.Target, error) {
	o := defaults()
	o.URL, o.Secret, o.Concurrency = s.URL+"/"+place, s.key.Secret(), 8
	return Broker{}.Target(ctx, o, env)
}

func (s sink) All(_ *testing.T, place string) []stream.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]stream.Message(nil), s.places[place]...)
}

func (s sink) Down(*testing.T, string) func() {
	set := func(down bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.down = down
	}
	set(true)
	return func() { set(false) }
}

func (s sink) Keeps() (headers, once bool) { return false, false }

func TestConformance(t *testing.T) {
	s := newServer(t)
	streamtest.RunTarget(t, feed.NewNATS(t, false), sink{s}, "Order", "Pause", "TargetDown", "Position", "Handover", "AckAfterSeen", "Outage", "Cut")
	if s.most < 2 || s.most > 4*8 { // four workers at most
		t.Errorf("%d requests at the same time", s.most)
	}
}

// one posts messages to a handler.
func one(t *testing.T, o *TargetOptions, handler http.HandlerFunc, list ...*stream.Message) (stream.Target, error) {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	o.URL = s.URL + "/hook"
	to, err := Broker{}.Target(t.Context(), o, stream.Env{Stream: "s"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close() })
	return to, to.Write(t.Context(), list)
}

func message(offset int64, lane *stream.Lane) *stream.Message {
	return &stream.Message{Value: []byte("{}"), Position: stream.Position{Topic: "t", Offset: offset}, Lane: lane}
}

// What an answer means for the message it is about, and for those behind it.
func TestAnswers(t *testing.T) {
	lane := stream.NewLane("t/0", nil)
	for status, want := range map[int]struct {
		permanent bool
		calls     int64
		code      serval.Code
	}{
		400: {true, 2, serval.InvalidArgument}, 404: {true, 2, serval.InvalidArgument}, 422: {true, 2, serval.InvalidArgument}, 410: {true, 2, serval.InvalidArgument},
		401: {false, 1, serval.Unavailable}, 403: {false, 1, serval.Unavailable}, 308: {false, 1, serval.Unavailable},
		408: {false, 1, serval.Unavailable}, 429: {false, 1, serval.ResourceExhausted}, 500: {false, 1, serval.Unavailable}, 503: {false, 1, serval.Unavailable},
	} {
		var calls atomic.Int64
		_, err := one(t, defaults(), func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			w.WriteHeader(status)
		}, message(0, lane), message(1, lane))
		var partly *stream.WriteError
		if !errors.As(err, &partly) || len(partly.Failed) != 2 || calls.Load() != want.calls {
			t.Errorf("%d: %v after %d calls", status, err, calls.Load())
			continue
		}
		for i, err := range partly.Failed {
			if stream.IsPermanent(err) != want.permanent || serval.AsError(err).Code != want.code {
				t.Errorf("%d: message %d: %v", status, i, err)
			}
		}
	}
}

func TestRetryAfter(t *testing.T) {
	var first atomic.Bool
	o := defaults()
	to, err := one(t, o, func(w http.ResponseWriter, _ *http.Request) {
		if first.CompareAndSwap(false, true) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}, message(0, nil))
	if err == nil {
		t.Fatal("it was taken")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := to.Write(ctx, []*stream.Message{message(0, nil)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before its time: %v", err)
	}
	own := to.(*target)
	if d := time.Until(own.calm); d > 5*time.Minute || d < 4*time.Minute {
		t.Errorf("it waits for %v, where the most is %v", d, o.RetryAfter)
	}
}

func TestGiveUp(t *testing.T) {
	o := defaults()
	o.GiveUp = 3
	to, err := one(t, o, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, message(7, nil))
	for n := 1; n <= 3; n++ {
		var partly *stream.WriteError
		if !errors.As(err, &partly) || stream.IsPermanent(partly.Failed[0]) != (n == 3) {
			t.Errorf("attempt %d: %v", n, err)
		}
		err = to.Write(t.Context(), []*stream.Message{message(7, nil)})
	}
}

func TestCheck(t *testing.T) {
	for what, change := range map[string]func(*TargetOptions){
		"url": func(o *TargetOptions) { o.URL = "" }, "url ": func(o *TargetOptions) { o.URL = "ftp://h/" },
		"url  ":   func(o *TargetOptions) { o.URL, o.PublicOnly = "http://127.0.0.1/", true },
		"secret":  func(o *TargetOptions) { o.Secret = "short" },
		"headers": func(o *TargetOptions) { o.Headers = map[string]string{"webhook-id": "x"} }, "headers ": func(o *TargetOptions) { o.Headers = map[string]string{"a": "x\r\ny"} },
		"timeout": func(o *TargetOptions) { o.Timeout = 0 }, "old_secret": func(o *TargetOptions) { o.OldSecret = webhook.NewKey().Secret() },
	} {
		o := defaults()
		o.URL = "https://example.org/hook"
		change(o)
		if err := (Broker{}).Check(o); serval.AsError(err).Code != serval.InvalidArgument || serval.AsError(err).Param != strings.TrimSpace(what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	o := defaults()
	o.URL, o.Secret, o.Headers = "https://example.org/hook?key=1", webhook.NewKey().Secret(), map[string]string{"Authorization": "Bearer x"}
	if err := (Broker{}).Check(o); err != nil {
		t.Error(err)
	}
	if say := (Broker{}).Say(o); say != "webhook https://example.org" {
		t.Error(say)
	}
}
