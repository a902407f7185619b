package catalogue

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	"serval"
	"serval/protocol"
)

// Protocol is the part that dialects share. It is safe for concurrent use.
type Protocol struct{ backend protocol.Backend }

var _ protocol.Protocol = (*Protocol)(nil)

// New makes it. The Backend's Models must be set.
func New(backend protocol.Backend) *Protocol { return &Protocol{backend: backend} }

// Name is "catalogue".
func (p *Protocol) Name() string { return "catalogue" }

// Register does nothing: there is no gRPC side.
func (p *Protocol) Register(grpc.ServiceRegistrar) {}

// Routes are those that more than one dialect has. The mux answers HEAD where GET is.
func (p *Protocol) Routes() []protocol.Route {
	route := func(access protocol.Access, pattern string, serve http.HandlerFunc) protocol.Route {
		return protocol.Route{Pattern: pattern, Access: access, Serve: serve, Fail: fail}
	}
	return []protocol.Route{
		route(protocol.Public, "GET /{$}", p.serveAlive),
		route(protocol.Public, "GET /ping", p.serveHealth),
		route(protocol.Public, "POST /ping", p.serveHealth),
		route(protocol.Public, "GET /health", p.serveHealth),
		route(protocol.Public, "GET /version", p.serveVersion),
		route(protocol.Read, "GET /v1/models", p.serveModels),
		route(protocol.Read, "GET /v1/models/{model...}", p.serveModel),
	}
}

// serveAlive is what KServe's SDK and Ollama's clients ask to know whether a server lives.
func (p *Protocol) serveAlive(w http.ResponseWriter, _ *http.Request) {
	protocol.WriteJSON(w, http.StatusOK, []byte(`{"status":"alive","message":"Ollama is running"}`))
}

func (p *Protocol) serveHealth(w http.ResponseWriter, _ *http.Request) {
	if !p.backend.Models.Ready() {
		protocol.WriteJSON(w, http.StatusServiceUnavailable, []byte(`{"status":"loading"}`))
		return
	}
	protocol.WriteJSON(w, http.StatusOK, []byte(`{"status":"ok"}`))
}

// serveVersion is text for MLflow's clients, which ask for nothing else, and JSON for those of vLLM.
func (p *Protocol) serveVersion(w http.ResponseWriter, r *http.Request) {
	if accept := r.Header.Get("Accept"); strings.Contains(accept, "text/plain") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(p.backend.Version))
		return
	}
	write(w, http.StatusOK, map[string]string{"version": p.backend.Version})
}

// item is a model as OpenAI, vLLM and Anthropic show one.
type item struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	OwnedBy     string `json:"owned_by"`
	MaxLen      int    `json:"max_model_len,omitempty"`
	Type        string `json:"type"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"`
	// KServe and TensorFlow Serving read these of a single model.
	Name     string   `json:"name,omitempty"`
	Ready    *bool    `json:"ready,omitempty"`
	Versions []status `json:"model_version_status,omitempty"`
}

// status is TensorFlow Serving's.
type status struct {
	Version string            `json:"version"`
	State   string            `json:"state"`
	Status  map[string]string `json:"status"`
}

func itemOf(info *serval.ModelInfo) item {
	i := item{
		ID: info.Name, Object: "model", Created: info.Loaded.Unix(), OwnedBy: "serval", Type: "model", DisplayName: info.Name,
		CreatedAt: info.Loaded.UTC().Format(time.RFC3339),
	}
	if info.Loaded.IsZero() {
		i.Created = 0
	}
	if info.Language != nil {
		i.MaxLen = info.Language.Context
	}
	return i
}

// serveModels lists the models that are ready, each once.
func (p *Protocol) serveModels(w http.ResponseWriter, r *http.Request) {
	list := struct {
		Object  string   `json:"object"`
		Data    []item   `json:"data"`
		Models  []string `json:"models"`
		First   *string  `json:"first_id"`
		Last    *string  `json:"last_id"`
		HasMore bool     `json:"has_more"`
	}{Object: "list", Data: []item{}, Models: []string{}}
	infos := p.backend.Models.List()
	named := ""
	for i := range infos {
		info := &infos[i]
		if i == 0 || info.Name != named {
			list.Models = append(list.Models, info.Name)
			named = info.Name
		}
		if info.State != serval.StateReady || len(list.Data) > 0 && list.Data[len(list.Data)-1].ID == info.Name {
			continue
		}
		list.Data = append(list.Data, itemOf(info))
	}
	if n := len(list.Data); n > 0 {
		list.First, list.Last = &list.Data[0].ID, &list.Data[n-1].ID
	}
	write(w, http.StatusOK, list)
}

// serveModel answers 200 or 503, as KServe does.
func (p *Protocol) serveModel(w http.ResponseWriter, r *http.Request) {
	ref, err := serval.ParseRef(r.PathValue("model"))
	if err != nil {
		fail(w, r, serval.AsError(err))
		return
	}
	info, err := p.backend.Models.Model(ref)
	if err != nil {
		fail(w, r, serval.AsError(err))
		return
	}
	ready := info.State == serval.StateReady
	i := itemOf(&info)
	i.Name, i.Ready = info.Name, &ready
	code, state := http.StatusOK, "AVAILABLE"
	if !ready {
		code, state = http.StatusServiceUnavailable, "LOADING"
		if info.State == serval.StateUnavailable {
			state = "END"
		}
	}
	i.Versions = []status{{Version: info.Version, State: state, Status: map[string]string{"error_code": "OK", "error_message": info.Reason}}}
	write(w, code, i)
}

// fail is an error that OpenAI's clients, and Anthropic's, read: error.message. The text stands where KServe's SDK looks, too.
func fail(w http.ResponseWriter, r *http.Request, e *serval.Error) {
	if strings.Contains(r.Header.Get("Accept"), "application/json") || r.Header.Get("Authorization") != "" || r.Header.Get("Anthropic-Version") != "" {
		if e.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(protocol.RetryAfter(e.RetryAfter)))
		}
		word := strings.ToLower(e.Code.String())
		if e.Code == serval.NotFound {
			word = "not_found_error"
		}
		write(w, e.Code.HTTPStatus(), map[string]any{"type": "error", "error": map[string]any{"message": e.Message, "type": word, "param": nil, "code": e.Code.String()}})
		return
	}
	protocol.FailText(w, r, e)
}

func write(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written as JSON"}`)
	}
	protocol.WriteJSON(w, status, body)
}
