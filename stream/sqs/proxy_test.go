package sqs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"serval"
)

// proxy stands before a server of queues, and is down, or meddles with requests.
type proxy struct {
	url  string
	to   string
	down atomic.Bool

	mu sync.Mutex // guards what follows, and lets one request be meddled with at a time
	by map[string]func(*request)
}

func newProxy(t *testing.T, to string) *proxy {
	p := &proxy{to: to, by: map[string]func(*request){}}
	s := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

// meddle has f look at every request for an action.
func (p *proxy) meddle(action string, f func(*request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by[action] = f
}

// request is one that is being meddled with.
type request struct {
	Entries []map[string]any
	failed  []map[string]any
	dropped map[int]bool
	status  int
	text    string
}

// answer answers it at once.
func (r *request) answer(status int, text string) { r.status, r.text = status, text }

// fail has an entry fail that the server never sees.
func (r *request) fail(i int, code string, sender bool) {
	if i < len(r.Entries) {
		r.dropped[i] = true
		r.failed = append(r.failed, map[string]any{"Id": r.Entries[i]["Id"], "Code": code, "SenderFault": sender, "Message": "meddled with: must be shorter"})
	}
}

func (p *proxy) serve(w http.ResponseWriter, in *http.Request) {
	if p.down.Load() {
		panic(http.ErrAbortHandler)
	}
	body, _ := io.ReadAll(in.Body)
	r := &request{dropped: map[int]bool{}}
	p.mu.Lock()
	f := p.by[in.Header.Get("X-Amz-Target")[len("AmazonSQS."):]]
	if f != nil {
		_ = json.Unmarshal(body, r)
		f(r)
	}
	p.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if r.status != 0 {
		w.WriteHeader(r.status)
		_, _ = io.WriteString(w, r.text)
		return
	}
	if len(r.dropped) > 0 {
		var whole map[string]any
		_ = json.Unmarshal(body, &whole)
		var kept []any
		for i, e := range whole["Entries"].([]any) {
			if !r.dropped[i] {
				kept = append(kept, e)
			}
		}
		whole["Entries"] = kept
		body, _ = json.Marshal(whole)
		if len(kept) == 0 {
			_ = json.NewEncoder(w).Encode(map[string]any{"Failed": r.failed})
			return
		}
	}
	out, _ := http.NewRequestWithContext(in.Context(), in.Method, p.to+in.URL.Path, bytes.NewReader(body))
	out.Header = in.Header.Clone()
	out.Header.Del("Content-Length")
	got, err := http.DefaultClient.Do(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil || p.down.Load() {
		panic(http.ErrAbortHandler)
	}
	if len(r.failed) > 0 {
		var whole map[string]any
		_ = json.Unmarshal(text, &whole)
		whole["Failed"] = r.failed
		text, _ = json.Marshal(whole)
	}
	for k, v := range got.Header {
		if !strings.EqualFold(k, "Content-Length") {
			w.Header()[k] = v
		}
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(got.StatusCode)
	_, _ = w.Write(text)
}

// codeOf is the code of one of our errors.
func codeOf(err error) string {
	var e *serval.Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code.String()
}
