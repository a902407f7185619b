package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
)

// record is an Observer that keeps what it hears.
type record struct {
	mu     sync.Mutex
	tenant []string
	errs   []*serval.Error
}

func (r *record) Done(req *serval.Request, err *serval.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tenant = append(r.tenant, req.Tenant)
	r.errs = append(r.errs, err)
}

var discard = serval.SinkFunc(func(*serval.Chunk) error { return nil })

func answer(_ context.Context, _ *serval.Request, s serval.Sink) error {
	return s.Send(&serval.Chunk{Finish: serval.Stop})
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestHandleFillsIn(t *testing.T) {
	seen := &record{}
	var inside serval.Request
	g := New(Options{RequestTimeout: time.Minute}, serval.HandlerFunc(func(ctx context.Context, r *serval.Request, s serval.Sink) error {
		inside = *r
		return answer(ctx, r, s)
	}), seen)
	req := &serval.Request{Credential: "whatever"}
	before := time.Now()
	if err := g.Handle(context.Background(), req, discard); err != nil {
		t.Fatal(err)
	}
	if inside.Tenant != DefaultTenant || inside.Credential != "" || len(inside.ID) != 24 || inside.Timing.Start.Before(before) ||
		!inside.Deadline.Equal(inside.Timing.Start.Add(time.Minute)) {
		t.Errorf("the next handler got %+v", inside)
	}
	second := &serval.Request{ID: "naïve id 7", Deadline: before.Add(time.Second)}
	if err := g.Handle(context.Background(), second, discard); err != nil {
		t.Fatal(err)
	}
	if second.ID != "naïve id 7" || !second.Deadline.Equal(before.Add(time.Second)) {
		t.Errorf("the client's own id and deadline were changed: %+v", second)
	}
	if len(seen.errs) != 2 || seen.errs[0] != nil || g.InFlight() != 0 {
		t.Errorf("observed %v, in flight %d", seen.errs, g.InFlight())
	}
}

func TestIDsAreRefusedWithAReason(t *testing.T) {
	g := New(Options{}, serval.HandlerFunc(answer), nil)
	for id, want := range map[string]string{
		strings.Repeat("x", 129): "129 bytes",
		"two\nlines":             "U+000A",
		"bell\a":                 "U+0007",
		"\xff":                   "not UTF-8",
		"del\x7f":                "U+007F",
		"bidi\u202e":             "U+202E",
	} {
		req := &serval.Request{ID: id}
		e, ok := g.Handle(context.Background(), req, discard).(*serval.Error)
		if !ok || e.Code != serval.InvalidArgument || e.Param != "id" || !strings.Contains(e.Message, want) {
			t.Errorf("id %q: %v, want %q", id, e, want)
		}
		if req.ID == id {
			t.Errorf("id %q stays in the request and would be logged", id)
		}
	}
}

func TestIDsDoNotRepeat(t *testing.T) {
	var d ids
	d.start()
	seen := map[string]bool{}
	for range 1000 {
		seen[d.next()] = true
	}
	d.count.Store(1<<40 - 1)
	seen[d.next()] = true
	d.count.Store(1<<64 - 2)
	seen[d.next()] = true
	if len(seen) != 1002 {
		t.Errorf("%d different ids of 1002", len(seen))
	}
}

func keyed(name, secret string, access Access, rate float64) Key {
	return Key{Name: name, Digest: sha256.Sum256([]byte(secret)), Access: access, Rate: rate}
}

func TestKeys(t *testing.T) {
	seen := &record{}
	g := New(Options{Keys: []Key{keyed("ann", "a-key", Infer, 0), keyed("ops", "o-key", Infer|Read|Control, 0), keyed("watch", "w-key", Read, 0)}},
		serval.HandlerFunc(answer), seen)
	for _, c := range []struct {
		credential string
		code       serval.Code // Internal stands for success
		tenant     string
	}{
		{"a-key", serval.Internal, "ann"},
		{"o-key", serval.Internal, "ops"},
		{"w-key", serval.PermissionDenied, ""},
		{"", serval.Unauthenticated, ""},
		{"a-keyx", serval.Unauthenticated, ""},
		{strings.Repeat("k", 5000), serval.Unauthenticated, ""},
	} {
		req := &serval.Request{Credential: c.credential}
		err := g.Handle(context.Background(), req, discard)
		code := serval.Internal
		if err != nil {
			code = err.(*serval.Error).Code
		}
		if code != c.code || req.Tenant != c.tenant || req.Credential != "" {
			t.Errorf("%q: %v, tenant %q, credential %q", c.credential, err, req.Tenant, req.Credential)
		}
	}
	for _, c := range []struct {
		credential string
		access     Access
		want       string
	}{
		{"a-key", Read, ""},
		{"w-key", Read, ""},
		{"o-key", Control, ""},
		{"a-key", Control, "the key 'ann' allows infer, not control; ask the operator to add it to the key's access in serval.yaml"},
		{"", Read, "an API key is needed; send it as 'Authorization: Bearer KEY' or 'X-Api-Key: KEY'"},
	} {
		got := ""
		if err := g.Authorize(c.credential, c.access); err != nil {
			got = err.Message
		}
		if got != c.want {
			t.Errorf("Authorize(%q, %v): %q, want %q", c.credential, c.access, got, c.want)
		}
	}
	g.Reload(Options{DenyControl: true})
	if err := g.Authorize("", Control); err == nil || err.Code != serval.PermissionDenied {
		t.Errorf("control is off, yet: %v", err)
	}
	if err := g.Authorize("", Read); err != nil {
		t.Errorf("no keys any more, yet: %v", err)
	}
}

func TestKeysWhoseDigestsStartAlike(t *testing.T) {
	a, b := keyed("a", "one", Infer, 0), keyed("b", "two", Infer, 0)
	copy(a.Digest[:8], b.Digest[:8])
	p := newPolicy(Options{Keys: []Key{b, a}}, nil)
	if k := p.find("two"); k == nil || k.Name != "b" {
		t.Errorf("found %v", k)
	}
	if k := p.find("one"); k != nil {
		t.Errorf("found %v though its digest was changed", k)
	}
}

func TestRate(t *testing.T) {
	start := time.Unix(1000, 0)
	b := &bucket{rate: 2, burst: 3, tokens: 3}
	for i := range 3 {
		if wait := b.take(start); wait != 0 {
			t.Errorf("request %d of the burst has to wait %v", i, wait)
		}
	}
	if wait := b.take(start); wait != 500*time.Millisecond {
		t.Errorf("the fourth waits %v", wait)
	}
	if wait := b.take(start.Add(-time.Second)); wait != 500*time.Millisecond {
		t.Errorf("a clock that stands back changes the wait to %v", wait)
	}
	if wait := b.take(start.Add(500 * time.Millisecond)); wait != 0 {
		t.Errorf("after half a second: %v", wait)
	}
	b.take(start.Add(time.Hour))
	if b.tokens != 2 {
		t.Errorf("after an hour and one more, %v tokens are left", b.tokens)
	}
	if wait := (&bucket{rate: 1e-300, burst: 1}).take(start); wait != 24*time.Hour {
		t.Errorf("a tiny rate waits %v", wait)
	}
}

func TestReloadKeepsWhatWasUsed(t *testing.T) {
	key := keyed("ann", "a-key", Infer, 0.001)
	g := New(Options{Keys: []Key{key}}, serval.HandlerFunc(answer), nil)
	call := func() error {
		return g.Handle(context.Background(), &serval.Request{Credential: "a-key"}, discard)
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	g.Reload(Options{Keys: []Key{key}})
	e, ok := call().(*serval.Error)
	if !ok || e.Code != serval.ResourceExhausted || e.RetryAfter <= 0 {
		t.Errorf("the second call within the limit's time: %v", e)
	}
	key.Rate = 5
	g.Reload(Options{Keys: []Key{key}})
	if err := call(); err != nil {
		t.Errorf("under the new limit: %v", err)
	}
}

func TestMaxInFlight(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	g := New(Options{MaxInFlight: 1}, serval.HandlerFunc(func(context.Context, *serval.Request, serval.Sink) error {
		inside <- struct{}{}
		<-leave
		return nil
	}), nil)
	first := make(chan error)
	go func() { first <- g.Handle(context.Background(), &serval.Request{}, discard) }()
	<-inside
	e, ok := g.Handle(context.Background(), &serval.Request{}, discard).(*serval.Error)
	if !ok || e.Code != serval.Unavailable || e.RetryAfter == 0 {
		t.Errorf("over the limit: %v", e)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestFailures(t *testing.T) {
	shared := serval.Errorf(serval.Internal, "the engine's run failed").Because(errors.New("native code 7"))
	gone := errors.New("broken pipe")
	for _, c := range []struct {
		name    string
		next    serval.HandlerFunc
		sink    serval.SinkFunc
		code    serval.Code
		message string // ID stands for the request's id
		logged  string // "" means: nothing
	}{
		{name: "unknown error", next: func(context.Context, *serval.Request, serval.Sink) error { return errors.New("disk on fire") },
			code: serval.Internal, message: "internal error; the server's log has the cause under id ID", logged: `cause="disk on fire"`},
		{name: "shared internal error", next: func(context.Context, *serval.Request, serval.Sink) error { return shared },
			code: serval.Internal, message: "the engine's run failed", logged: `cause="native code 7"`},
		{name: "panic", next: func(context.Context, *serval.Request, serval.Sink) error { panic("index out of range") },
			code: serval.Internal, message: "internal error; the server's log has the cause under id ID", logged: `panic="index out of range"`},
		{name: "wrapped error", next: func(context.Context, *serval.Request, serval.Sink) error {
			return fmt.Errorf("x: %w", serval.Errorf(serval.NotFound, "no such model"))
		}, code: serval.NotFound, message: "no such model"},
		{name: "context", next: func(context.Context, *serval.Request, serval.Sink) error { return context.DeadlineExceeded },
			code: serval.DeadlineExceeded, message: "the deadline passed before the answer was ready"},
		{name: "client left", next: answer, sink: func(*serval.Chunk) error { return gone },
			code: serval.Canceled, message: "the answer could not be delivered; the client left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			seen := &record{}
			g := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, c.next, seen)
			sink := c.sink
			if sink == nil {
				sink = discard
			}
			req := &serval.Request{}
			e, ok := g.Handle(context.Background(), req, sink).(*serval.Error)
			if !ok || e.Code != c.code || e.Message != strings.ReplaceAll(c.message, "ID", req.ID) {
				t.Errorf("got %v: %v", e.Code, e)
			}
			if (e.Code == serval.Internal) != (e.ID == req.ID) {
				t.Errorf("the error's id is %q, the request's %q", e.ID, req.ID)
			}
			if !strings.Contains(log.String(), c.logged) || (c.logged == "") != (log.Len() == 0) {
				t.Errorf("logged %q, want %q", log.String(), c.logged)
			}
			if len(seen.errs) != 1 || seen.errs[0] != e || g.InFlight() != 0 {
				t.Errorf("observed %v, in flight %d", seen.errs, g.InFlight())
			}
		})
	}
	if shared.ID != "" {
		t.Error("an error that others may share was changed")
	}
}

func TestReloadWhileCalled(t *testing.T) {
	g := New(Options{}, serval.HandlerFunc(answer), &record{})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 200 {
				if err := g.Handle(context.Background(), &serval.Request{Credential: "a-key"}, discard); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 50 {
		g.Reload(Options{Keys: []Key{keyed("ann", "a-key", Infer, 1e9)}})
	}
	wait.Wait()
}

func FuzzCheckID(f *testing.F) {
	for _, seed := range []string{"", "42", "naïve", "a\nb", "\xff\xfe", strings.Repeat("y", 200)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if checkID(id) == nil && (len(id) > maxID || strings.ContainsAny(id, "\r\n\x00\x7f\x1b")) {
			t.Errorf("%q was let through", id)
		}
	})
}

func BenchmarkHandle(b *testing.B) {
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"open", Options{RequestTimeout: time.Second}},
		{"key", Options{RequestTimeout: time.Second, Keys: []Key{keyed("ann", "sk-0123456789abcdef0123456789abcdef", Infer, 0)}}},
		{"key+rate", Options{RequestTimeout: time.Second, Keys: []Key{keyed("ann", "sk-0123456789abcdef0123456789abcdef", Infer, 1e12)}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.o.Log = quiet()
			chunk := &serval.Chunk{Finish: serval.Stop}
			g := New(c.o, serval.HandlerFunc(func(_ context.Context, _ *serval.Request, s serval.Sink) error { return s.Send(chunk) }), nil)
			req := &serval.Request{}
			b.ReportAllocs()
			for b.Loop() {
				*req = serval.Request{Credential: "sk-0123456789abcdef0123456789abcdef"}
				if err := g.Handle(context.Background(), req, discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestPartsTakeNothingFromTheRate(t *testing.T) {
	g := New(Options{Keys: []Key{keyed("a", "a-key", Infer, 1e-9)}}, serval.HandlerFunc(func(context.Context, *serval.Request, serval.Sink) error { return nil }), nil)
	ask := func(part bool) error {
		return g.Handle(context.Background(), &serval.Request{Credential: "a-key", Part: part}, discard)
	}
	if _, err := g.Admit("a-key"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := ask(true); err != nil {
			t.Error(err)
		}
	}
	if err := ask(false); err == nil || err.(*serval.Error).Code != serval.ResourceExhausted {
		t.Errorf("another request: %v", err)
	}
	if err := g.Handle(context.Background(), &serval.Request{Credential: "b-key", Part: true}, discard); err == nil || err.(*serval.Error).Code != serval.Unauthenticated {
		t.Errorf("a part with a wrong key: %v", err)
	}
}

// TestLine: requests of batches have what those that come online leave of a rate, and never take from these.
func TestLine(t *testing.T) {
	start := time.Now()
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	b := (*policy)(nil).bucketOf(Key{Rate: 2, Burst: 4})
	count := func(take func(time.Time) time.Duration, now time.Time) (n int) {
		for take(now) == 0 {
			n++
		}
		return n
	}
	if n := count(b.line, at(0)); n != 4 {
		t.Errorf("%d lines at first, want 4", n)
	}
	if wait := b.line(at(0)); wait != 500*time.Millisecond {
		t.Errorf("the next one waits %v", wait)
	}
	if n := count(b.take, at(0)); n != 4 {
		t.Errorf("%d online beside them, want 4", n)
	}
	if n := count(b.line, at(1)); n != 0 {
		t.Errorf("%d lines while online requests have used more than the rate", n)
	}
	if n := count(b.line, at(4)); n != 4 { // they are 4 in debt, and 8 came since
		t.Errorf("%d lines after 4 s, want 4", n)
	}
	online, lines := 0, 0
	for i := range 1000 { // online has one a second
		if i%10 == 0 && b.take(at(5+float64(i)/10)) == 0 {
			online++
		}
		lines += count(b.line, at(5+float64(i)/10))
	}
	if online != 100 || online+lines > 2*100+4 || online+lines < 2*100-8 {
		t.Errorf("%d online and %d lines in 100 s at 2 a second", online, lines)
	}
	g := New(Options{Keys: []Key{keyed("ann", "sk-a", Infer, 0.001), keyed("bob", "sk-b", Infer, 0)}}, serval.HandlerFunc(answer), nil)
	if first, second := g.Line("ann"), g.Line("ann"); first != 0 || second < time.Minute {
		t.Errorf("ann waits %v, %v", first, second)
	}
	if err := g.Handle(t.Context(), &serval.Request{Credential: "sk-a"}, discard); err != nil {
		t.Errorf("a line has taken from what comes online: %v", err)
	}
	if bob, gone := g.Line("bob"), g.Line("gone"); bob != 0 || gone != 0 {
		t.Errorf("without a limit: %v, %v", bob, gone)
	}
}
