package oip

import (
	"encoding/json"
	"net/http"
	"strings"

	"serval"
	"serval/protocol"
)

// generateRequest is the body of Triton's generate extension. What a model takes beside its text may stand at the top or under
// parameters; both are read, as Triton's vLLM backend names them.
type generateRequest struct {
	ID         string             `json:"id"`
	Text       *string            `json:"text_input"`
	Parameters generateParameters `json:"parameters"`
	generateParameters
}

type generateParameters struct {
	MaxTokens         *int     `json:"max_tokens"`
	Temperature       *float64 `json:"temperature"`
	TopP              *float64 `json:"top_p"`
	TopK              *int     `json:"top_k"`
	MinP              *float64 `json:"min_p"`
	RepetitionPenalty *float64 `json:"repetition_penalty"`
	PresencePenalty   *float64 `json:"presence_penalty"`
	FrequencyPenalty  *float64 `json:"frequency_penalty"`
	Seed              *int64   `json:"seed"`
	Stop              stops    `json:"stop"`
	StopWords         stops    `json:"stop_words"`
	IgnoreEnd         bool     `json:"ignore_eos"`
	Exclude           *bool    `json:"exclude_input_in_output"`
	Stream            *bool    `json:"stream"`
}

// stops is a text or a list of texts.
type stops []string

// UnmarshalJSON reads either.
func (s *stops) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*s = stops{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(s))
}

// merge takes over what is set in the other.
func (g *generateParameters) merge(o *generateParameters) {
	number := func(to **float64, from *float64) {
		if from != nil {
			*to = from
		}
	}
	whole := func(to **int, from *int) {
		if from != nil {
			*to = from
		}
	}
	whole(&g.MaxTokens, o.MaxTokens)
	whole(&g.TopK, o.TopK)
	number(&g.Temperature, o.Temperature)
	number(&g.TopP, o.TopP)
	number(&g.MinP, o.MinP)
	number(&g.RepetitionPenalty, o.RepetitionPenalty)
	number(&g.PresencePenalty, o.PresencePenalty)
	number(&g.FrequencyPenalty, o.FrequencyPenalty)
	if o.Seed != nil {
		g.Seed = o.Seed
	}
	g.Stop = append(append(append(g.Stop, g.StopWords...), o.Stop...), o.StopWords...)
	g.IgnoreEnd = g.IgnoreEnd || o.IgnoreEnd
	if o.Exclude != nil {
		g.Exclude = o.Exclude
	}
	if o.Stream != nil {
		g.Stream = o.Stream
	}
}

// serveGenerate is Triton's door to models of text.
func (p *Protocol) serveGenerate(w http.ResponseWriter, r *http.Request, stream bool) {
	if err := p.generate(w, r, stream); err != nil {
		protocol.FailText(w, r, serval.AsError(err))
	}
}

func (p *Protocol) generate(w http.ResponseWriter, r *http.Request, stream bool) error {
	info, err := p.info(r)
	if err != nil {
		return err
	}
	if info.Language == nil || !info.Language.Generate {
		return serval.Errorf(serval.Unimplemented, "model '%s' is not a generative model; call /v2/models/%s/infer", info.Name, info.Name)
	}
	var body generateRequest
	if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, &body); err != nil {
		return err
	}
	if body.Text == nil {
		return serval.Errorf(serval.InvalidArgument, "text_input is missing").At("text_input")
	}
	q := &body.generateParameters
	q.merge(&body.Parameters)
	pieces, echo, err := q.manner(stream)
	if err != nil {
		return err
	}
	in := &serval.Completion{Text: *body.Text, Special: true, Echo: echo, Generation: serval.Generation{
		Limit: q.MaxTokens, Temperature: q.Temperature, TopP: q.TopP, TopK: q.TopK, MinP: q.MinP, RepetitionPenalty: q.RepetitionPenalty,
		PresencePenalty: q.PresencePenalty, FrequencyPenalty: q.FrequencyPenalty, Seed: q.Seed, Stop: q.Stop, IgnoreEnd: q.IgnoreEnd,
	}}
	ref, err := modelRef(r.PathValue("model"), r.PathValue("version"))
	if err != nil {
		return err
	}
	req := &serval.Request{
		ID: body.ID, Credential: protocol.Credential(r.Header), Protocol: "oip-rest", Model: ref, Input: in, Trace: protocol.Trace(r.Header),
	}
	a := &generated{Model: info.Name, Version: info.Version, ID: body.ID, whole: !pieces}
	if stream {
		a.events = protocol.NewEvents(w)
		defer a.events.Close()
	}
	if err := p.backend.Handler.Handle(r.Context(), req, a); err != nil {
		if stream && a.events.Begun() {
			text, _ := json.Marshal(map[string]string{"error": serval.AsError(err).Message}) // a string: it cannot fail
			_ = a.events.Write(append(append([]byte("data: "), text...), "\n\n"...))
			return nil
		}
		return err
	}
	a.Text = a.all.String()
	switch {
	case stream && pieces:
		return nil
	case stream:
		text, err := json.Marshal(a)
		if err != nil {
			return err
		}
		_ = a.events.Write(append(append([]byte("data: "), text...), "\n\n"...))
		return nil
	}
	p.answer(w, r, http.StatusOK, a)
	return nil
}

// manner says whether the answer comes in pieces, and whether it begins with its prompt. As with Triton's vLLM and TensorRT-LLM
// backends, an answer that is not streamed repeats it unless exclude_input_in_output says otherwise. Unlike there, what
// generate_stream is asked for is streamed where stream is not said.
func (g *generateParameters) manner(stream bool) (pieces, echo bool, err error) {
	switch {
	case !stream && g.Stream != nil && *g.Stream:
		return false, false, serval.Errorf(serval.InvalidArgument, "stream is true: an answer in pieces is to be had of generate_stream").At("stream")
	case stream && (g.Stream == nil || *g.Stream):
		if g.Exclude != nil && !*g.Exclude {
			return false, false, serval.Errorf(serval.InvalidArgument, "exclude_input_in_output is false: a stream does not repeat its prompt; leave it out").At("exclude_input_in_output")
		}
		return true, false, nil
	}
	return false, g.Exclude == nil || !*g.Exclude, nil
}

// generated is an answer, or a piece of a stream of them. As a Sink it collects or writes the pieces.
type generated struct {
	ID      string `json:"id,omitempty"`
	Model   string `json:"model_name"`
	Version string `json:"model_version"`
	Text    string `json:"text_output"`

	events *protocol.Events // of generate_stream
	whole  bool             // in one piece all the same
	all    strings.Builder
}

// Send takes a piece.
func (g *generated) Send(c *serval.Chunk) error {
	d, ok := c.Output.(*serval.Delta)
	if !ok {
		return serval.Errorf(serval.InvalidArgument, "this model answers with something else than text")
	}
	if g.whole {
		g.all.WriteString(d.Text)
		return nil
	}
	if d.Text == "" && c.Finish == serval.More {
		return nil
	}
	body, err := json.Marshal(generated{ID: g.ID, Model: g.Model, Version: g.Version, Text: d.Text})
	if err != nil {
		return err
	}
	return g.events.Write(append(append([]byte("data: "), body...), "\n\n"...))
}
