package openai

import (
	"encoding/json"
	"net/http"
	"unicode/utf8"

	"serval"
	"serval/protocol"
)

// completionAnswer is a whole answer, or a piece of one in a stream. It collects the pieces, or writes them.
type completionAnswer struct {
	answerHead
	Object      string             `json:"object"`
	Choices     []completionChoice `json:"choices"`
	Usage       *usage             `json:"usage,omitempty"`
	Fingerprint *string            `json:"system_fingerprint"`

	events *protocol.Events // of a stream
	final  bool
	top    int // alternatives asked for; -1: no log-probabilities
	spans  []int
}

type completionChoice struct {
	Index    int                 `json:"index"`
	Text     string              `json:"text"`
	Logprobs *completionLogprobs `json:"logprobs"`
	Finish   *string             `json:"finish_reason"`
}

// completionLogprobs are four lists with an entry for each token.
type completionLogprobs struct {
	Tokens  []string             `json:"tokens"`
	Values  []*float32           `json:"token_logprobs"`
	Top     []map[string]float32 `json:"top_logprobs"`
	Offsets []int                `json:"text_offset"` // in characters
}

// take takes a piece of choice index.
func (a *completionAnswer) take(c *serval.Chunk, index int) error {
	d, err := delta(c)
	if err != nil {
		return err
	}
	if a.events != nil {
		piece := completionChoice{Index: index}
		a.add(&piece, d, c.Finish)
		return a.write([]completionChoice{piece}, nil)
	}
	a.Choices[index].Index = index
	a.add(&a.Choices[index], d, c.Finish)
	return nil
}

func (a *completionAnswer) add(to *completionChoice, d *serval.Delta, finish serval.Finish) {
	if a.top >= 0 {
		if to.Logprobs == nil {
			to.Logprobs = &completionLogprobs{Tokens: []string{}, Values: []*float32{}, Top: []map[string]float32{}, Offsets: []int{}}
		}
		for i := range d.Logprobs {
			to.Logprobs.add(&d.Logprobs[i], &a.spans[to.Index], a.top)
		}
	}
	to.Text += d.Text
	if finish != serval.More {
		word := string(finish)
		to.Finish = &word
	}
}

func (l *completionLogprobs) add(t *serval.TokenText, at *int, top int) {
	text := validText(t.Bytes)
	l.Tokens = append(l.Tokens, text)
	l.Offsets = append(l.Offsets, *at)
	*at += utf8.RuneCount(t.Bytes)
	if t.None {
		l.Values, l.Top = append(l.Values, nil), append(l.Top, nil)
		return
	}
	value := max(t.Logprob, leastLogprob)
	l.Values = append(l.Values, &value)
	if top == 0 {
		l.Top = append(l.Top, map[string]float32{})
		return
	}
	m := map[string]float32{text: value} // the token itself is always among them
	for i := range t.Top {
		m[validText(t.Top[i].Bytes)] = max(t.Top[i].Logprob, leastLogprob)
	}
	l.Top = append(l.Top, m)
}

func (a *completionAnswer) write(choices []completionChoice, spent *usage) error {
	out, err := json.Marshal(&completionAnswer{answerHead: a.answerHead, Object: a.Object, Choices: choices, Usage: spent})
	if err != nil {
		return err
	}
	return a.events.Write(append(append([]byte("data: "), out...), "\n\n"...))
}

// fail ends a stream that has begun; else the error is the answer.
func (a *completionAnswer) fail(err error) error {
	if a.events == nil || !a.events.Begun() {
		return err
	}
	_ = a.events.Write(append(append([]byte("data: "), errorBody(serval.AsError(err))...), "\n\ndata: [DONE]\n\n"...))
	return nil
}

func (a *completionAnswer) finish(w http.ResponseWriter, spent serval.Usage) error {
	if a.events != nil {
		if a.final {
			if err := a.write([]completionChoice{}, usageOf(spent)); err != nil {
				return nil // the client left
			}
		}
		_ = a.events.Write([]byte("data: [DONE]\n\n"))
		return nil
	}
	a.Usage = usageOf(spent)
	out, err := json.Marshal(a)
	if err != nil {
		return err
	}
	protocol.WriteJSON(w, http.StatusOK, out)
	return nil
}
