package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"serval"
	"serval/batch"
	"serval/batch/requests"
	"serval/config"
	"serval/internal/webhook"
	"serval/protocol"
	protocols "serval/protocol/all"
	"serval/route"
)

// runs is a protocol.Worker made of a function.
type runs func(context.Context)

func (r runs) Run(ctx context.Context) { r(ctx) }

// newRequests gives the protocols files and batches, and the server who does them.
func (s *Server) newRequests(backend *protocol.Backend) error {
	c := &s.cfg.Files
	owner, err := s.state.Identity(s.life)
	if err != nil {
		return err
	}
	var service *requests.Service
	files := requests.NewFiles(requests.FilesOptions{
		Dir: s.cfg.FilesDir(), Rows: s.state, Largest: int64(c.MaxSize), Total: int64(c.MaxTotal), Keep: c.Keep, Owner: owner,
		Aside: func(ctx context.Context, tenant string) (int64, error) { return service.Held(ctx, tenant) },
	})
	hooks, err := newHooks(s.cfg.Webhooks)
	if err != nil {
		return err
	}
	var worker *batch.Worker
	o := requests.Options{
		Dir: filepath.Join(s.cfg.FilesDir(), "batches"), Store: s.state, Jobs: s.jobs, Files: files, Call: newInside(s, *backend).call,
		Known: func(ref serval.Ref) error { _, err := s.models.Model(ref); return err }, Width: s.width,
		Most: c.MaxRequests, MaxOpen: c.MaxOpen, Owner: owner, Pace: s.gate.Line, Longest: int(s.cfg.Limits.MaxBody), Keep: c.Keep, Hooks: hooks.of, Hook: hooks.may,
		Wake: func() { worker.Wake() }, Log: s.log,
	}
	service = requests.New(o)
	worker = batch.NewWorker(batch.WorkerOptions{
		Name: workerName(), Queue: s.state, Jobs: lasting{s.state}, Runners: []batch.Runner{service}, Width: c.Batches, Lease: s.cfg.Batch.Lease, Log: s.log,
	})
	backend.Files, backend.Batches = files, service
	s.workers = append(s.workers, worker, runs(service.Tend))
	if len(hooks) > 0 {
		n := requests.NewNotifier(requests.NotifierOptions{Rows: s.state, Hooks: hooks.list(), Group: service.GroupBody, Log: s.log})
		s.workers = append(s.workers, runs(n.Run))
	}
	return nil
}

// lasting are jobs of which a Worker removes none: batches are removed with their files, by requests.Service.
type lasting struct{ queue }

func (l lasting) Jobs(ctx context.Context, f batch.Filter) ([]*batch.Record, error) {
	if f.Removable {
		return nil, nil
	}
	return l.queue.Jobs(ctx, f)
}

// width is how many requests of a batch may be at a model at the same time: a model of text always has the next ones waiting for a
// slot, and few more, so that its queue is others'.
func (s *Server) width(model string) int {
	const usual = 32
	ref, err := serval.ParseRef(model)
	if err != nil {
		return usual
	}
	m, err := s.models.Model(ref)
	if err != nil || m.Language == nil || m.Language.Slots <= 0 {
		return usual
	}
	return m.Language.Slots + max(2, m.Language.Slots/2)
}

// inside are the endpoints of batches, by the protocols' own code: what a line asks is decoded, checked and answered as it would be
// online. Beside that a request of a batch stands behind those that come online, and takes what those leave of its key's rate.
type inside struct {
	server *Server
	mux    *http.ServeMux
}

// spending is where a request of a batch says what it has cost.
type spending struct {
	mu    sync.Mutex
	usage serval.Usage
}

type spendingKey struct{}

// newInside makes the protocols once more. The credential of their requests is the tenant itself.
func newInside(s *Server, b protocol.Backend) *inside {
	b.Control, b.Puller, b.Files, b.Batches = nil, nil, nil, nil
	b.Tenant = func(tenant string) (string, *serval.Error) { return tenant, nil }
	b.Admit = b.Tenant
	b.Handler = serval.HandlerFunc(func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		tenant := req.Credential
		req.Credential, req.Priority = "", serval.Background
		switch req.Input.(type) {
		case *serval.Chat, *serval.Completion:
			req.Timeout = serval.LongAnswer
		}
		err := s.pace.Handler(route.Resolve(s.models, s.gate.As(tenant))).Handle(ctx, req, sink)
		if spent, ok := ctx.Value(spendingKey{}).(*spending); ok {
			spent.mu.Lock()
			spent.usage.Add(req.Usage)
			spent.mu.Unlock()
		}
		return err
	})
	in := &inside{server: s, mux: http.NewServeMux()}
	patterns := []string{"POST /v2/models/{model}/infer", "POST /v2/models/{model}/versions/{version}/infer"}
	for _, e := range requests.Endpoints() {
		patterns = append(patterns, "POST "+e)
	}
	for _, p := range protocols.New(b) {
		for _, r := range p.Routes() {
			if slices.Contains(patterns, r.Pattern) {
				in.mux.HandleFunc(r.Pattern, r.Serve)
			}
		}
	}
	return in
}

// call asks an endpoint as a tenant.
func (in *inside) call(ctx context.Context, tenant, path string, body []byte) (a requests.Answer) {
	spent := &spending{}
	ctx = context.WithValue(ctx, spendingKey{}, spent)
	defer func() {
		if v := recover(); v != nil {
			in.server.log.Error("a request of a batch panicked", "path", path, "panic", v, "stack", string(debug.Stack()))
			text, _ := json.Marshal(map[string]any{"error": map[string]any{"message": "internal error; the server's log has the cause", "type": "server_error", "param": nil, "code": nil}})
			a = requests.Answer{Status: http.StatusInternalServerError, Body: text}
		}
	}()
	r := (&http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: path}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "localhost", RequestURI: path, RemoteAddr: "batch",
		Header: http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + tenant}}, Body: bodyOf(body), ContentLength: int64(len(body)),
	}).WithContext(ctx)
	w := &answer{header: http.Header{}}
	in.mux.ServeHTTP(w, r)
	a = requests.Answer{Status: max(w.status, 0), ID: w.header.Get("X-Request-Id"), Body: w.body.Bytes(), Usage: spent.usage}
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	if n, err := strconv.Atoi(w.header.Get("Retry-After")); err == nil {
		a.After = time.Duration(n) * time.Second
	}
	return a
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

func bodyOf(b []byte) readCloser { return readCloser{bytes.NewReader(b)} }

// answer is an http.ResponseWriter into memory.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// hooks are the webhooks of the configuration, by name.
type hooks map[string]*hook

type hook struct {
	config.Webhook
	sender *webhook.Sender
}

func newHooks(all map[string]config.Webhook) (hooks, error) {
	h := hooks{}
	for name, c := range all {
		// The operator chose the address, so it may be anywhere.
		sender, err := webhook.New(webhook.Options{Secrets: []string{c.Secret}, Private: true, Timeout: 30 * time.Second})
		if err != nil {
			return nil, fmt.Errorf("webhooks.%s.secret: %w", name, err)
		}
		h[name] = &hook{c, sender}
	}
	return h, nil
}

// may says whether a tenant may have a webhook told.
func (h hooks) may(tenant, name string) bool {
	c := h[name]
	return c != nil && (len(c.Keys) == 0 || slices.Contains(c.Keys, tenant))
}

// of are those that are told of an event of a tenant.
func (h hooks) of(tenant, event string) (names []string) {
	for name, c := range h {
		if h.may(tenant, name) && (len(c.Events) == 0 && event != requests.GroupEvent || slices.Contains(c.Events, event)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (h hooks) list() (list []requests.Hook) {
	for name, c := range h {
		list = append(list, requests.Hook{Name: name, URL: c.URL, Sender: c.sender, GiveUp: c.GiveUp})
	}
	return list
}
