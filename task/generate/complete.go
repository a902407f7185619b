package generate

import (
	"context"

	"serval"
	"serval/llm/vocab"
)

// complete goes on with a text as it stands.
func (m *Model) complete(ctx context.Context, req *serval.Request, in *serval.Completion, sink serval.Sink) error {
	tokens := in.Tokens
	if tokens == nil {
		var err error
		if tokens, err = m.encode(in.Text, "prompt", vocab.Options{Around: true, Special: in.Special}); err != nil {
			return err
		}
		if bos, ok := m.vocab.BOS(); len(tokens) == 0 && ok {
			tokens = []int32{bos} // an empty prompt: begin with anything
		}
	}
	for i, t := range tokens {
		if t < 0 || int(t) >= m.vocab.Size() {
			return serval.Errorf(serval.InvalidArgument, "prompt: token %d is %d; %s has the tokens 0 to %d", i, t, m.what, m.vocab.Size()-1).At("prompt")
		}
	}
	w, err := m.prepare(req, &in.Generation, tokens, nil)
	if err != nil {
		if e := serval.AsError(err); e.Param == "messages" { // here it is the prompt that is too long
			return e.At("prompt")
		}
		return err
	}
	if in.Echo {
		w.echo, w.prompt = true, in.Text
		if in.Tokens != nil {
			w.prompt = m.vocab.Decode(tokens, true)
		}
		if w.gen.Logprobs >= 0 {
			w.gen.PromptLogprobs = w.gen.Logprobs
		}
	} else if w.gen.Limit == 0 {
		return serval.Errorf(serval.InvalidArgument, "max_tokens is 0: there is nothing to make; give at least 1, or echo with logprobs").At("max_tokens")
	}
	if w.gen.Limit == 0 && w.gen.PromptLogprobs < 0 {
		usage := serval.Usage{Prompt: int64(len(tokens))}
		for i := range w.n {
			if err := sink.Send(&serval.Chunk{Output: &serval.Delta{Text: w.prompt}, Usage: usage, Finish: serval.Length, Choice: i}); err != nil {
				return err
			}
			usage = serval.Usage{}
		}
		return nil
	}
	return m.run(ctx, req, w, sink)
}

// mostText is how many bytes of text a token of context may stand for: a longer text cannot fit and is refused before it is
// made tokens of.
const mostText = 512

// encode makes tokens of text.
func (m *Model) encode(text, param string, o vocab.Options) ([]int32, error) {
	if most := max(m.lang.Context*mostText, 1<<20); len(text) > most {
		return nil, serval.Errorf(serval.InvalidArgument, "%s has %d bytes; that cannot fit into the %d tokens of %s, whatever they are: shorten it, or raise text.context in model.yaml", param, len(text), m.lang.Context, m.what).
			At(param).Named("context_length_exceeded")
	}
	return m.vocab.Encode(nil, text, o), nil
}
