package decode

import (
	"serval"
	"serval/llm/grammar"
	"serval/llm/sample"
	"serval/llm/vocab"
)

// Model is what answers need to know of the model that gives them. Its methods are called by one goroutine.
type Model struct {
	Name    string
	Words   *vocab.Vocabulary
	Context int    // most tokens of a prompt and its answer, and of a text
	Pooling string // how it makes one vector of a text's where nobody says; rank: a score, and nothing else
	// Argmax is sample.Argmax, perhaps a faster one. It is called by several goroutines at the same time.
	Argmax func(logits []float32) int32

	grammars *grammar.Cache // nil until a constraint needs it: the vocabulary is indexed then
	rates    [2]rates       // that guesses of answers that are greedy, and drawn, begin with; all 0: usual
}

// Check refuses what can never be computed.
func (m *Model) Check(in *serval.Generate) error {
	if len(in.Tokens) == 0 {
		return serval.Errorf(serval.InvalidArgument, "the prompt has no tokens").At("prompt")
	}
	vocab := m.Words.Size()
	for i, t := range in.Tokens {
		if t < 0 || int(t) >= vocab {
			return serval.Errorf(serval.InvalidArgument, "token %d of the prompt is %d; model '%s' has the tokens 0 to %d", i, t, m.Name, vocab-1).At("prompt")
		}
	}
	if in.Limit < 0 {
		return serval.Errorf(serval.InvalidArgument, "max_tokens is %d; it must be 0 or more", in.Limit).At("max_tokens")
	}
	if n := len(in.Tokens) + in.Limit; n > m.Context || n < 0 {
		return serval.Errorf(serval.InvalidArgument, "the prompt has %d tokens and the answer may have %d; model '%s' takes %d together, so it is %d too long",
			len(in.Tokens), in.Limit, m.Name, m.Context, n-m.Context).At("max_tokens").Named("context_length_exceeded")
	}
	return nil
}

// Start makes the answer to a call that Check let pass.
func (m *Model) Start(in *serval.Generate, stream Stream) (*Answer, error) {
	a := &Answer{In: in, Prompt: len(in.Tokens), model: m, stream: stream}
	a.Tokens = append(make([]int32, 0, len(in.Tokens)+min(in.Limit, 512)), in.Tokens...)
	if in.Limit > 0 {
		a.sampler = sample.New(in.Sampling, m.Words.Size(), in.Tokens)
	}
	if in.Constraint != nil {
		if m.grammars == nil {
			m.grammars = grammar.NewCache(grammar.Index(m.Words))
		}
		bound, err := m.grammars.Bind(*in.Constraint)
		if err != nil {
			return nil, err
		}
		a.state = bound.Start()
		a.mask = make([]uint64, (m.Words.Size()+63)/64)
	}
	return a, nil
}

// Speculate lets guesses be made for an answer that was just started.
func (a *Answer) Speculate() {
	m := a.model
	if m.rates == ([2]rates{}) {
		m.rates = [2]rates{usual(), usual()}
	}
	a.speculate, a.guesser.rates = true, *m.ratesOf(a)
}

// ratesOf are those of answers like this one.
func (m *Model) ratesOf(a *Answer) *rates {
	if a.sampler == nil || a.sampler.Greedy() {
		return &m.rates[0]
	}
	return &m.rates[1]
}

// damaged is the answer where what was computed is no number.
func (m *Model) damaged() error {
	return serval.Errorf(serval.Internal, "model '%s' computed numbers that are none (NaN); its file may be damaged", m.Name)
}
