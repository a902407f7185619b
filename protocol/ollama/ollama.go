package ollama

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc"

	"serval"
	"serval/protocol"
)

// Protocol is Ollama's API. It is safe for concurrent use.
type Protocol struct {
	backend protocol.Backend
	bodies  protocol.Bodies
}

var _ protocol.Protocol = (*Protocol)(nil)

// New makes the protocol. The Backend's Handler, Models and Control must be set.
func New(backend protocol.Backend) *Protocol { return &Protocol{backend: backend} }

// Name is "ollama".
func (p *Protocol) Name() string { return "ollama" }

// Register does nothing: the protocol has no gRPC side.
func (p *Protocol) Register(grpc.ServiceRegistrar) {}

// version is the release of Ollama whose API this is: clients compare it with what they need.
const version = "0.12.0"

// Routes are the REST routes; GET / is protocol/catalogue's.
func (p *Protocol) Routes() []protocol.Route {
	var routes []protocol.Route
	add := func(access protocol.Access, pattern string, serve func(http.ResponseWriter, *http.Request) error) {
		routes = append(routes, protocol.Route{Pattern: pattern, Access: access, Fail: fail, Serve: func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r); err != nil {
				fail(w, r, serval.AsError(err))
			}
		}})
	}
	add(protocol.Public, "GET /api/version", p.version)
	add(protocol.Infer, "POST /api/chat", p.chat)
	add(protocol.Infer, "POST /api/generate", p.generate)
	add(protocol.Infer, "POST /api/embed", p.embed)
	add(protocol.Infer, "POST /api/embeddings", p.embedOne)
	add(protocol.Read, "GET /api/tags", p.tags)
	add(protocol.Read, "GET /api/ps", p.ps)
	add(protocol.Read, "POST /api/show", p.show)
	add(protocol.Control, "POST /api/pull", p.pull)
	for _, pattern := range []string{"POST /api/create", "POST /api/copy", "POST /api/push", "DELETE /api/delete", "POST /api/blobs/{digest}", "HEAD /api/blobs/{digest}"} {
		add(protocol.Control, pattern, func(http.ResponseWriter, *http.Request) error {
			return serval.Errorf(serval.Unimplemented, "this server's models are folders: add, change or remove them in its models folder")
		})
	}
	return routes
}

// fail writes an error as Ollama does.
func fail(w http.ResponseWriter, _ *http.Request, e *serval.Error) {
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(protocol.RetryAfter(e.RetryAfter)))
	}
	protocol.WriteJSON(w, e.Code.HTTPStatus(), errorBody(e))
}

func errorBody(e *serval.Error) []byte {
	message := e.Message
	if e.ID != "" && !strings.Contains(message, e.ID) {
		message += " (id " + e.ID + ")"
	}
	body, err := json.Marshal(map[string]string{"error": message})
	if err != nil {
		return []byte(`{"error":"internal error"}`)
	}
	return body
}

// request begins a serval.Request. Ollama's clients say model:latest where they mean model.
func (p *Protocol) request(r *http.Request, model string, input serval.Input) (*serval.Request, error) {
	ref, err := p.ref(model)
	if err != nil {
		return nil, err
	}
	return &serval.Request{
		ID: r.Header.Get("X-Request-Id"), Credential: protocol.Credential(r.Header), Protocol: "ollama", Model: ref, Input: input, Trace: protocol.Trace(r.Header),
	}, nil
}

// ref reads a model's name: also that of a source, as clients that had it pulled call it.
func (p *Protocol) ref(model string) (serval.Ref, error) {
	if model == "" {
		return serval.Ref{}, serval.Errorf(serval.InvalidArgument, "model is required").At("model")
	}
	model = strings.TrimSuffix(model, ":latest")
	if source, ok := sourceOf(model); ok && p.backend.Puller != nil {
		name, err := p.backend.Puller.ModelName(source)
		return serval.Ref{Name: name}, err
	}
	return serval.ParseRef(model)
}

func (p *Protocol) version(w http.ResponseWriter, _ *http.Request) error {
	return write(w, map[string]string{"version": version})
}

func write(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	protocol.WriteJSON(w, http.StatusOK, body)
	return nil
}
