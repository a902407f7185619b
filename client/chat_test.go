package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"serval"
)

// speaking is a server that answers every conversation with the events, and keeps what it was asked.
func speaking(t *testing.T, events string) (*Client, *map[string]any) {
	t.Helper()
	asked := &map[string]any{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/chat/completions" || r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if err := json.NewDecoder(r.Body).Decode(asked); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, events)
	}))
	t.Cleanup(s.Close)
	c := New(s.URL, "secret")
	t.Cleanup(c.Close)
	return c, asked
}

// listen asks and returns the text, the reasoning and the last chunk.
func listen(c *Client, in *serval.Chat) (text, reasoning string, last serval.Chunk, req *serval.Request, err error) {
	req = &serval.Request{Model: serval.Ref{Name: "m", Version: "2"}, Input: in}
	err = c.Chat(context.Background(), req, serval.SinkFunc(func(k *serval.Chunk) error {
		d := k.Output.(*serval.Delta)
		text, reasoning, last = text+d.Text, reasoning+d.Reasoning, *k
		return nil
	}))
	return
}

func TestChat(t *testing.T) {
	c, asked := speaking(t, ": ping\r\n\r\n"+
		"event: message\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n"+
		"data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n"+
		"data: {\"choices\":[{\"delta\":{\"content\":\"Grüß \"}}]}\n\n"+
		"data:{\"choices\":[{\"delta\":{\"content\":\"Gott\"}}]}\r\n\r\n"+
		"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n"+
		"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_tokens\":1}}}\n\n"+
		"data: [DONE]\n\n")
	cold, limit, off := 0.0, 3, false
	in := &serval.Chat{
		Messages: []serval.Message{{Role: "system", Content: "Be brief."}, {Role: "user", Content: "Hallo"}}, Think: &off,
		Generation: serval.Generation{Temperature: &cold, Limit: &limit, Stop: []string{"X"}, Constraint: &serval.Constraint{Kind: "json_schema", Source: `{"type":"object"}`}},
	}
	text, reasoning, last, req, err := listen(c, in)
	if err != nil || text != "Grüß Gott" || reasoning != "hm" || last.Finish != serval.Length {
		t.Fatalf("%q %q %v %v", text, reasoning, last, err)
	}
	if want := (serval.Usage{Prompt: 9, Cached: 4, Completion: 3, Reasoning: 1}); last.Usage != want || req.Usage != want {
		t.Errorf("usage %+v, %+v", last.Usage, req.Usage)
	}
	a := *asked
	schema := a["response_format"].(map[string]any)["json_schema"].(map[string]any)["schema"].(map[string]any)
	if a["model"] != "m:2" || a["temperature"] != 0.0 || a["max_tokens"] != 3.0 || a["reasoning_effort"] != "none" || schema["type"] != "object" || a["stream"] != true {
		t.Errorf("asked %v", a)
	}
	if _, set := a["top_p"]; set || len(a["messages"].([]any)) != 2 {
		t.Errorf("asked %v", a)
	}
}

func TestChatFails(t *testing.T) {
	piece := "data: {\"choices\":[{\"delta\":{\"content\":\"so\"}}]}\n\n"
	hello := &serval.Chat{Messages: []serval.Message{{Role: "user", Content: "Hallo"}}}
	for name, test := range map[string]struct {
		events string
		code   serval.Code
		word   string
	}{
		"cut":     {piece, serval.Unavailable, "broke the answer off"},
		"error":   {piece + "data: {\"error\":{\"message\":\"the model died\",\"type\":\"overloaded_error\",\"code\":\"x\"}}\n\n", serval.Unavailable, "the model died"},
		"number":  {"data: {\"error\":{\"message\":\"no\",\"code\":400}}\n\n", serval.Internal, "no"},
		"garbage": {"data: <html>\n\n", serval.Internal, "OpenAI's API"},
		"long":    {"data: " + strings.Repeat("x", maxEvent+100<<10) + "\n\n", serval.TooLarge, "event"},
	} {
		c, _ := speaking(t, test.events)
		if _, _, _, _, err := listen(c, hello); err == nil || serval.AsError(err).Code != test.code || !strings.Contains(err.Error(), test.word) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, _ := speaking(t, piece+piece+"data: [DONE]\n\n")
	gone := errors.New("nobody reads")
	err := c.Chat(context.Background(), &serval.Request{Model: serval.Ref{Name: "m"}, Input: hello}, serval.SinkFunc(func(*serval.Chunk) error { return gone }))
	if !errors.Is(err, gone) {
		t.Errorf("the sink's error became %v", err)
	}
	if err := c.Chat(context.Background(), &serval.Request{Input: &serval.Tensors{}}, nil); serval.AsError(err).Code != serval.Unimplemented {
		t.Errorf("tensors: %v", err)
	}
	if _, _, _, _, err := listen(c, &serval.Chat{Tools: []serval.Tool{{Name: "f"}}}); serval.AsError(err).Code != serval.Unimplemented {
		t.Errorf("tools: %v", err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`)
	}))
	defer s.Close()
	_, _, _, _, err = listen(New(s.URL, ""), hello)
	if e := serval.AsError(err); e.Reason != "context_length_exceeded" || e.Param != "messages" || e.Message != "too long" {
		t.Errorf("refused: %+v", e)
	}
}

func TestChatIsCancelled(t *testing.T) {
	left := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "data: {\"choices\":[{\"delta\":{\"content\":\"so\"}}]}\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(left)
	}))
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	err := New(s.URL, "").Chat(ctx, &serval.Request{Model: serval.Ref{Name: "m"}, Input: &serval.Chat{}}, serval.SinkFunc(func(*serval.Chunk) error {
		cancel()
		return nil
	}))
	if serval.AsError(err).Code != serval.Canceled {
		t.Errorf("%v", err)
	}
	<-left // the server saw it
}

func TestSpoken(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Model string }
		if json.NewDecoder(r.Body).Decode(&q) != nil || r.URL.Path != "/api/show" {
			t.Error("not asked for a model")
		}
		switch q.Model {
		case "chat":
			fmt.Fprint(w, `{"capabilities":["completion","tools"],"model_info":{"general.architecture":"serval","serval.context_length":2048}}`)
		case "credit":
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"model 'credit' is no model of text"}`)
		case "other":
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":"model 'other' is not found; the server has 'chat'"}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `404 page not found`)
		}
	}))
	defer s.Close()
	c := New(s.URL, "")
	ask := func(name string) (Spoken, serval.Code) {
		said, err := c.Spoken(context.Background(), serval.Ref{Name: name})
		if err == nil {
			return said, 255
		}
		return said, serval.AsError(err).Code
	}
	if said, _ := ask("chat"); said != (Spoken{Context: 2048, Generate: true}) {
		t.Errorf("%+v", said)
	}
	for name, want := range map[string]serval.Code{"credit": serval.InvalidArgument, "other": serval.NotFound, "foreign": serval.Unimplemented} {
		if _, code := ask(name); code != want {
			t.Errorf("%s: %v", name, code)
		}
	}
}

func FuzzChat(f *testing.F) {
	f.Add([]byte("data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1}}\n\ndata: [DONE]\n\n"))
	f.Add([]byte("data: {\"error\":\"no\"}\n\n"))
	f.Add([]byte(": ping\r\ndata:[DONE]"))
	f.Fuzz(func(t *testing.T, events []byte) {
		var usage serval.Usage
		ended := false
		r := &chatReader{usage: &usage, sink: serval.SinkFunc(func(c *serval.Chunk) error {
			if ended {
				t.Error("a piece after the end")
			}
			ended = c.Finish != serval.More
			return nil
		})}
		if err := r.read(strings.NewReader(string(events))); (err == nil) != ended {
			t.Errorf("ended %v, and %v", ended, err)
		}
	})
}
