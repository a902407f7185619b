package protocoltest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"serval"
	"serval/protocol"
)

// only is a server with one model of text.
type only struct{}

func (only) Model(ref serval.Ref) (serval.ModelInfo, error) {
	if ref.Name != "chat" {
		return serval.ModelInfo{}, serval.Errorf(serval.NotFound, "model '%s' is not found", ref.Name)
	}
	return only{}.List()[0], nil
}

func (only) List() []serval.ModelInfo {
	return []serval.ModelInfo{{Name: "chat", Version: "1", State: serval.StateReady, Language: &serval.Language{Context: 100, Generate: true, Embed: true}}}
}

func (only) Stats(serval.Ref) (serval.Stats, error) { return serval.Stats{}, nil }
func (only) Ready() bool                            { return true }

// say answers whatever is asked, in every way that a model can.
func say(_ context.Context, req *serval.Request, sink serval.Sink) error {
	req.Usage = serval.Usage{Prompt: 2, Completion: 3}
	switch in := req.Input.(type) {
	case *serval.Texts:
		return sink.Send(&serval.Chunk{Output: &serval.Embeddings{List: make([][]float32, len(in.List))}, Finish: serval.Stop})
	case *serval.Rank:
		return sink.Send(&serval.Chunk{Output: &serval.Scores{List: make([]float32, len(in.Documents))}, Finish: serval.Stop})
	case *serval.Tokenize, *serval.Detokenize:
		return sink.Send(&serval.Chunk{Output: &serval.Pieces{IDs: []int32{1}, Texts: []string{"x"}}, Finish: serval.Stop})
	}
	n := 1
	switch in := req.Input.(type) {
	case *serval.Chat:
		n = max(in.N, 1)
	case *serval.Completion:
		n = max(in.N, 1)
	}
	for i := range n {
		token := serval.TokenText{ID: 1, Bytes: []byte("\xe2\x80"), Logprob: -1}
		for _, d := range []*serval.Delta{{Reasoning: "Hm"}, {Text: "a\u2028", Logprobs: []serval.TokenText{token}}, {Calls: []serval.CallDelta{{ID: "c", Name: "f", Arguments: "{"}}}, {Calls: []serval.CallDelta{{Index: 1, Name: "g", Arguments: "{}"}}}} {
			if err := sink.Send(&serval.Chunk{Output: d, Usage: serval.Usage{Completion: 1}, Choice: i}); err != nil {
				return err
			}
		}
		if err := sink.Send(&serval.Chunk{Output: &serval.Delta{StopText: "x"}, Finish: serval.Called, Choice: i}); err != nil {
			return err
		}
	}
	return nil
}

// Backend is a server with one model of text, "chat", that answers whatever is asked in every way that a model can. It stores
// nothing.
func Backend() protocol.Backend {
	tenant := func(string) (string, *serval.Error) { return "t", nil }
	return protocol.Backend{Handler: serval.HandlerFunc(say), Models: only{}, Config: protocol.Limits{MaxBody: 1 << 16}, Tenant: tenant, Admit: tenant}
}

// FuzzBody checks that whatever a client sends to whatever route is answered with JSON, or with events or lines of it, and with
// no status of 500 or more but 501. The protocol must have been made with Backend.
func FuzzBody(f *testing.F, p protocol.Protocol, seeds ...string) {
	routes := p.Routes()
	for _, body := range seeds {
		for i := range routes {
			f.Add(i, body)
		}
	}
	f.Fuzz(func(t *testing.T, at int, body string) {
		route := routes[uint(at)%uint(len(routes))]
		method, path, _ := strings.Cut(route.Pattern, " ")
		r := httptest.NewRequest(method, strings.ReplaceAll(strings.ReplaceAll(path, "{id}", "x"), "{digest}", "x"), strings.NewReader(body))
		r.SetPathValue("id", "x")
		w := httptest.NewRecorder()
		route.Serve(w, r)
		if w.Code >= http.StatusInternalServerError && w.Code != http.StatusNotImplemented {
			t.Fatalf("%s %s: %d %s", route.Pattern, body, w.Code, w.Body)
		}
		for line := range strings.Lines(w.Body.String()) {
			data := strings.TrimSpace(strings.TrimPrefix(line, "data:"))
			if data == "" || data == "[DONE]" || strings.HasPrefix(data, "event:") {
				continue
			}
			if !json.Valid([]byte(data)) {
				t.Fatalf("%s %s: answered %q", route.Pattern, body, line)
			}
		}
	})
}
