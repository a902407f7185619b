package openai

import (
	"encoding/json"
	"net/http"

	"serval"
	"serval/protocol"
)

// chat is POST /v1/chat/completions.
func (p *Protocol) chat(w http.ResponseWriter, r *http.Request) error {
	var body chatRequest
	if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, &body); err != nil {
		return err
	}
	in, err := body.chat()
	if err != nil {
		return err
	}
	req, err := p.request(w, r, body.Model, in)
	if err != nil {
		return err
	}
	head := answerHead{ID: protocol.NewID("chatcmpl-"), Created: now(), Model: body.Model}
	if body.Stream {
		s := newChatStream(w, head, max(in.N, 1), &body.generation)
		s.functions = len(body.Functions) > 0
		return s.run(p.backend.Handler, r, req)
	}
	answer := chatAnswer{answerHead: head, Object: "chat.completion", Choices: make([]chatChoice, max(in.N, 1))}
	for i := range answer.Choices {
		answer.Choices[i].Index = i
		answer.Choices[i].Message.Role = "assistant"
	}
	if err := p.backend.Handler.Handle(r.Context(), req, &answer); err != nil {
		return err
	}
	answer.Usage = usageOf(req.Usage)
	for i := range answer.Choices {
		answer.Choices[i].complete(body.Logprobs, len(body.Functions) > 0)
	}
	out, err := json.Marshal(&answer)
	if err != nil {
		return err
	}
	protocol.WriteJSON(w, http.StatusOK, out)
	return nil
}

// answerHead is what every piece of an answer repeats.
type answerHead struct {
	ID      string `json:"id"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
}

// chatAnswer is a whole answer; as a Sink it collects the pieces.
type chatAnswer struct {
	answerHead
	Object      string       `json:"object"`
	Choices     []chatChoice `json:"choices"`
	Usage       *usage       `json:"usage"`
	Fingerprint *string      `json:"system_fingerprint"`
	Tier        *string      `json:"service_tier"`
}

type chatChoice struct {
	Index    int           `json:"index"`
	Message  answerMessage `json:"message"`
	Logprobs *logprobs     `json:"logprobs"`
	Finish   string        `json:"finish_reason"`

	text      []byte
	reasoning []byte
	tokens    []tokenLogprob
}

type answerMessage struct {
	Role        string       `json:"role"`
	Content     *string      `json:"content"`
	Refusal     *string      `json:"refusal"`
	Reasoning   *string      `json:"reasoning_content,omitempty"`
	Calls       []answerCall `json:"tool_calls,omitempty"`
	Function    *answerFunc  `json:"function_call,omitempty"`
	Annotations []struct{}   `json:"annotations,omitempty"`
}

type answerCall struct {
	ID       string     `json:"id"`
	Type     string     `json:"type"`
	Function answerFunc `json:"function"`
}

type answerFunc struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// Send takes a piece.
func (a *chatAnswer) Send(c *serval.Chunk) error {
	d, err := delta(c)
	if err != nil {
		return err
	}
	choice := &a.Choices[c.Choice]
	choice.text = append(choice.text, d.Text...)
	choice.reasoning = append(choice.reasoning, d.Reasoning...)
	for _, call := range d.Calls {
		for len(choice.Message.Calls) <= call.Index {
			choice.Message.Calls = append(choice.Message.Calls, answerCall{Type: "function"})
		}
		own := &choice.Message.Calls[call.Index]
		own.ID += call.ID
		own.Function.Name += call.Name
		own.Function.Arguments += call.Arguments
	}
	for i := range d.Logprobs {
		choice.tokens = append(choice.tokens, tokenLogprobOf(&d.Logprobs[i], true))
	}
	if c.Finish != serval.More {
		choice.Finish = string(c.Finish)
	}
	return nil
}

// complete makes the message of what was collected.
func (c *chatChoice) complete(told, functions bool) {
	m := &c.Message
	if len(c.text) > 0 || len(m.Calls) == 0 {
		text := string(c.text)
		m.Content = &text
	}
	if len(c.reasoning) > 0 {
		text := string(c.reasoning)
		m.Reasoning = &text
	}
	if told {
		c.Logprobs = &logprobs{Content: c.tokens}
		if c.Logprobs.Content == nil {
			c.Logprobs.Content = []tokenLogprob{}
		}
	}
	if functions && len(m.Calls) > 0 {
		m.Function, m.Calls = &m.Calls[0].Function, nil
		c.Finish = "function_call"
	}
}

// delta is a chunk's piece of text.
func delta(c *serval.Chunk) (*serval.Delta, error) {
	d, ok := c.Output.(*serval.Delta)
	if !ok {
		return nil, serval.Errorf(serval.InvalidArgument, "this model answers with something else than text").At("model")
	}
	return d, nil
}

type logprobs struct {
	Content []tokenLogprob `json:"content"`
	Refusal *struct{}      `json:"refusal"`
}

type tokenLogprob struct {
	Token   string         `json:"token"`
	Logprob float32        `json:"logprob"`
	Bytes   []int          `json:"bytes"`
	Top     []tokenLogprob `json:"top_logprobs,omitzero"`
}

// leastLogprob stands for minus infinity, which JSON does not have; OpenAI's own value.
const leastLogprob = -9999

func tokenLogprobOf(t *serval.TokenText, outer bool) tokenLogprob {
	l := tokenLogprob{Token: validText(t.Bytes), Logprob: max(t.Logprob, leastLogprob), Bytes: make([]int, len(t.Bytes))}
	for i, b := range t.Bytes {
		l.Bytes[i] = int(b)
	}
	if outer {
		l.Top = []tokenLogprob{}
	}
	for i := range t.Top {
		l.Top = append(l.Top, tokenLogprobOf(&t.Top[i], false))
	}
	return l
}
