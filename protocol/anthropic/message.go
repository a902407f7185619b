package anthropic

import (
	"encoding/json"
	"net/http"

	"serval"
	"serval/protocol"
)

// messages is POST /v1/messages.
func (p *Protocol) messages(w http.ResponseWriter, r *http.Request) error {
	var body request
	req, err := p.read(w, r, &body)
	if err != nil {
		return err
	}
	if body.MaxTokens == nil {
		return serval.Errorf(serval.InvalidArgument, "max_tokens: field required").At("max_tokens")
	}
	if *body.MaxTokens < 1 {
		return serval.Errorf(serval.InvalidArgument, "max_tokens: %d; it must be at least 1", *body.MaxTokens).At("max_tokens")
	}
	in, err := body.chat()
	if err != nil {
		return err
	}
	req.Input = in
	a := &answer{ID: protocol.NewID("msg_"), Type: "message", Role: "assistant", Model: body.Model, Content: []contentBlock{}}
	if body.Stream {
		s := &stream{events: protocol.NewEvents(w), answer: a, open: -1}
		return s.run(p.backend.Handler, r, req)
	}
	if err := p.backend.Handler.Handle(r.Context(), req, a); err != nil {
		return err
	}
	a.Usage = usageOf(req.Usage)
	for i := range a.Content {
		a.Content[i].finish()
	}
	out, err := json.Marshal(a)
	if err != nil {
		return err
	}
	protocol.WriteJSON(w, http.StatusOK, out)
	return nil
}

// countTokens is POST /v1/messages/count_tokens.
func (p *Protocol) countTokens(w http.ResponseWriter, r *http.Request) error {
	var body request
	req, err := p.read(w, r, &body)
	if err != nil {
		return err
	}
	in, err := body.chat()
	if err != nil {
		return err
	}
	req.Input = &serval.Tokenize{Chat: in}
	count := 0
	if err := p.backend.Handler.Handle(r.Context(), req, serval.SinkFunc(func(c *serval.Chunk) error {
		if out, ok := c.Output.(*serval.Pieces); ok {
			count = len(out.IDs)
		}
		return nil
	})); err != nil {
		return err
	}
	out, err := json.Marshal(map[string]int{"input_tokens": count})
	if err != nil {
		return err
	}
	protocol.WriteJSON(w, http.StatusOK, out)
	return nil
}

// answer is a message; as a Sink it collects the pieces.
type answer struct {
	ID           string         `json:"id"`
	Type         string         `json:"type"`
	Role         string         `json:"role"`
	Model        string         `json:"model"`
	Content      []contentBlock `json:"content"`
	StopReason   *string        `json:"stop_reason"`
	StopSequence *string        `json:"stop_sequence"`
	Usage        usage          `json:"usage"`
}

// contentBlock is text, thinking, or a call of a tool.
type contentBlock struct {
	Type      string          `json:"type"`
	Text      *string         `json:"text,omitempty"`
	Thinking  *string         `json:"thinking,omitempty"`
	Signature *string         `json:"signature,omitempty"`
	ID        string          `json:"id,omitempty"`
	Name      string          `json:"name,omitempty"`
	Input     json.RawMessage `json:"input,omitempty"`

	index int // of the call
	all   []byte
}

type usage struct {
	Input      int64 `json:"input_tokens"`
	CacheMade  int64 `json:"cache_creation_input_tokens"`
	CacheRead  int64 `json:"cache_read_input_tokens"`
	Completion int64 `json:"output_tokens"`
}

// usageOf counts as this API does: input_tokens are those that the cache did not hold.
func usageOf(u serval.Usage) usage {
	return usage{Input: u.Prompt - u.Cached, CacheRead: u.Cached, Completion: u.Completion}
}

// Send takes a piece.
func (a *answer) Send(c *serval.Chunk) error {
	d, err := delta(c)
	if err != nil {
		return err
	}
	if d.Reasoning != "" {
		b := a.block("thinking", 0)
		b.all = append(b.all, d.Reasoning...)
	}
	if d.Text != "" {
		b := a.block("text", 0)
		b.all = append(b.all, d.Text...)
	}
	for _, call := range d.Calls {
		b := a.block("tool_use", call.Index)
		b.ID += call.ID
		b.Name += call.Name
		b.all = append(b.all, call.Arguments...)
	}
	a.stop(c.Finish, d.StopText)
	return nil
}

func delta(c *serval.Chunk) (*serval.Delta, error) {
	d, ok := c.Output.(*serval.Delta)
	if !ok {
		return nil, serval.Errorf(serval.InvalidArgument, "model: it answers with something else than text").At("model")
	}
	return d, nil
}

// block is the last one if it is of that kind, else a new one.
func (a *answer) block(kind string, index int) *contentBlock {
	if n := len(a.Content); n > 0 && a.Content[n-1].Type == kind && a.Content[n-1].index == index {
		return &a.Content[n-1]
	}
	a.Content = append(a.Content, contentBlock{Type: kind, index: index})
	return &a.Content[len(a.Content)-1]
}

func (a *answer) stop(finish serval.Finish, text string) {
	word := ""
	switch finish {
	case serval.More:
		return
	case serval.Length:
		word = "max_tokens"
	case serval.Called:
		word = "tool_use"
	default:
		word = "end_turn"
		if text != "" {
			word = "stop_sequence"
			a.StopSequence = &text
		}
	}
	a.StopReason = &word
}

// finish fills in what was collected.
func (b *contentBlock) finish() {
	text := string(b.all)
	switch b.Type {
	case "text":
		b.Text = &text
	case "thinking":
		none := ""
		b.Thinking, b.Signature = &text, &none
	default:
		if b.Input = b.all; !json.Valid(b.all) { // cut by max_tokens
			b.Input = json.RawMessage("{}")
		}
	}
}
