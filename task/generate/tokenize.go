package generate

import (
	"serval"
	"serval/llm/vocab"
)

func (m *Model) tokenize(in *serval.Tokenize, sink serval.Sink) error {
	var tokens []int32
	if in.Chat != nil {
		c, err := m.render(in.Chat)
		if err != nil {
			return err
		}
		tokens = c.tokens
	} else {
		var err error
		if tokens, err = m.encode(in.Text, "prompt", vocab.Options{Around: !in.Bare, Special: in.Special}); err != nil {
			return err
		}
	}
	out := &serval.Pieces{IDs: tokens, Texts: make([]string, len(tokens)), Context: m.lang.Context}
	for i, t := range tokens {
		out.Texts[i] = string(m.vocab.Piece(t))
	}
	return sink.Send(&serval.Chunk{Output: out, Finish: serval.Stop})
}

func (m *Model) detokenize(in *serval.Detokenize, sink serval.Sink) error {
	for i, t := range in.Tokens {
		if t < 0 || int(t) >= m.vocab.Size() {
			return serval.Errorf(serval.InvalidArgument, "tokens: entry %d is %d; %s has the tokens 0 to %d", i, t, m.what, m.vocab.Size()-1).At("tokens")
		}
	}
	return sink.Send(&serval.Chunk{Output: &serval.Pieces{IDs: in.Tokens, Text: m.vocab.Decode(in.Tokens, true), Context: m.lang.Context}, Finish: serval.Stop})
}
