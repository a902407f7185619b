package dialog

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"serval"
)

// Answer is what a model said, and what it took. Times are counted from the question.
type Answer struct {
	Text      string
	Reasoning string
	Finish    serval.Finish // More: it was broken off
	Usage     serval.Usage
	First     time.Duration // until the first piece; 0: there was none
	Last      time.Duration // until the last piece
	Whole     time.Duration // until the end
}

// Ask has a model go on with a conversation, and calls piece with each part of the answer. An error of piece ends the answer and
// is returned. The Answer holds what came, after an error too.
func Ask(ctx context.Context, h serval.Handler, model serval.Ref, chat *serval.Chat, piece func(*serval.Delta) error) (*Answer, error) {
	a, start := &Answer{}, time.Now()
	var text, reasoning strings.Builder
	var failed error
	err := h.Handle(ctx, &serval.Request{Protocol: "command", Model: model, Input: chat}, serval.SinkFunc(func(c *serval.Chunk) error {
		d, ok := c.Output.(*serval.Delta)
		if !ok {
			return serval.Errorf(serval.Unimplemented, "the model does not answer with text")
		}
		a.Usage.Add(c.Usage)
		a.Finish = c.Finish
		if d.Text == "" && d.Reasoning == "" {
			return nil
		}
		if a.Last = time.Since(start); a.First == 0 {
			a.First = a.Last
		}
		text.WriteString(d.Text)
		reasoning.WriteString(d.Reasoning)
		failed = piece(d)
		return failed
	}))
	a.Text, a.Reasoning, a.Whole = text.String(), reasoning.String(), time.Since(start)
	if failed != nil {
		return a, failed
	}
	return a, err
}

// Speed is how many tokens a second came after the first; 0 where that cannot be said.
func (a *Answer) Speed() float64 {
	if n, took := a.Usage.Completion-1, a.Last-a.First; n > 0 && took > 0 {
		return float64(n) / took.Seconds()
	}
	return 0
}

// Stats is a line for a person.
func (a *Answer) Stats() string {
	u := &a.Usage
	text := fmt.Sprintf("%d tokens in %s", u.Completion, seconds(a.Whole))
	if v := a.Speed(); v > 0 {
		text += fmt.Sprintf(", %.1f tokens/s", v)
	}
	if a.First > 0 {
		text += ", the first after " + seconds(a.First)
	}
	text += fmt.Sprintf("; the prompt has %d", u.Prompt)
	if u.Cached > 0 {
		text += fmt.Sprintf(", %d of them cached", u.Cached)
	}
	return text
}

func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// JSON is the answer for a program, one object and the end of its line.
func (a *Answer) JSON(model string) ([]byte, error) {
	type usage struct {
		Prompt     int64 `json:"prompt_tokens"`
		Cached     int64 `json:"cached_tokens"`
		Completion int64 `json:"completion_tokens"`
		Reasoning  int64 `json:"reasoning_tokens"`
	}
	type timings struct {
		First float64 `json:"first_token_seconds"`
		Whole float64 `json:"total_seconds"`
		Speed float64 `json:"tokens_per_second"`
	}
	u := &a.Usage
	raw, err := json.MarshalIndent(struct {
		Model     string  `json:"model"`
		Answer    string  `json:"answer"`
		Reasoning string  `json:"reasoning,omitempty"`
		Finish    string  `json:"finish"`
		Usage     usage   `json:"usage"`
		Timings   timings `json:"timings"`
	}{
		model, a.Text, a.Reasoning, string(a.Finish), usage{u.Prompt, u.Cached, u.Completion, u.Reasoning},
		timings{a.First.Seconds(), a.Whole.Seconds(), a.Speed()},
	}, "", "  ")
	return append(raw, '\n'), err
}
