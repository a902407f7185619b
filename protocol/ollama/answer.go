package ollama

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"serval"
	"serval/protocol"
)

// chat is POST /api/chat.
func (p *Protocol) chat(w http.ResponseWriter, r *http.Request) error {
	var body chatRequest
	if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, &body); err != nil {
		return err
	}
	if len(body.Messages) == 0 {
		return p.loadOnly(w, r, &body.common, true)
	}
	in, err := body.chat()
	if err != nil {
		return err
	}
	return p.answer(w, r, &body.common, in, true)
}

// generate is POST /api/generate.
func (p *Protocol) generate(w http.ResponseWriter, r *http.Request) error {
	var body generateRequest
	if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, &body); err != nil {
		return err
	}
	if body.Prompt == "" && !body.Raw {
		return p.loadOnly(w, r, &body.common, false)
	}
	in, err := body.input()
	if err != nil {
		return err
	}
	return p.answer(w, r, &body.common, in, false)
}

// line is one line of an answer, or all of it.
type line struct {
	Model     string    `json:"model"`
	CreatedAt string    `json:"created_at"`
	Message   *said     `json:"message,omitempty"`  // of chat
	Response  *string   `json:"response,omitempty"` // of generate
	Thinking  string    `json:"thinking,omitempty"` // of generate
	Logprobs  []logprob `json:"logprobs,omitempty"`
	Done      bool      `json:"done"`
	Reason    string    `json:"done_reason,omitempty"`
	Total     int64     `json:"total_duration,omitempty"` // nanoseconds, as the others
	Load      int64     `json:"load_duration,omitempty"`
	Prompt    int64     `json:"prompt_eval_count,omitempty"`
	PromptFor int64     `json:"prompt_eval_duration,omitempty"`
	Made      int64     `json:"eval_count,omitempty"`
	MadeFor   int64     `json:"eval_duration,omitempty"`
}

type said struct {
	Role     string     `json:"role"`
	Content  string     `json:"content"`
	Thinking string     `json:"thinking,omitempty"`
	Calls    []toolCall `json:"tool_calls,omitempty"`
}

type logprob struct {
	Token   string    `json:"token"`
	Logprob float32   `json:"logprob"`
	Bytes   []int     `json:"bytes"`
	Top     []logprob `json:"top_logprobs,omitempty"`
}

// answers collects or streams an answer's pieces, and belongs to the request's goroutine. A tool call is sent when it is
// whole, as Ollama does.
type answers struct {
	model  string
	chat   bool
	events *protocol.Events // nil: all at the end
	start  time.Time
	first  time.Time
	usage  serval.Usage
	whole  line
	text   strings.Builder
	think  strings.Builder
	calls  []toolCall
	args   [][]byte
}

func (p *Protocol) answer(w http.ResponseWriter, r *http.Request, body *common, in serval.Input, chat bool) error {
	req, err := p.request(r, body.Model, in)
	if err != nil {
		return err
	}
	a := &answers{model: body.Model, chat: chat, start: time.Now()}
	if body.streams() {
		a.events = protocol.NewLines(w)
		defer a.events.Close()
	}
	if err := p.backend.Handler.Handle(r.Context(), req, a); err != nil {
		if a.events != nil && a.events.Begun() {
			_ = a.events.Write(append(errorBody(serval.AsError(err)), '\n'))
			return nil
		}
		return err
	}
	if a.events != nil {
		return nil
	}
	return write(w, &a.whole)
}

// Send takes a piece.
func (a *answers) Send(c *serval.Chunk) error {
	d, ok := c.Output.(*serval.Delta)
	if !ok {
		return serval.Errorf(serval.InvalidArgument, "this model answers with something else than text").At("model")
	}
	if a.first.IsZero() {
		a.first = time.Now()
	}
	a.usage.Add(c.Usage)
	for _, call := range d.Calls {
		for len(a.calls) <= call.Index {
			a.calls, a.args = append(a.calls, toolCall{}), append(a.args, nil)
		}
		a.calls[call.Index].ID += call.ID
		a.calls[call.Index].Function.Name += call.Name
		a.calls[call.Index].Function.Index = call.Index
		a.args[call.Index] = append(a.args[call.Index], call.Arguments...)
	}
	var told []logprob
	for i := range d.Logprobs {
		told = append(told, logprobOf(&d.Logprobs[i]))
	}
	if a.events == nil {
		a.text.WriteString(d.Text)
		a.think.WriteString(d.Reasoning)
		a.whole.Logprobs = append(a.whole.Logprobs, told...)
		if c.Finish == serval.More {
			return nil
		}
		told, a.whole = a.whole.Logprobs, a.line(a.text.String(), a.think.String(), a.finished())
		a.whole.Logprobs = told
		a.end(&a.whole, c.Finish)
		return nil
	}
	if d.Text != "" || d.Reasoning != "" || len(told) > 0 {
		l := a.line(d.Text, d.Reasoning, nil)
		l.Logprobs = told
		if err := a.send(&l); err != nil {
			return err
		}
	}
	if c.Finish == serval.More {
		return nil
	}
	if calls := a.finished(); len(calls) > 0 {
		l := a.line("", "", calls)
		if err := a.send(&l); err != nil {
			return err
		}
	}
	l := a.line("", "", nil)
	a.end(&l, c.Finish)
	return a.send(&l)
}

// finished are the tool calls, whose arguments are objects here, not text.
func (a *answers) finished() []toolCall {
	for i := range a.calls {
		if text := a.args[i]; json.Valid(text) {
			a.calls[i].Function.Arguments = text
		} else {
			a.calls[i].Function.Arguments = json.RawMessage("{}")
		}
	}
	return a.calls
}

func (a *answers) line(text, thinking string, calls []toolCall) line {
	l := line{Model: a.model, CreatedAt: time.Now().UTC().Format(time.RFC3339Nano)}
	if a.chat {
		l.Message = &said{Role: "assistant", Content: text, Thinking: thinking, Calls: calls}
	} else {
		l.Response, l.Thinking = &text, thinking
	}
	return l
}

// end fills in what only the last line has.
func (a *answers) end(l *line, finish serval.Finish) {
	now := time.Now()
	l.Done, l.Reason = true, "stop"
	if finish == serval.Length {
		l.Reason = "length"
	}
	l.Total, l.PromptFor, l.MadeFor = int64(now.Sub(a.start)), int64(a.first.Sub(a.start)), int64(now.Sub(a.first))
	l.Prompt, l.Made = a.usage.Prompt, a.usage.Completion
}

func (a *answers) send(l *line) error {
	body, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return a.events.Write(append(body, '\n'))
}

func logprobOf(t *serval.TokenText) logprob {
	l := logprob{Token: strings.ToValidUTF8(string(t.Bytes), "\ufffd"), Logprob: max(t.Logprob, -9999), Bytes: make([]int, len(t.Bytes))}
	for i, b := range t.Bytes {
		l.Bytes[i] = int(b)
	}
	for i := range t.Top {
		l.Top = append(l.Top, logprobOf(&t.Top[i]))
	}
	return l
}

// loadOnly is a request without a prompt: it loads the model, or unloads it with keep_alive 0. Whoever may only ask gets the
// answer of a model that is there.
func (p *Protocol) loadOnly(w http.ResponseWriter, _ *http.Request, body *common, chat bool) error {
	ref, err := p.ref(body.Model)
	if err != nil {
		return err
	}
	info, err := p.backend.Models.Model(ref)
	if err != nil {
		return err
	}
	if info.State != serval.StateReady {
		return serval.Errorf(serval.Unavailable, "model '%s' is not ready: %s", info.Name, info.Reason).At("model")
	}
	a := &answers{model: body.Model, chat: chat}
	l := a.line("", "", nil)
	l.Done, l.Reason = true, "load"
	if body.unload() { // it stays: who asks for an answer may not decide that others get none
		l.Reason = "unload"
	}
	return write(w, &l)
}
