package webhook

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serval"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func key(t *testing.T) Key {
	t.Helper()
	k, err := ParseKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The signatures were made by the Python package standardwebhooks 1.1.0.
func TestSignature(t *testing.T) {
	for _, c := range []struct {
		id, body, want string
		at             int64
	}{
		{"msg_p5jXN8AQM9LWM0D4loKWxJek", `{"test": 2432232314}`, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", 1614265330},
		{"msg_b", "grün", "v1,dkFm3HkNt6sXGy5oFHuo48m0Ab9jC69Yq5gbhzD+GpE=", 1764280000},
	} {
		h, err := Sign(c.id, time.Unix(c.at, 999), []byte(c.body), key(t))
		if err != nil || h.Get(HeaderSignature) != c.want || h.Get(HeaderID) != c.id {
			t.Errorf("%s: %v, %v", c.id, h, err)
		}
	}
}

func TestSecrets(t *testing.T) {
	k := NewKey()
	again, err := ParseKey(k.Secret())
	if err != nil || string(again.raw) != string(k.raw) {
		t.Errorf("%v, %v", again, err)
	}
	for _, s := range []string{"", "whsec_", "whsec_???", "whsec_MTIz", "whsec_" + strings.Repeat("A", 400)} {
		if _, err := ParseKey(s); serval.AsError(err).Code != serval.InvalidArgument || s != "" && strings.Contains(err.Error(), s[6:]) && len(s) > 6 {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, id := range []string{"", "a b", "a.b", "ä", "a\nb", strings.Repeat("x", 257)} {
		if _, err := Sign(id, time.Now(), nil, k); err == nil {
			t.Errorf("the id %q signs", id)
		}
	}
	if _, err := Sign("a", time.Now(), nil); err == nil {
		t.Error("no key signs")
	}
	if _, err := Sign("a", time.Now(), nil, Key{}); err == nil {
		t.Error("the zero key signs")
	}
}

func TestVerify(t *testing.T) {
	now := time.Unix(1700000000, 0)
	old, body := NewKey(), []byte("body")
	h, err := Sign("m1", now, body, old, key(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []Key{old, key(t)} {
		if err := Verify(h, body, now.Add(Tolerance), k); err != nil {
			t.Error(err)
		}
	}
	change := func(name, value string) http.Header {
		c := h.Clone()
		c.Set(name, value)
		return c
	}
	for what, c := range map[string]struct {
		h    http.Header
		body string
		now  time.Time
		key  Key
	}{
		"another body":       {h, "Body", now, old},
		"another id":         {change(HeaderID, "m2"), "body", now, old},
		"another time":       {change(HeaderTimestamp, "1700000001"), "body", now, old},
		"no time":            {change(HeaderTimestamp, "soon"), "body", now, old},
		"a time far off":     {change(HeaderTimestamp, "-9223372036854775808"), "body", now, old},
		"too old":            {h, "body", now.Add(Tolerance + time.Second), old},
		"too early":          {h, "body", now.Add(-Tolerance - time.Second), old},
		"another key":        {h, "body", now, NewKey()},
		"the zero key":       {h, "body", now, Key{}},
		"no signature":       {change(HeaderSignature, ""), "body", now, old},
		"another scheme":     {change(HeaderSignature, strings.ReplaceAll(h.Get(HeaderSignature), "v1,", "v2,")), "body", now, old},
		"a broken one":       {change(HeaderSignature, "v1,%%% v1 v1,"), "body", now, old},
		"a shortened one":    {change(HeaderSignature, h.Get(HeaderSignature)[:20]), "body", now, old},
		"behind many others": {change(HeaderSignature, strings.Repeat("v1,AAAA ", 100)+h.Get(HeaderSignature)), "body", now, old},
	} {
		if err := Verify(c.h, []byte(c.body), c.now, c.key); serval.AsError(err).Code != serval.Unauthenticated {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	k := Key{[]byte("0123456789abcdef")}
	f.Add("m1", "1700000000", "v1,AAAA", []byte("body"))
	f.Add("", "x", "v1, v1,", []byte{})
	f.Fuzz(func(t *testing.T, id, stamp, signature string, body []byte) {
		h := http.Header{}
		h.Set(HeaderID, id)
		h.Set(HeaderTimestamp, stamp)
		h.Set(HeaderSignature, signature)
		now := time.Unix(1700000000, 0)
		if Verify(h, body, now, k) == nil {
			t.Error("verified without the key")
		}
		if signed, err := Sign(id, now, body, k); err == nil {
			if err := Verify(signed, body, now, k); err != nil {
				t.Error(err)
			}
		}
	})
}

// receiver notes what it is sent, and answers by a function of how often it was called.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	seen  []http.Header
	calls atomic.Int64
}

func receive(t *testing.T, answer func(n int64, w http.ResponseWriter, r *http.Request)) *receiver {
	rc := &receiver{}
	rc.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		k, _ := ParseKey(secret)
		if err := Verify(r.Header, body, time.Now(), k); err != nil {
			t.Error(err)
		}
		rc.mu.Lock()
		rc.seen = append(rc.seen, r.Header.Clone())
		rc.mu.Unlock()
		answer(rc.calls.Add(1), w, r)
	}))
	t.Cleanup(rc.Close)
	return rc
}

func sender(t *testing.T, o Options) *Sender {
	t.Helper()
	o.Secrets, o.Min = []string{secret}, time.Millisecond
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestSend(t *testing.T) {
	s := sender(t, Options{Private: true, Header: http.Header{"x-tenant": {"a"}}})
	for _, c := range []struct {
		what      string
		answer    func(n int64, w http.ResponseWriter, r *http.Request)
		calls     int64
		status    int // of the failure; 0: it is taken
		permanent bool
		says      string
	}{
		{"taken", func(int64, http.ResponseWriter, *http.Request) {}, 1, 0, false, ""},
		{"busy twice", func(n int64, w http.ResponseWriter, _ *http.Request) {
			if n < 3 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		}, 3, 0, false, ""},
		{"broken for good", func(_ int64, w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "db down", http.StatusServiceUnavailable)
		}, 5, 503, false, "db down"},
		{"not wanted", func(_ int64, w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no such field", http.StatusUnprocessableEntity)
		}, 1, 422, true, "no such field"},
		{"elsewhere", func(_ int64, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/there", http.StatusPermanentRedirect)
		}, 1, 308, true, "/there"},
		{"hangs up once", func(n int64, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				panic(http.ErrAbortHandler)
			}
		}, 2, 0, false, ""},
		{"endless answer", func(_ int64, w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, 1, 400, true, ""},
	} {
		rc := receive(t, c.answer)
		err := s.Send(t.Context(), rc.URL+"/hook?q=1", "msg_1", []byte(`{"a":1}`))
		var f *Failure
		switch {
		case rc.calls.Load() != c.calls:
			t.Errorf("%s: %d calls, %v", c.what, rc.calls.Load(), err)
		case c.status == 0 && err != nil, c.status != 0 && (!errors.As(err, &f) || f.Status != c.status || f.Permanent != c.permanent):
			t.Errorf("%s: %v", c.what, err)
		case c.status != 0 && (!strings.Contains(err.Error(), c.says) || len(err.Error()) > 1000):
			t.Errorf("%s: says %v", c.what, err)
		}
		for _, h := range rc.seen {
			if h.Get(HeaderID) != "msg_1" || h.Get("Content-Type") != "application/json" || h.Get("X-Tenant") != "a" {
				t.Errorf("%s: %v", c.what, h)
			}
		}
	}
}

func TestTimeout(t *testing.T) {
	stop := make(chan struct{})
	rc := receive(t, func(_ int64, _ http.ResponseWriter, r *http.Request) { <-stop })
	defer close(stop)
	s := sender(t, Options{Private: true, Attempts: 2, Timeout: 20 * time.Millisecond})
	err := s.Send(t.Context(), rc.URL, "m", nil)
	var f *Failure
	if !errors.As(err, &f) || f.Permanent || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "within 20ms") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Send(ctx, rc.URL, "m", nil); !errors.Is(err, context.Canceled) || errors.As(err, &f) && f.Status != 0 {
		t.Error(err)
	}
}

// Where callers name URLs, none of them leads to this machine or a private network: not by an address, nor by a name.
func TestPrivate(t *testing.T) {
	rc := receive(t, func(int64, http.ResponseWriter, *http.Request) { t.Error("it was reached") })
	s := sender(t, Options{})
	_, port, _ := strings.Cut(strings.TrimPrefix(rc.URL, "http://"), ":")
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "10.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1", "[fd00::1]", "[fe80::1]", "2130706433", "0x7f.1"} {
		err := s.Send(t.Context(), "http://"+host+":"+port+"/", "m", nil)
		if err == nil {
			t.Errorf("%s was reached", host)
		}
		if strings.HasPrefix(host, "localhost") {
			var f *Failure
			if !errors.As(err, &f) || !f.Permanent || !errors.Is(err, errPrivate) {
				t.Errorf("%s: %v", host, err)
			}
		}
	}
	for ip, want := range map[string]bool{"8.8.8.8": true, "2606:4700::1111": true, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "198.18.0.1": false, "224.0.0.1": false, "255.255.255.255": false} {
		if got := reachable(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
	for _, to := range []string{"", "ftp://h/x", "http://", "https://user:word@h/", "https://h/#x", "http://10.1.2.3/", ":", "/path", "http://%zz/"} {
		if err := s.CheckURL(to); serval.AsError(err).Code != serval.InvalidArgument || strings.Contains(err.Error(), "word@") {
			t.Errorf("%q: %v", to, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Unix(1700000000, 0)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-3": 0, "99999999999": 24 * time.Hour, "soon": 0,
		now.Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second, now.Add(-time.Hour).UTC().Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
