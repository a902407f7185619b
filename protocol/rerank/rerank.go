package rerank

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"google.golang.org/grpc"

	"serval"
	"serval/protocol"
)

// Protocol is the reranking APIs. It is safe for concurrent use.
type Protocol struct {
	backend protocol.Backend
	bodies  protocol.Bodies
}

var _ protocol.Protocol = (*Protocol)(nil)

// New makes the protocol. The Backend's Handler and Models must be set.
func New(backend protocol.Backend) *Protocol { return &Protocol{backend: backend} }

// Name is "rerank".
func (p *Protocol) Name() string { return "rerank" }

// Register does nothing: the protocol has no gRPC side.
func (p *Protocol) Register(grpc.ServiceRegistrar) {}

// Routes are the REST routes.
func (p *Protocol) Routes() []protocol.Route {
	var routes []protocol.Route
	for _, path := range []string{"/rerank", "/v1/rerank", "/v2/rerank"} {
		routes = append(routes, protocol.Route{Pattern: "POST " + path, Access: protocol.Infer, Fail: fail, Serve: func(w http.ResponseWriter, r *http.Request) {
			if err := p.serve(w, r); err != nil {
				fail(w, r, serval.AsError(err))
			}
		}})
	}
	return routes
}

// fail writes an error with the field that each dialect's clients look at.
func fail(w http.ResponseWriter, _ *http.Request, e *serval.Error) {
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(protocol.RetryAfter(e.RetryAfter)))
	}
	body, err := json.Marshal(map[string]string{"message": e.Message, "detail": e.Message, "error": e.Message, "error_type": e.Code.String(), "id": e.ID})
	if err != nil {
		body = []byte(`{"message":"internal error"}`)
	}
	protocol.WriteJSON(w, e.Code.HTTPStatus(), body)
}

type request struct {
	Model     string     `json:"model"`
	Query     string     `json:"query"`
	Documents []document `json:"documents"`
	Top       *int       `json:"top_n"`
	Return    bool       `json:"return_documents"`
	Most      *int       `json:"max_tokens_per_doc"`

	// text-embeddings-inference's
	Texts      []document `json:"texts"`
	Raw        bool       `json:"raw_scores"`
	ReturnText bool       `json:"return_text"`
	Truncate   bool       `json:"truncate"`
}

// cohereMost is how many tokens of a document Cohere's second version reads where max_tokens_per_doc does not say.
const cohereMost = 4096

// document is a string, or an object with a text.
type document string

// UnmarshalJSON reads either.
func (d *document) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var object struct {
			Text *string `json:"text"`
		}
		if err := json.Unmarshal(b, &object); err != nil || object.Text == nil {
			return serval.Errorf(serval.InvalidArgument, "documents: an object must have a \"text\" that is a string").At("documents")
		}
		*d = document(*object.Text)
		return nil
	}
	if bytes.Equal(b, []byte("null")) {
		return serval.Errorf(serval.InvalidArgument, "documents: null is no document").At("documents")
	}
	return json.Unmarshal(b, (*string)(d))
}

// result is one document's, in all dialects.
type result struct {
	Index    int     `json:"index"`
	Score    float32 `json:"relevance_score"`
	Document *text   `json:"document,omitempty"`
}

type text struct {
	Text string `json:"text"`
}

// plain is text-embeddings-inference's.
type plain struct {
	Index int     `json:"index"`
	Score float32 `json:"score"`
	Text  *string `json:"text,omitempty"`
}

func (p *Protocol) serve(w http.ResponseWriter, r *http.Request) error {
	var body request
	if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, &body); err != nil {
		return err
	}
	tei := body.Texts != nil && r.URL.Path == "/rerank"
	list := body.Documents
	if tei {
		list = body.Texts
	}
	if body.Top != nil && *body.Top < 1 {
		return serval.Errorf(serval.InvalidArgument, "top_n is %d; it must be at least 1", *body.Top).At("top_n")
	}
	in := &serval.Rank{Query: body.Query, Raw: body.Raw, Truncate: body.Truncate}
	switch {
	case body.Most != nil && *body.Most < 1:
		return serval.Errorf(serval.InvalidArgument, "max_tokens_per_doc is %d; it must be at least 1", *body.Most).At("max_tokens_per_doc")
	case body.Most != nil:
		in.Most = *body.Most
	case r.URL.Path == "/v2/rerank":
		in.Most = cohereMost
	}
	for _, d := range list {
		in.Documents = append(in.Documents, string(d))
	}
	req := &serval.Request{ID: r.Header.Get("X-Request-Id"), Credential: protocol.Credential(r.Header), Protocol: "rerank", Input: in, Trace: protocol.Trace(r.Header)}
	var err error
	if body.Model != "" {
		req.Model, err = serval.ParseRef(body.Model)
	} else {
		req.Model, err = protocol.OnlyText(p.backend.Models, func(l *serval.Language) bool { return l.Rank || l.Embed })
	}
	if err != nil {
		return err
	}
	if req.ID == "" {
		req.ID = protocol.NewID("rank-")
	}
	results := []result{}
	var cut []int
	if err := p.backend.Handler.Handle(r.Context(), req, serval.SinkFunc(func(c *serval.Chunk) error {
		out, ok := c.Output.(*serval.Scores)
		if !ok {
			return serval.Errorf(serval.InvalidArgument, "this model does not rank documents").At("model")
		}
		for i, s := range out.List {
			results = append(results, result{Index: i, Score: s})
		}
		cut = out.Cut
		return nil
	})); err != nil {
		return err
	}
	slices.SortStableFunc(results, func(a, b result) int { return cmp.Compare(b.Score, a.Score) })
	if body.Top != nil && *body.Top < len(results) {
		results = results[:*body.Top]
	}
	var answer any
	if tei {
		all := make([]plain, len(results))
		for i, res := range results {
			all[i] = plain{Index: res.Index, Score: res.Score}
			if body.ReturnText {
				all[i].Text = &in.Documents[res.Index]
			}
		}
		answer = all
	} else {
		if body.Return {
			for i := range results {
				results[i].Document = &text{in.Documents[results[i].Index]}
			}
		}
		meta := map[string]any{"api_version": map[string]string{"version": "2"}, "billed_units": map[string]int{"search_units": 1}}
		for _, i := range cut {
			warnings, _ := meta["warnings"].([]string)
			meta["warnings"] = append(warnings, fmt.Sprintf("documents[%d] is longer than %d tokens and was cut to them; see max_tokens_per_doc", i, in.Most))
		}
		answer = map[string]any{
			"id": req.ID, "model": body.Model, "results": results, "object": "list",
			"usage": map[string]int64{"total_tokens": req.Usage.Prompt, "prompt_tokens": req.Usage.Prompt},
			"meta":  meta,
		}
	}
	out, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	protocol.WriteJSON(w, http.StatusOK, out)
	return nil
}
