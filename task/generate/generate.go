package generate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"serval"
	"serval/llm/reply"
	"serval/llm/template"
	"serval/llm/vocab"
)

// Options are what New needs.
type Options struct {
	Name, Version string
	Language      serval.Language
	Settings      serval.TextSettings
	Vocabulary    *vocab.Vocabulary
	Template      string         // the chat template's source; "": the model has none
	Next          serval.Handler // takes *serval.Generate
}

// Model answers *serval.Chat, *serval.Completion, *serval.Tokenize and *serval.Detokenize for one version of a model. It is a
// serval.Handler and safe for concurrent use.
type Model struct {
	what     string
	lang     serval.Language
	settings serval.TextSettings
	vocab    *vocab.Vocabulary
	chat     *template.Template // nil: none
	style    reply.Style
	checked  checked
	next     serval.Handler
}

// maxBias is how many tokens a request may bias, maxTop how many alternatives it may see, maxStops how many texts and tokens may
// end it.
const (
	maxBias  = 4096
	maxTop   = 20
	maxStops = 16
)

// New makes the task of one version. A template that cannot be parsed is an error that names the line.
func New(o Options) (*Model, error) {
	m := &Model{
		what: fmt.Sprintf("model '%s' version %s", o.Name, o.Version), lang: o.Language, settings: o.Settings,
		vocab: o.Vocabulary, next: o.Next,
	}
	if o.Template == "" {
		return m, nil
	}
	t, err := template.Parse(o.Template)
	if err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	m.chat = t
	if m.style, err = styleOf(o.Template, &o.Settings); err != nil {
		return nil, err
	}
	return m, nil
}

// Handle answers what the request asks for.
func (m *Model) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	switch in := req.Input.(type) {
	case *serval.Chat:
		return m.converse(ctx, req, in, sink)
	case *serval.Completion:
		return m.complete(ctx, req, in, sink)
	case *serval.Tokenize:
		return m.tokenize(in, sink)
	case *serval.Detokenize:
		return m.detokenize(in, sink)
	}
	return serval.Errorf(serval.InvalidArgument, "%s goes on with text; this request asks for something else of it", m.what)
}

// work is one request on its way: what every choice of it shares.
type work struct {
	gen    serval.Generate // of the first choice
	wish   *serval.Generation
	n      int
	seed   uint64
	stops  []string
	reply  func() *reply.Parser // nil: the text is the answer
	prompt string               // what an echo begins with
	echo   bool
}

// prepare decides everything that the client left open, and refuses what cannot be done.
func (m *Model) prepare(req *serval.Request, wish *serval.Generation, tokens []int32, constraint *serval.Constraint) (*work, error) {
	w := &work{wish: wish, n: max(wish.N, 1)}
	switch {
	case wish.N < 0 || w.n > serval.MaxChoices:
		return nil, serval.Errorf(serval.InvalidArgument, "n is %d; it must be between 1 and %d", wish.N, serval.MaxChoices).At("n")
	case len(wish.Stop) > maxStops:
		return nil, serval.Errorf(serval.InvalidArgument, "stop has %d texts; at most %d are looked for", len(wish.Stop), maxStops).At("stop")
	case len(wish.StopTokens) > maxStops:
		return nil, serval.Errorf(serval.InvalidArgument, "stop_token_ids has %d tokens; at most %d are looked for", len(wish.StopTokens), maxStops).At("stop_token_ids")
	case len(wish.Bias) > maxBias:
		return nil, serval.Errorf(serval.InvalidArgument, "logit_bias has %d tokens; at most %d may be biased", len(wish.Bias), maxBias).At("logit_bias")
	}
	for _, s := range append(wish.Stop[:len(wish.Stop):len(wish.Stop)], m.settings.Stop...) {
		if s != "" {
			w.stops = append(w.stops, s)
		}
	}
	limit, err := m.fit(len(tokens), wish.Limit)
	if err != nil {
		return nil, err
	}
	sampling, err := m.sampling(wish)
	if err != nil {
		return nil, err
	}
	w.seed = sampling.Seed
	if constraint == nil {
		constraint = wish.Constraint
	}
	if constraint != nil {
		if err := m.checked.check(*constraint); err != nil {
			return nil, err
		}
	}
	if err := m.adapter(wish.Adapter); err != nil {
		return nil, err
	}
	w.gen = serval.Generate{
		Tokens: tokens, Limit: limit, Sampling: sampling, Constraint: constraint, Logprobs: -1, PromptLogprobs: -1,
		Adapter: wish.Adapter, Salt: req.Tenant, Speculate: m.lang.Speculate, Alone: wish.Alone,
	}
	if said := cmp.Or(wish.Speculate, m.settings.Speculate); said != nil {
		w.gen.Speculate = *said
	}
	if wish.Logprobs != nil {
		if *wish.Logprobs < 0 || *wish.Logprobs > maxTop {
			return nil, serval.Errorf(serval.InvalidArgument, "top_logprobs is %d; it must be between 0 and %d", *wish.Logprobs, maxTop).At("top_logprobs")
		}
		w.gen.Logprobs = *wish.Logprobs
	}
	return w, nil
}

// fit says how many tokens an answer may have. A prompt that leaves no room is refused, never cut.
func (m *Model) fit(prompt int, wished *int) (int, error) {
	context := m.lang.Context
	if prompt == 0 {
		return 0, serval.Errorf(serval.InvalidArgument, "the prompt is empty; give it at least one token").At("prompt")
	}
	if wished != nil && *wished < 0 {
		return 0, serval.Errorf(serval.InvalidArgument, "max_tokens is %d; it must not be negative", *wished).At("max_tokens")
	}
	limit := m.settings.MaxTokens
	if wished != nil {
		limit = *wished
	}
	room := context - prompt
	if prompt > context || room < 1 && (wished == nil || limit > 0) {
		return 0, serval.Errorf(serval.InvalidArgument,
			"the prompt has %d tokens and %s takes %d together with the answer: shorten it by at least %d tokens, or raise text.context in model.yaml",
			prompt, m.what, context, prompt-context+1).At("messages").Named("context_length_exceeded")
	}
	if wished == nil && limit == 0 {
		return room, nil
	}
	return min(limit, room), nil
}

// sampling fills what the client left open from the model's settings.
func (m *Model) sampling(wish *serval.Generation) (serval.Sampling, error) {
	s := serval.Sampling{Bias: wish.Bias, StopTokens: wish.StopTokens, IgnoreEnd: wish.IgnoreEnd, PenaltyWindow: -1}
	var failed error
	number := func(name string, given, own *float64, usual, least, most float64) float32 {
		v := usual
		switch {
		case given != nil:
			v = *given
		case own != nil:
			v = *own
		}
		if (math.IsNaN(v) || v < least || v > most) && failed == nil {
			failed = serval.Errorf(serval.InvalidArgument, "%s is %v; it must be between %v and %v", name, v, least, most).At(name)
		}
		return float32(v)
	}
	whole := func(name string, given, own *int, usual, least int) int {
		v := usual
		switch {
		case given != nil:
			v = *given
		case own != nil:
			v = *own
		}
		if v < least && failed == nil {
			failed = serval.Errorf(serval.InvalidArgument, "%s is %d; it must be at least %d", name, v, least).At(name)
		}
		return v
	}
	s.Temperature = number("temperature", wish.Temperature, m.settings.Temperature, 1, 0, 100)
	s.TopP = number("top_p", wish.TopP, m.settings.TopP, 1, 0, 1)
	s.MinP = number("min_p", wish.MinP, m.settings.MinP, 0, 0, 1)
	s.TopK = max(0, whole("top_k", wish.TopK, m.settings.TopK, 0, -1)) // vLLM's clients say -1 for all
	s.RepetitionPenalty = number("repetition_penalty", wish.RepetitionPenalty, nil, 1, 0.01, 100)
	s.PresencePenalty = number("presence_penalty", wish.PresencePenalty, nil, 0, -2, 2)
	s.FrequencyPenalty = number("frequency_penalty", wish.FrequencyPenalty, nil, 0, -2, 2)
	s.PenaltyWindow = whole("repeat_last_n", wish.PenaltyWindow, nil, -1, -1)
	if failed != nil {
		return s, failed
	}
	for i, b := range wish.Bias {
		if b.Token < 0 || int(b.Token) >= m.vocab.Size() {
			return s, serval.Errorf(serval.InvalidArgument, "logit_bias: entry %d names token %d; %s has the tokens 0 to %d", i, b.Token, m.what, m.vocab.Size()-1).At("logit_bias")
		}
		if math.IsNaN(float64(b.Bias)) {
			return s, serval.Errorf(serval.InvalidArgument, "logit_bias: the bias of token %d is not a number", b.Token).At("logit_bias")
		}
	}
	for _, id := range wish.StopTokens {
		if id < 0 || int(id) >= m.vocab.Size() {
			return s, serval.Errorf(serval.InvalidArgument, "stop_token_ids: %s has the tokens 0 to %d, not %d", m.what, m.vocab.Size()-1, id).At("stop_token_ids")
		}
	}
	if wish.Seed != nil {
		s.Seed = uint64(*wish.Seed)
	} else {
		s.Seed = randomSeed()
	}
	return s, nil
}

func (m *Model) adapter(name string) error {
	if name == "" {
		return nil
	}
	for _, a := range m.lang.Adapters {
		if a == name {
			return nil
		}
	}
	return serval.Errorf(serval.InvalidArgument, "%s has no adapter '%s'; it has %q", m.what, name, m.lang.Adapters).At("adapter")
}

// run makes all choices. The choices of one request go through the queue as calls of their own, and share the prompt by
// the prefix cache; their chunks are sent one at a time.
func (m *Model) run(ctx context.Context, req *serval.Request, w *work, sink serval.Sink) error {
	if w.n == 1 {
		return m.choice(ctx, req, w, 0, sink)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var lock sync.Mutex
	sent := false
	serial := serval.SinkFunc(func(c *serval.Chunk) error {
		lock.Lock()
		defer lock.Unlock()
		sent = true
		return sink.Send(c)
	})
	var wait sync.WaitGroup
	own := make([]serval.Request, w.n)
	for i := range own { // before the first one sends: the gateway counts in req what is sent
		own[i] = *req
	}
	for i := range own {
		wait.Go(func() {
			if err := m.guarded(ctx, &own[i], w, i, serial); err != nil {
				cancel(err) // one that fails ends the answer: the others need not go on
			}
		})
	}
	wait.Wait()
	req.Timing.Queue, req.Timing.Compute = own[0].Timing.Queue, own[0].Timing.Compute
	err := context.Cause(ctx)
	if errors.Is(err, serval.ErrRetired) && sent { // to begin again would send twice
		return serval.Errorf(serval.Unavailable, "%s was replaced while it answered; ask again", m.what).After(time.Second)
	}
	return err
}

// guarded is choice on a goroutine of its own: a panic there would end the process.
func (m *Model) guarded(ctx context.Context, req *serval.Request, w *work, index int, sink serval.Sink) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return m.choice(ctx, req, w, index, sink)
}

// choice makes one answer.
func (m *Model) choice(ctx context.Context, req *serval.Request, w *work, index int, sink serval.Sink) error {
	gen := w.gen
	gen.Sampling.Seed = w.seed + uint64(index)
	d := m.newDecoder(w, index, sink)
	input := req.Input
	req.Input = &gen
	err := m.next.Handle(ctx, req, d)
	req.Input = input
	if err != nil {
		return err
	}
	return d.close()
}
