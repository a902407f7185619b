package openai

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"serval"
	"serval/protocol/protocoltest"
)

// TestPromptsOfOneRequestAreOneOfTheKeysRate: a list of prompts is taken from the rate once, and refused whole.
func TestPromptsOfOneRequestAreOneOfTheKeysRate(t *testing.T) {
	backend := protocoltest.Backend()
	var mu sync.Mutex
	admitted, parts, whole := 0, 0, 0
	backend.Admit = func(string) (string, *serval.Error) {
		if admitted++; admitted == 3 {
			return "", serval.Errorf(serval.ResourceExhausted, "the key may make 1 request a second")
		}
		return "t", nil
	}
	next := backend.Handler
	backend.Handler = serval.HandlerFunc(func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		mu.Lock()
		if req.Part {
			parts++
		} else {
			whole++
		}
		mu.Unlock()
		return next.Handle(ctx, req, sink)
	})
	p := New(backend)
	ask := func(body string) int {
		for _, route := range p.Routes() {
			if route.Pattern == "POST /v1/completions" {
				w := httptest.NewRecorder()
				route.Serve(w, httptest.NewRequest("POST", "/v1/completions", strings.NewReader(body)))
				return w.Code
			}
		}
		t.Fatal("no such route")
		return 0
	}
	for _, c := range []struct {
		body                             string
		status, admitted, parts, another int
	}{
		{`{"model":"chat","prompt":"a"}`, 200, 0, 0, 1}, // the chain below takes it from the rate
		{`{"model":"chat","prompt":["a"]}`, 200, 0, 0, 2},
		{`{"model":"chat","prompt":["a","b","c"]}`, 200, 1, 3, 2},
		{`{"model":"chat","prompt":[[1,2],[3]],"n":2}`, 200, 2, 5, 2},
		{`{"model":"chat","prompt":["a","b"]}`, 429, 3, 5, 2},
	} {
		if status := ask(c.body); status != c.status || admitted != c.admitted || parts != c.parts || whole != c.another {
			t.Errorf("%s: %d, admitted %d, parts %d, others %d; want %+v", c.body, status, admitted, parts, whole, c)
		}
	}
}
