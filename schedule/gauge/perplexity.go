package gauge

import (
	"context"
	_ "embed"
	"fmt"
	"math"

	"serval"
	"serval/llm/vocab"
)

// Text is prose that was written for this purpose, so that no model has read it: some 1,800 tokens of stories, letters,
// instructions, tables and code.
//
//go:embed text.md
var Text string

// Windows cuts a text into pieces of size tokens, each with what the model wants in front of a text, most of them at most. A model
// reads each by itself. The rest of the text, below a piece, is a shorter last piece if there is no other.
func Windows(words *vocab.Vocabulary, text string, size, most int) ([][]int32, error) {
	front := words.Encode(nil, "", vocab.Options{Around: true})
	tokens := words.Encode(nil, text, vocab.Options{})
	room := size - len(front)
	if room < 2 {
		return nil, fmt.Errorf("pieces of %d tokens are too short", size)
	}
	if len(tokens) < 2 {
		return nil, fmt.Errorf("the text has %d tokens; perplexity needs two at least", len(tokens))
	}
	room = min(room, len(tokens))
	var list [][]int32
	for at := 0; at+room <= len(tokens) && len(list) < most; at += room {
		list = append(list, append(append([]int32(nil), front...), tokens[at:at+room]...))
	}
	return list, nil
}

// Perplexity is e to the mean surprise (minus the natural logarithm of the probability) at every token of the windows but each one's first,
// which nothing foretells. positions is how many those were.
func Perplexity(ctx context.Context, model serval.Handler, windows [][]int32, progress func(done, total int)) (perplexity float64, positions int, err error) {
	sum := 0.0
	for i, w := range windows {
		in := plain(w, fmt.Sprint("perplexity ", i))
		in.PromptLogprobs = 0
		got := 0
		err := model.Handle(ctx, &serval.Request{Input: in}, serval.SinkFunc(func(c *serval.Chunk) error {
			out, ok := c.Output.(*serval.Tokens)
			if !ok {
				return nil
			}
			for _, t := range out.Prompt {
				if got++; got > 1 { // the first token has none
					sum -= float64(t.Logprob)
				}
			}
			return nil
		}))
		if err != nil {
			return 0, 0, err
		}
		if got != len(w) {
			return 0, 0, fmt.Errorf("the engine gave log-probabilities of %d of %d tokens", got, len(w))
		}
		positions += got - 1
		if progress != nil {
			progress(i+1, len(windows))
		}
	}
	if positions == 0 {
		return 0, 0, fmt.Errorf("there is no text to read")
	}
	return math.Exp(sum / float64(positions)), positions, nil
}

// plain is a call that takes the most likely tokens, and shares nothing with one of another salt.
func plain(tokens []int32, salt string) *serval.Generate {
	return &serval.Generate{Tokens: tokens, Logprobs: -1, PromptLogprobs: -1, Salt: salt, Sampling: serval.Sampling{TopP: 1, RepetitionPenalty: 1, IgnoreEnd: true}}
}
