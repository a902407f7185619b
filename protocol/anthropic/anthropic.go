package anthropic

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc"

	"serval"
	"serval/protocol"
)

// Protocol is Anthropic's API. It is safe for concurrent use.
type Protocol struct {
	backend protocol.Backend
	bodies  protocol.Bodies
}

var _ protocol.Protocol = (*Protocol)(nil)

// New makes the protocol. The Backend's Handler must be set.
func New(backend protocol.Backend) *Protocol { return &Protocol{backend: backend} }

// Name is "anthropic".
func (p *Protocol) Name() string { return "anthropic" }

// Register does nothing: the protocol has no gRPC side.
func (p *Protocol) Register(grpc.ServiceRegistrar) {}

// Routes are the REST routes.
func (p *Protocol) Routes() []protocol.Route {
	route := func(pattern string, serve func(http.ResponseWriter, *http.Request) error) protocol.Route {
		return protocol.Route{Pattern: pattern, Access: protocol.Infer, Fail: fail, Serve: func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r); err != nil {
				fail(w, r, serval.AsError(err))
			}
		}}
	}
	return []protocol.Route{
		route("POST /v1/messages", p.messages),
		route("POST /v1/messages/count_tokens", p.countTokens),
	}
}

// read decodes a body and begins a serval.Request.
func (p *Protocol) read(w http.ResponseWriter, r *http.Request, body *request) (*serval.Request, error) {
	if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, body); err != nil {
		return nil, err
	}
	if body.Model == "" {
		return nil, serval.Errorf(serval.InvalidArgument, "model: field required").At("model")
	}
	ref, err := serval.ParseRef(body.Model)
	if err != nil {
		return nil, err
	}
	req := &serval.Request{ID: r.Header.Get("X-Request-Id"), Credential: protocol.Credential(r.Header), Protocol: "anthropic", Model: ref, Trace: protocol.Trace(r.Header)}
	if req.ID == "" {
		req.ID = protocol.NewID("req_")
	}
	w.Header()["Request-Id"] = []string{req.ID}
	return req, nil
}

// fail writes an error as Anthropic does.
func fail(w http.ResponseWriter, _ *http.Request, e *serval.Error) {
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(protocol.RetryAfter(e.RetryAfter)))
	}
	status := e.Code.HTTPStatus()
	if e.Code == serval.Unavailable {
		status = 529
	}
	protocol.WriteJSON(w, status, errorBody(e))
}

func errorBody(e *serval.Error) []byte {
	message := e.Message
	if e.ID != "" && !strings.Contains(message, e.ID) {
		message += " (id " + e.ID + ")"
	}
	body, err := json.Marshal(map[string]any{"type": "error", "error": map[string]string{"type": errorType(e.Code), "message": message}})
	if err != nil {
		return []byte(`{"type":"error","error":{"type":"api_error","message":"internal error"}}`)
	}
	return body
}

func errorType(c serval.Code) string {
	switch c {
	case serval.Unauthenticated:
		return "authentication_error"
	case serval.PermissionDenied:
		return "permission_error"
	case serval.NotFound:
		return "not_found_error"
	case serval.TooLarge:
		return "request_too_large"
	case serval.ResourceExhausted:
		return "rate_limit_error"
	case serval.Unavailable:
		return "overloaded_error"
	case serval.DeadlineExceeded:
		return "timeout_error"
	case serval.Internal:
		return "api_error"
	}
	return "invalid_request_error"
}
