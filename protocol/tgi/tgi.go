package tgi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc"

	"serval"
	"serval/protocol"
)

// Protocol is text-generation-inference's API. It is safe for concurrent use.
type Protocol struct {
	backend protocol.Backend
	bodies  protocol.Bodies
}

var _ protocol.Protocol = (*Protocol)(nil)

// New makes the protocol. The Backend's Handler and Models must be set.
func New(backend protocol.Backend) *Protocol { return &Protocol{backend: backend} }

// Name is "tgi".
func (p *Protocol) Name() string { return "tgi" }

// Register does nothing: the protocol has no gRPC side.
func (p *Protocol) Register(grpc.ServiceRegistrar) {}

// Routes are the REST routes.
func (p *Protocol) Routes() []protocol.Route {
	route := func(access protocol.Access, pattern string, serve func(http.ResponseWriter, *http.Request) error) protocol.Route {
		return protocol.Route{Pattern: pattern, Access: access, Fail: fail, Serve: func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r); err != nil {
				fail(w, r, serval.AsError(err))
			}
		}}
	}
	return []protocol.Route{
		route(protocol.Infer, "POST /generate", func(w http.ResponseWriter, r *http.Request) error { return p.generate(w, r, false) }),
		route(protocol.Infer, "POST /generate_stream", func(w http.ResponseWriter, r *http.Request) error { return p.generate(w, r, true) }),
		route(protocol.Read, "GET /info", p.info),
	}
}

// fail writes an error as this API does.
func fail(w http.ResponseWriter, _ *http.Request, e *serval.Error) {
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(protocol.RetryAfter(e.RetryAfter)))
	}
	status := e.Code.HTTPStatus()
	switch e.Code {
	case serval.InvalidArgument:
		status = http.StatusUnprocessableEntity
	case serval.Unavailable:
		status = http.StatusTooManyRequests
	}
	protocol.WriteJSON(w, status, errorBody(e))
}

func errorBody(e *serval.Error) []byte {
	kind := "generation"
	switch e.Code {
	case serval.InvalidArgument:
		kind = "validation"
	case serval.Unavailable, serval.ResourceExhausted:
		kind = "overloaded"
	}
	body, err := json.Marshal(map[string]string{"error": e.Message, "error_type": kind})
	if err != nil {
		return []byte(`{"error":"internal error","error_type":"generation"}`)
	}
	return body
}

// info is GET /info.
func (p *Protocol) info(w http.ResponseWriter, _ *http.Request) error {
	ref, err := p.only()
	if err != nil {
		return err
	}
	info, err := p.backend.Models.Model(ref)
	if err != nil {
		return err
	}
	out, err := json.Marshal(map[string]any{
		"model_id": info.Name, "model_sha": nil, "model_dtype": "gguf", "model_device_type": info.Settings.Device, "model_pipeline_tag": "text-generation",
		"max_concurrent_requests": info.Settings.Queue.Limit, "max_best_of": 1, "max_stop_sequences": 16, "max_input_tokens": info.Language.Context - 1,
		"max_total_tokens": info.Language.Context, "validation_workers": 1, "max_client_batch_size": 1, "router": "serval", "version": p.backend.Version, "sha": nil, "docker_label": nil,
	})
	if err != nil {
		return err
	}
	protocol.WriteJSON(w, http.StatusOK, out)
	return nil
}

// only is the model that makes text. The API has no field to name one of several by.
func (p *Protocol) only() (serval.Ref, error) {
	ref, err := protocol.OnlyText(p.backend.Models, generates)
	if e := serval.AsError(err); e != nil && e.Code == serval.InvalidArgument {
		return ref, serval.Errorf(serval.InvalidArgument, "this API is that of a server with one model, and there are several; serve one, or name yours at /v1/completions").At("model")
	}
	return ref, err
}

func generates(l *serval.Language) bool { return l.Generate }

type request struct {
	Inputs     string     `json:"inputs"`
	Stream     bool       `json:"stream"`
	Parameters parameters `json:"parameters"`
}

type parameters struct {
	BestOf       *int     `json:"best_of"`
	Temperature  *float64 `json:"temperature"`
	Repetition   *float64 `json:"repetition_penalty"`
	Frequency    *float64 `json:"frequency_penalty"`
	TopK         *int     `json:"top_k"`
	TopP         *float64 `json:"top_p"`
	Typical      *float64 `json:"typical_p"`
	Sample       bool     `json:"do_sample"`
	MaxNew       *int     `json:"max_new_tokens"`
	Full         bool     `json:"return_full_text"`
	Stop         []string `json:"stop"`
	Truncate     *int     `json:"truncate"`
	Watermark    bool     `json:"watermark"`
	Details      bool     `json:"details"`
	InputDetails bool     `json:"decoder_input_details"`
	Seed         *int64   `json:"seed"`
	TopTokens    *int     `json:"top_n_tokens"`
	Adapter      string   `json:"adapter_id"`
	Grammar      *struct {
		Type  string          `json:"type"`
		Value json.RawMessage `json:"value"`
	} `json:"grammar"`
}

// input makes the Input of the body.
func (r *request) input() (*serval.Completion, error) {
	q := &r.Parameters
	refuse := func(name, why string) (*serval.Completion, error) {
		return nil, serval.Errorf(serval.InvalidArgument, "`%s` %s", name, why).At(name)
	}
	switch {
	case r.Inputs == "":
		return refuse("inputs", "must not be empty")
	case q.BestOf != nil && *q.BestOf != 1:
		return refuse("best_of", "is not supported; leave it out")
	case q.Typical != nil && *q.Typical != 1:
		return refuse("typical_p", "is not supported; use top_p or min_p")
	case q.Truncate != nil:
		return refuse("truncate", "is not supported: a prompt that does not fit is refused, not cut")
	case q.Watermark:
		return refuse("watermark", "is not supported")
	}
	limit, top, greedy := 100, 0, 0.0
	in := &serval.Completion{Text: r.Inputs, Special: true, Echo: q.Full || q.InputDetails, Generation: serval.Generation{
		Limit: &limit, Temperature: q.Temperature, RepetitionPenalty: q.Repetition, FrequencyPenalty: q.Frequency, TopK: q.TopK, TopP: q.TopP, Stop: q.Stop,
		KeepStop: true, Seed: q.Seed, Logprobs: &top, Adapter: q.Adapter,
	}}
	if q.MaxNew != nil {
		in.Limit = q.MaxNew
	}
	if q.TopTokens != nil {
		in.Logprobs = q.TopTokens
	}
	if !q.Sample && q.Temperature == nil && q.TopP == nil && q.TopK == nil {
		in.Temperature = &greedy
	}
	if g := q.Grammar; g != nil {
		in.Constraint = &serval.Constraint{Source: schemaOf(g.Value), Param: "grammar.value"}
		switch g.Type {
		case "json", "json_schema":
			in.Constraint.Kind = "json_schema"
		case "regex":
			in.Constraint.Kind = "regex"
			if json.Unmarshal(g.Value, &in.Constraint.Source) != nil {
				return refuse("grammar", "value of a regex must be a string")
			}
		default:
			return refuse("grammar", "type must be json, json_schema or regex")
		}
	}
	return in, nil
}

// schemaOf is the schema in a grammar's value: itself, a string that holds it, or under the key schema.
func schemaOf(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = json.RawMessage(text)
	}
	var wrapped struct {
		Schema json.RawMessage `json:"schema"`
		Type   json.RawMessage `json:"type"`
	}
	if json.Unmarshal(raw, &wrapped) == nil && wrapped.Schema != nil && wrapped.Type == nil {
		raw = wrapped.Schema
	}
	return string(raw)
}

// generate is POST /generate and /generate_stream.
func (p *Protocol) generate(w http.ResponseWriter, r *http.Request, stream bool) error {
	var body request
	if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, &body); err != nil {
		return err
	}
	in, err := body.input()
	if err != nil {
		return err
	}
	stream = stream || body.Stream
	if stream && body.Parameters.InputDetails {
		return serval.Errorf(serval.InvalidArgument, "`decoder_input_details` cannot be had of a stream; leave one of the two out").At("decoder_input_details")
	}
	ref, err := p.only()
	if err != nil {
		return err
	}
	req := &serval.Request{ID: r.Header.Get("X-Request-Id"), Credential: protocol.Credential(r.Header), Protocol: "tgi", Model: ref, Input: in, Trace: protocol.Trace(r.Header)}
	a := &answer{tokens: []token{}, prefill: []token{}, seed: body.Parameters.Seed, top: body.Parameters.TopTokens != nil}
	if stream {
		a.events = protocol.NewEvents(w)
		defer a.events.Close()
	}
	if err := p.backend.Handler.Handle(r.Context(), req, a); err != nil {
		if a.events != nil && a.events.Begun() {
			_ = a.events.Write(append(append([]byte("data:"), errorBody(serval.AsError(err))...), "\n\n"...))
			return nil
		}
		return err
	}
	if a.events != nil {
		return nil
	}
	text := a.text.String()
	if !body.Parameters.Full && in.Echo { // for its details only
		text = strings.TrimPrefix(text, in.Text)
	}
	whole := map[string]any{"generated_text": text}
	if body.Parameters.Details || body.Parameters.InputDetails {
		if !body.Parameters.InputDetails {
			a.prefill = []token{}
		}
		d := a.details()
		d["prefill"], d["tokens"] = a.prefill, a.tokens
		whole["details"] = d
	}
	out, err := json.Marshal(whole)
	if err != nil {
		return err
	}
	protocol.WriteJSON(w, http.StatusOK, out)
	return nil
}

// token is one token of an answer.
type token struct {
	ID      int32    `json:"id"`
	Text    string   `json:"text"`
	Logprob *float32 `json:"logprob"`
	Special bool     `json:"special"`
}

// answer collects or streams the pieces, and belongs to the request's goroutine.
type answer struct {
	events  *protocol.Events
	text    strings.Builder
	tokens  []token
	prefill []token
	usage   serval.Usage
	finish  string
	seed    *int64
	top     bool
	index   int
	partial []byte // of a character that is not whole yet
}

// Send takes a piece.
func (a *answer) Send(c *serval.Chunk) error {
	d, ok := c.Output.(*serval.Delta)
	if !ok {
		return serval.Errorf(serval.InvalidArgument, "this model answers with something else than text")
	}
	a.usage.Add(c.Usage)
	a.text.WriteString(d.Text)
	switch {
	case c.Finish == serval.Length:
		a.finish = "length"
	case c.Finish != serval.More && d.StopText != "":
		a.finish = "stop_sequence"
	case c.Finish != serval.More:
		a.finish = "eos_token"
	}
	last := -1
	for i := range d.Logprobs {
		if !d.Logprobs[i].Prompt {
			last = i
		}
	}
	for i := range d.Logprobs {
		t := &d.Logprobs[i]
		one := tokenOf(t)
		if t.Prompt {
			a.prefill = append(a.prefill, one)
			continue
		}
		// A token that ends within a character has no text; the one that completes it has all of it.
		a.partial = append(a.partial, t.Bytes...)
		one.Text = ""
		if utf8.Valid(a.partial) || len(a.partial) >= utf8.UTFMax {
			one.Text = strings.ToValidUTF8(string(a.partial), "\ufffd")
			a.partial = a.partial[:0]
		}
		a.tokens = append(a.tokens, one)
		if err := a.event(one, t.Top, i == last && c.Finish != serval.More); err != nil {
			return err
		}
	}
	if last < 0 && c.Finish != serval.More {
		return a.event(token{Special: true}, nil, true)
	}
	return nil
}

func tokenOf(t *serval.TokenText) token {
	one := token{ID: t.ID, Text: strings.ToValidUTF8(string(t.Bytes), "\ufffd")}
	if !t.None {
		value := max(t.Logprob, -9999)
		one.Logprob = &value
	}
	return one
}

// event streams a token; the last one brings the whole text.
func (a *answer) event(t token, top []serval.TokenText, last bool) error {
	if a.events == nil {
		return nil
	}
	a.index++
	v := map[string]any{"index": a.index, "token": t, "generated_text": nil, "details": nil}
	if a.top {
		list := make([]token, len(top))
		for i := range top {
			list[i] = tokenOf(&top[i])
		}
		v["top_tokens"] = list
	}
	if last {
		v["generated_text"], v["details"] = a.text.String(), a.details()
	}
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.events.Write(append(append([]byte("data:"), body...), "\n\n"...))
}

func (a *answer) details() map[string]any {
	return map[string]any{"finish_reason": a.finish, "generated_tokens": a.usage.Completion, "input_length": a.usage.Prompt, "seed": a.seed}
}
