package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"sync"

	"serval"
	"serval/protocol"
)

// completionRequest is the body of POST /v1/completions.
type completionRequest struct {
	generation
	Prompt   prompts `json:"prompt"`
	Echo     bool    `json:"echo"`
	Logprobs *int    `json:"logprobs"`
	Suffix   string  `json:"suffix"`
	Format   *format `json:"response_format"`
}

// prompts is a string, a list of strings, a list of token ids, or a list of such lists.
type prompts []serval.Text

// maxPrompts is how many prompts one request may hold.
const maxPrompts = 256

// UnmarshalJSON reads any of the four.
func (p *prompts) UnmarshalJSON(b []byte) error {
	var err error
	*p, err = readTexts(b, "prompt", maxPrompts)
	return err
}

func readTexts(b []byte, param string, most int) ([]serval.Text, error) {
	wrong := serval.Errorf(serval.InvalidArgument, "%s must be a string, a list of strings, a list of token ids, or a list of such lists", param).At(param)
	if bytes.Equal(b, []byte("null")) {
		return nil, nil
	}
	var one string
	if json.Unmarshal(b, &one) == nil {
		return []serval.Text{{Text: one}}, nil
	}
	var parts []json.RawMessage
	if json.Unmarshal(b, &parts) != nil {
		return nil, wrong
	}
	var ids []int32
	if len(parts) > 0 && json.Unmarshal(b, &ids) == nil {
		return []serval.Text{{Tokens: ids}}, nil
	}
	if len(parts) > most {
		return nil, serval.Errorf(serval.InvalidArgument, "%s has %d entries; a request takes %d", param, len(parts), most).At(param)
	}
	list := make([]serval.Text, len(parts))
	for i, raw := range parts {
		if json.Unmarshal(raw, &list[i].Text) == nil && !bytes.Equal(raw, []byte("null")) {
			continue
		}
		list[i] = serval.Text{Tokens: []int32{}}
		if json.Unmarshal(raw, &list[i].Tokens) != nil || list[i].Tokens == nil {
			return nil, wrong
		}
	}
	return list, nil
}

// completions is POST /v1/completions. Several prompts are answered one after another in the choices, n for each.
func (p *Protocol) completions(w http.ResponseWriter, r *http.Request) error {
	var body completionRequest
	if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, &body); err != nil {
		return err
	}
	wish, err := body.wish("max_tokens", body.MaxTokens)
	if err != nil {
		return err
	}
	switch {
	case len(body.Prompt) == 0:
		return serval.Errorf(serval.InvalidArgument, "prompt is missing").At("prompt")
	case body.Suffix != "":
		return serval.Errorf(serval.InvalidArgument, "suffix is not supported: this server's models go on with a text, and do not fill into one").At("suffix")
	case body.Format != nil:
		if wish.Constraint, err = body.Format.constraint(); err != nil {
			return err
		}
	}
	if wish.Limit == nil { // OpenAI's default here, unlike in chats
		limit := 16
		wish.Limit = &limit
	}
	wish.Logprobs = body.Logprobs
	n := max(wish.N, 1)
	answer := &completionAnswer{answerHead: answerHead{ID: protocol.NewID("cmpl-"), Created: now(), Model: body.Model}, Object: "text_completion", top: -1, spans: make([]int, n*len(body.Prompt))}
	if body.Logprobs != nil {
		answer.top = *body.Logprobs
	}
	if body.Stream {
		answer.events = protocol.NewEvents(w)
		defer answer.events.Close()
		if o := body.StreamOptions; o != nil {
			answer.final = o.IncludeUsage
		}
	} else {
		answer.Choices = make([]completionChoice, n*len(body.Prompt))
	}
	reqs := make([]*serval.Request, len(body.Prompt))
	if len(reqs) > 1 { // they are one request of the key's rate
		if _, err := p.backend.Admit(protocol.Credential(r.Header)); err != nil {
			return err
		}
	}
	for i := range reqs {
		in := &serval.Completion{Text: body.Prompt[i].Text, Tokens: body.Prompt[i].Tokens, Special: true, Echo: body.Echo, Generation: wish}
		if reqs[i], err = p.request(w, r, body.Model, in); err != nil {
			return err
		}
		reqs[i].Part = len(reqs) > 1
	}
	spent, err := p.completeAll(r.Context(), reqs, answer, n)
	if err != nil {
		return answer.fail(err)
	}
	return answer.finish(w, spent)
}

// sideBySide is how many prompts of one request are answered at the same time.
const sideBySide = 16

// completeAll answers the prompts of one request, n choices each. The first that fails ends all.
func (p *Protocol) completeAll(ctx context.Context, reqs []*serval.Request, answer *completionAnswer, n int) (serval.Usage, error) {
	if len(reqs) == 1 {
		err := p.backend.Handler.Handle(ctx, reqs[0], promptSink{answer, 0})
		return reqs[0].Usage, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var lock sync.Mutex
	var spent serval.Usage
	places := make(chan struct{}, sideBySide)
	var wait sync.WaitGroup
	for i, req := range reqs {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			if ctx.Err() != nil {
				return
			}
			sink := promptSink{answer, i * n}
			err := p.backend.Handler.Handle(ctx, req, serval.SinkFunc(func(c *serval.Chunk) error {
				lock.Lock()
				defer lock.Unlock()
				return sink.Send(c)
			}))
			if err != nil {
				cancel(err)
			}
			lock.Lock()
			spent.Add(req.Usage)
			lock.Unlock()
		})
	}
	wait.Wait()
	return spent, context.Cause(ctx)
}

// promptSink takes the pieces of one prompt's choices.
type promptSink struct {
	answer *completionAnswer
	base   int // the first choice
}

// Send takes a piece.
func (s promptSink) Send(c *serval.Chunk) error { return s.answer.take(c, s.base+c.Choice) }
