package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
	"serval/protocol"
)

// memory is a Responses in memory; store/sqlite has the same rules.
type memory struct {
	mu   sync.Mutex
	rows map[string]protocol.Response
}

func (m *memory) PutResponse(_ context.Context, r *protocol.Response) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows[r.Tenant+"/"+r.ID] = *r
	return nil
}

func (m *memory) UpdateResponse(_ context.Context, r *protocol.Response) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.rows[r.Tenant+"/"+r.ID]
	if !ok || !old.Open {
		return false, nil
	}
	old.Open, old.Body = r.Open, r.Body
	m.rows[r.Tenant+"/"+r.ID] = old
	return true, nil
}

func (m *memory) Response(_ context.Context, tenant, id string) (*protocol.Response, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.rows[tenant+"/"+id]
	if !ok {
		return nil, serval.Errorf(serval.NotFound, "there is no response '%s'", id)
	}
	return &r, nil
}

func (m *memory) DeleteResponse(_ context.Context, tenant, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.rows, tenant+"/"+id)
	return nil
}

func (m *memory) OpenResponses(context.Context) (list []*protocol.Response, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rows {
		if r.Open {
			list = append(list, &protocol.Response{Tenant: r.Tenant, ID: r.ID, Created: r.Created})
		}
	}
	return list, nil
}

type models struct{ protocol.Models }

func (models) Model(ref serval.Ref) (serval.ModelInfo, error) {
	if ref.Name != "chat" {
		return serval.ModelInfo{}, serval.Errorf(serval.NotFound, "model '%s' is not found", ref.Name)
	}
	return serval.ModelInfo{Name: "chat"}, nil
}

// answers is a chain that says what it was asked, once it may.
type answers struct {
	mu    sync.Mutex
	calls int
	asked []*serval.Chat
	may   chan struct{} // nil: at once
	fail  error
}

func (a *answers) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	in := req.Input.(*serval.Chat)
	a.mu.Lock()
	a.calls++
	a.asked = append(a.asked, in)
	fail := a.fail
	a.mu.Unlock()
	if a.may != nil {
		select {
		case <-a.may:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fail != nil {
		return fail
	}
	usage := serval.Usage{Prompt: 3, Completion: 1}
	if err := sink.Send(&serval.Chunk{Output: &serval.Delta{Reasoning: "Hm."}, Usage: usage}); err != nil {
		return err
	}
	return sink.Send(&serval.Chunk{Output: &serval.Delta{Text: "said: " + in.Messages[len(in.Messages)-1].Content}, Finish: serval.Stop})
}

func (a *answers) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

func serve(t *testing.T, a *answers, store protocol.Responses) (*Protocol, http.Handler) {
	t.Helper()
	p := New(protocol.Backend{
		Handler: a, Models: models{}, Config: protocol.Limits{MaxBody: 1 << 20}, Responses: store,
		Tenant: func(c string) (string, *serval.Error) { return "t" + c, nil },
		Admit:  func(c string) (string, *serval.Error) { return "t" + c, nil },
		As:     func(string) serval.Handler { return a },
	})
	mux := http.NewServeMux()
	for _, r := range p.Routes() {
		mux.HandleFunc(r.Pattern, r.Serve)
	}
	return p, mux
}

// call makes a request with a key, and reads the answer's object.
func call(t *testing.T, h http.Handler, key, method, path, body string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var v map[string]any
	if err := json.Unmarshal(bytes.TrimSpace(w.Body.Bytes()), &v); err != nil {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Code, v
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: ", what)
		}
	}
}

// work has the protocol work in the background until the test ends, or stop is called.
func work(t *testing.T, p *Protocol) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func TestConversation(t *testing.T) {
	a, store := &answers{}, &memory{rows: map[string]protocol.Response{}}
	_, h := serve(t, a, store)
	code, first := call(t, h, "k", "POST", "/v1/responses", `{"model":"chat","input":"one","instructions":"Be brief."}`)
	if code != 200 || first["status"] != "completed" {
		t.Fatalf("%d %v", code, first)
	}
	id := first["id"].(string)
	if code, _ = call(t, h, "k", "POST", "/v1/responses", `{"model":"chat","input":"two","previous_response_id":"`+id+`"}`); code != 200 {
		t.Fatal(code)
	}
	last := a.asked[1].Messages
	if len(last) != 3 || last[0].Content != "one" || last[1].Role != "assistant" || last[1].Content != "said: one" || last[1].Reasoning != "Hm." || last[2].Content != "two" {
		t.Errorf("what went on: %+v", last) // without the instructions, which are of one response
	}
	if code, _ := call(t, h, "other", "GET", "/v1/responses/"+id, ""); code != 404 {
		t.Errorf("another tenant's: %d", code)
	}
	if code, _ := call(t, h, "other", "POST", "/v1/responses", `{"model":"chat","input":"x","previous_response_id":"`+id+`"}`); code != 404 {
		t.Errorf("another tenant's, to go on from: %d", code)
	}
}

// TestBackgroundOnce: a response that was queued before the work began is answered once.
func TestBackgroundOnce(t *testing.T) {
	a, store := &answers{}, &memory{rows: map[string]protocol.Response{}}
	p, h := serve(t, a, store)
	_, queued := call(t, h, "k", "POST", "/v1/responses", `{"model":"chat","input":"one","background":true}`)
	if queued["status"] != "queued" {
		t.Fatal(queued)
	}
	work(t, p)
	id := queued["id"].(string)
	until(t, "it is completed", func() bool {
		_, v := call(t, h, "k", "GET", "/v1/responses/"+id, "")
		return v["status"] == "completed"
	})
	time.Sleep(50 * time.Millisecond)
	if n := a.count(); n != 1 {
		t.Errorf("answered %d times", n)
	}
}

// TestBackgroundSurvives: a server that stops leaves it open, and the next one answers it.
func TestBackgroundSurvives(t *testing.T) {
	a, store := &answers{may: make(chan struct{})}, &memory{rows: map[string]protocol.Response{}}
	p, h := serve(t, a, store)
	stop := work(t, p)
	_, queued := call(t, h, "k", "POST", "/v1/responses", `{"model":"chat","input":"one","background":true}`)
	until(t, "it runs", func() bool { return a.count() == 1 })
	stop()
	b := &answers{}
	p2, h2 := serve(t, b, store)
	work(t, p2)
	until(t, "the next server answers it", func() bool {
		_, v := call(t, h2, "k", "GET", "/v1/responses/"+queued["id"].(string), "")
		return v["status"] == "completed"
	})
}

// TestBackgroundStaysEnded: what was cancelled or deleted while it ran does not come back.
func TestBackgroundStaysEnded(t *testing.T) {
	a, store := &answers{may: make(chan struct{})}, &memory{rows: map[string]protocol.Response{}}
	p, h := serve(t, a, store)
	work(t, p)
	var ids []string
	for range 2 {
		_, v := call(t, h, "k", "POST", "/v1/responses", `{"model":"chat","input":"one","background":true}`)
		ids = append(ids, v["id"].(string))
	}
	until(t, "both run", func() bool { return a.count() == 2 })
	if _, v := call(t, h, "k", "POST", "/v1/responses/"+ids[0]+"/cancel", ""); v["status"] != "cancelled" {
		t.Error(v)
	}
	if _, v := call(t, h, "k", "DELETE", "/v1/responses/"+ids[1], ""); v["deleted"] != true {
		t.Error(v)
	}
	close(a.may)
	until(t, "nothing is known any more", func() bool {
		p.background.mu.Lock()
		defer p.background.mu.Unlock()
		return len(p.background.known) == 0
	})
	time.Sleep(50 * time.Millisecond)
	if _, v := call(t, h, "k", "GET", "/v1/responses/"+ids[0], ""); v["status"] != "cancelled" {
		t.Errorf("the cancelled one is %v", v["status"])
	}
	if code, _ := call(t, h, "k", "GET", "/v1/responses/"+ids[1], ""); code != 404 {
		t.Errorf("the deleted one: %d", code)
	}
}

// TestTurns: tenants take turns, however many one of them has waiting.
func TestTurns(t *testing.T) {
	b := newBackground()
	for _, k := range []key{{"a", "1"}, {"a", "2"}, {"a", "3"}, {"b", "1"}, {"a", "1"}} {
		b.add(k)
	}
	b.stop(key{"a", "2"})
	var order []string
	for {
		j, _ := b.next(t.Context())
		if j == nil {
			break
		}
		order = append(order, j.tenant+j.id)
		b.ended(j, false)
	}
	if got := strings.Join(order, " "); got != "a1 b1 a3" {
		t.Error(got)
	}
	if len(b.known) != 0 || len(b.waiting) != 0 {
		t.Error("something is left")
	}
}

func TestNowhereToStore(t *testing.T) {
	a := &answers{}
	_, h := serve(t, a, nil)
	if code, v := call(t, h, "k", "POST", "/v1/responses", `{"model":"chat","input":"one"}`); code != 200 || v["store"] != false {
		t.Errorf("%d %v", code, v)
	}
	for _, more := range []string{`"store":true`, `"background":true`, `"previous_response_id":"resp_1"`} {
		if code, _ := call(t, h, "k", "POST", "/v1/responses", `{"model":"chat","input":"one",`+more+`}`); code != 503 {
			t.Errorf("%s: %d", more, code)
		}
	}
	if a.count() != 1 {
		t.Errorf("answered %d times", a.count())
	}
}

func TestRefused(t *testing.T) {
	_, h := serve(t, &answers{}, &memory{rows: map[string]protocol.Response{}})
	for _, c := range []struct{ path, body, param string }{
		{"/v1/completions", `{"model":"chat","prompt":"x","n":10000000000000}`, "n"},
		{"/v1/chat/completions", `{"model":"chat","messages":[{"role":"user","content":"x"}],"n":9223372036854775807}`, "n"},
		{"/v1/chat/completions", `{"model":"chat","messages":[{"role":"user","content":"x"}],"stop":5}`, "stop"},
		{"/v1/chat/completions", `{"model":"chat","messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, "messages"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"x"}]}`, "model"},
		{"/v1/embeddings", `{"model":"chat","input":{}}`, "input"},
		{"/v1/responses", `{"model":"chat","input":"x","truncation":"auto"}`, "truncation"},
		{"/v1/responses", `{"model":"chat","input":"x","background":true,"stream":true}`, "stream"},
	} {
		code, v := call(t, h, "k", "POST", c.path, c.body)
		e, _ := v["error"].(map[string]any)
		if code != 400 || e["param"] != c.param {
			t.Errorf("%s %s: %d %v", c.path, c.body, code, v)
		}
	}
}
