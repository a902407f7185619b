package openai

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

// Protocol is OpenAI's API. It is safe for concurrent use.
type Protocol struct {
	backend protocol.Backend
	bodies  protocol.Bodies

	background background
}

var _ protocol.Protocol = (*Protocol)(nil)

// New makes the protocol. The Backend's Handler and Models must be set.
func New(backend protocol.Backend) *Protocol {
	return &Protocol{backend: backend, background: newBackground()}
}

// Name is "openai".
func (p *Protocol) Name() string { return "openai" }

// Register does nothing: the protocol has no gRPC side.
func (p *Protocol) Register(grpc.ServiceRegistrar) {}

// Routes are the REST routes. GET /v1/models is protocol/catalogue's, which other dialects share.
func (p *Protocol) Routes() []protocol.Route {
	route := func(access protocol.Access, pattern string, serve func(http.ResponseWriter, *http.Request) error) protocol.Route {
		return protocol.Route{Pattern: pattern, Access: access, Fail: Fail, Serve: func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r); err != nil {
				Fail(w, r, serval.AsError(err))
			}
		}}
	}
	return []protocol.Route{
		route(protocol.Infer, "POST /v1/chat/completions", p.chat),
		route(protocol.Infer, "POST /v1/completions", p.completions),
		route(protocol.Infer, "POST /v1/embeddings", p.embeddings),
		route(protocol.Infer, "POST /v1/responses", p.respond),
		route(protocol.Infer, "GET /v1/responses/{id}", p.getResponse),
		route(protocol.Infer, "DELETE /v1/responses/{id}", p.deleteResponse),
		route(protocol.Infer, "POST /v1/responses/{id}/cancel", p.cancelResponse),
		route(protocol.Infer, "GET /v1/responses/{id}/input_items", p.inputItems),
		route(protocol.Infer, "POST /v1/files", p.addFile),
		route(protocol.Infer, "GET /v1/files", p.listFiles),
		route(protocol.Infer, "GET /v1/files/{id}", p.getFile),
		route(protocol.Infer, "GET /v1/files/{id}/content", p.fileContent),
		route(protocol.Infer, "DELETE /v1/files/{id}", p.deleteFile),
		route(protocol.Infer, "POST /v1/batches", p.createBatch),
		route(protocol.Infer, "GET /v1/batches", p.listBatches),
		route(protocol.Infer, "GET /v1/batches/{id}", p.getBatch),
		route(protocol.Infer, "POST /v1/batches/{id}/cancel", p.cancelBatch),
		route(protocol.Infer, "POST /v1/slow/group/chat/completions", p.group("/v1/chat/completions")),
		route(protocol.Infer, "POST /v1/slow/group/completions", p.group("/v1/completions")),
		route(protocol.Infer, "GET /v1/slow/group/{id}/generations", p.generations),
		route(protocol.Infer, "POST /tokenize", p.tokenize),
		route(protocol.Infer, "POST /detokenize", p.detokenize),
		route(protocol.Read, "GET /tokenizer_info", p.tokenizerInfo),
	}
}

// request begins a serval.Request.
func (p *Protocol) request(w http.ResponseWriter, r *http.Request, model string, input serval.Input) (*serval.Request, error) {
	if model == "" {
		return nil, serval.Errorf(serval.InvalidArgument, "model is missing; name one of GET /v1/models").At("model")
	}
	ref, err := serval.ParseRef(model)
	if err != nil {
		return nil, err
	}
	req := &serval.Request{
		ID: r.Header.Get("X-Request-Id"), Credential: protocol.Credential(r.Header), Protocol: "openai", Model: ref, Input: input, Trace: protocol.Trace(r.Header),
	}
	if req.ID == "" {
		req.ID = protocol.NewID("req_")
	}
	w.Header()["X-Request-Id"] = []string{req.ID}
	return req, nil
}

// Fail writes an error as OpenAI does.
func Fail(w http.ResponseWriter, r *http.Request, e *serval.Error) {
	h := w.Header()
	if id := r.Header.Get("X-Request-Id"); id != "" && h.Get("X-Request-Id") == "" {
		h.Set("X-Request-Id", id)
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(protocol.RetryAfter(e.RetryAfter)))
	}
	protocol.WriteJSON(w, e.Code.HTTPStatus(), errorBody(e))
}

type errorObject struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// errorBody is {"error": {…}} for e.
func errorBody(e *serval.Error) []byte {
	o := errorObject{Message: e.Message, Type: errorType(e.Code)}
	if e.ID != "" && !strings.Contains(o.Message, e.ID) {
		o.Message += " (id " + e.ID + ")"
	}
	if e.Param != "" {
		o.Param = &e.Param
	}
	reason := e.Reason
	if reason == "" {
		reason = reasons[e.Code]
	}
	if reason != "" {
		o.Code = &reason
	}
	body, err := json.Marshal(map[string]errorObject{"error": o})
	if err != nil {
		return []byte(`{"error":{"message":"internal error","type":"server_error","param":null,"code":null}}`)
	}
	return body
}

var reasons = map[serval.Code]string{
	serval.Unauthenticated: "invalid_api_key", serval.NotFound: "model_not_found", serval.ResourceExhausted: "rate_limit_exceeded",
	serval.Unavailable: "overloaded",
}

func errorType(c serval.Code) string {
	switch c {
	case serval.Unauthenticated:
		return "authentication_error"
	case serval.PermissionDenied:
		return "permission_error"
	case serval.NotFound:
		return "not_found_error"
	case serval.ResourceExhausted:
		return "rate_limit_error"
	case serval.Unavailable:
		return "overloaded_error"
	case serval.Internal, serval.DeadlineExceeded:
		return "server_error"
	}
	return "invalid_request_error"
}

// usage is what an answer cost.
type usage struct {
	Prompt     int64             `json:"prompt_tokens"`
	Completion int64             `json:"completion_tokens"`
	Total      int64             `json:"total_tokens"`
	PromptIn   promptDetails     `json:"prompt_tokens_details"`
	Details    completionDetails `json:"completion_tokens_details"`
}

type promptDetails struct {
	Cached int64 `json:"cached_tokens"`
}

type completionDetails struct {
	Reasoning int64 `json:"reasoning_tokens"`
	Accepted  int64 `json:"accepted_prediction_tokens"`
	Rejected  int64 `json:"rejected_prediction_tokens"`
}

func usageOf(u serval.Usage) *usage {
	return &usage{
		Prompt: u.Prompt, Completion: u.Completion, Total: u.Prompt + u.Completion, PromptIn: promptDetails{u.Cached},
		Details: completionDetails{Reasoning: u.Reasoning},
	}
}

func now() int64 { return time.Now().Unix() }
