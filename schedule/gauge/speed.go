package gauge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"serval"
)

// Speed is tokens a second.
type Speed struct {
	Prompt  float64 `json:"prompt_tokens_per_second"`  // read, of one prompt
	One     float64 `json:"single_tokens_per_second"`  // made, of one sequence, after its first
	Many    float64 `json:"batched_tokens_per_second"` // made, of Callers together, while all of them make some
	Callers int     `json:"callers"`
	// Total is what the callers' answers came to together, from their asking to the last one's end, prompts and waiting for a slot among it.
	Total float64 `json:"total_tokens_per_second"`
	// First is how long the one of them waited for its first token that waited longest.
	First time.Duration `json:"slowest_first_token_ns"`
}

// Load is what a model is asked to be measured.
type Load struct {
	Tokens  []int32 // that prompts are cut from, in turn
	Callers int     // 0: 16
	Prompt  int     // tokens of the prompt that is timed; 0: 384
	Short   int     // tokens of the others' prompts; 0: 32
	Answer  int     // tokens of an answer; 0: 64
	Rounds  int     // of each measurement, of which the best counts; 0: 2
}

func (l Load) withDefaults(context int) Load {
	def := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&l.Callers, 16)
	def(&l.Prompt, 384)
	def(&l.Short, 32)
	def(&l.Answer, 64)
	def(&l.Rounds, 2)
	if context > 0 {
		l.Answer = max(2, min(l.Answer, context/2))
		l.Short = max(1, min(l.Short, context-l.Answer))
		l.Prompt = max(1, min(l.Prompt, context-1))
	}
	return l
}

// Measure finds a model's speed. context is the most tokens it takes; 0: not known. Before anything counts one answer warms it.
// Other work of the machine makes it slower and never faster, so that the best of the rounds counts.
func Measure(ctx context.Context, model serval.Handler, context int, l Load) (Speed, error) {
	l = l.withDefaults(context)
	if len(l.Tokens) == 0 {
		return Speed{}, errors.New("there is no text to read")
	}
	s := Speed{Callers: l.Callers}
	if _, err := l.ask(ctx, model, -1, l.Short, l.Answer); err != nil {
		return s, err
	}
	for round := range l.Rounds {
		at, err := l.ask(ctx, model, 1000+round, l.Prompt, 1)
		if err != nil {
			return s, err
		}
		s.Prompt = max(s.Prompt, float64(l.Prompt)/at.first().Seconds())
		if at, err = l.ask(ctx, model, 2000+round, l.Short, l.Answer); err != nil {
			return s, err
		}
		s.One = max(s.One, together([]times{at}))
		many, err := l.askMany(ctx, model, round)
		if err != nil {
			return s, err
		}
		s.Many = max(s.Many, together(many))
		if total, first := overall(many); total > s.Total {
			s.Total, s.First = total, first
		}
	}
	return s, nil
}

// times are when an answer's tokens came, after the call.
type times struct {
	begun time.Time
	at    []time.Time
}

func (t times) first() time.Duration { return t.at[0].Sub(t.begun) }

// together is how many tokens a second came of all answers from when each had begun until the first one ended.
func together(list []times) float64 {
	from, to := list[0].at[0], list[0].at[len(list[0].at)-1]
	for _, t := range list {
		if t.at[0].After(from) {
			from = t.at[0]
		}
		if last := t.at[len(t.at)-1]; last.Before(to) {
			to = last
		}
	}
	n := 0
	for _, t := range list {
		for _, at := range t.at {
			if at.After(from) && !at.After(to) {
				n++
			}
		}
	}
	if n == 0 { // they did not run side by side: all tokens over all of the time
		for _, t := range list {
			n += len(t.at)
			to = slices.MaxFunc([]time.Time{to, t.at[len(t.at)-1]}, time.Time.Compare)
		}
		from = list[0].begun
	}
	return float64(n) / max(to.Sub(from).Seconds(), 1e-9)
}

// overall is all tokens a second from the first call to the end of the last answer, and the longest wait for a first token.
func overall(list []times) (total float64, first time.Duration) {
	n, from, to := 0, list[0].begun, list[0].begun
	for _, t := range list {
		n += len(t.at)
		first = max(first, t.first())
		if t.begun.Before(from) {
			from = t.begun
		}
		if last := t.at[len(t.at)-1]; last.After(to) {
			to = last
		}
	}
	return float64(n) / max(to.Sub(from).Seconds(), 1e-9), first
}

// askMany has all callers ask at once.
func (l *Load) askMany(ctx context.Context, model serval.Handler, round int) ([]times, error) {
	list, errs := make([]times, l.Callers), make([]error, l.Callers)
	var wg sync.WaitGroup
	for i := range l.Callers {
		wg.Go(func() {
			list[i], errs[i] = l.ask(ctx, model, 3000+round*l.Callers+i, l.Short, l.Answer)
		})
	}
	wg.Wait()
	return list, errors.Join(errs...)
}

// ask makes one call with a prompt that no other call has, number apart, and waits for its end.
func (l *Load) ask(ctx context.Context, model serval.Handler, number, prompt, answer int) (times, error) {
	tokens := make([]int32, prompt)
	for i := range tokens {
		tokens[i] = l.Tokens[(max(number, 0)*37+i)%len(l.Tokens)]
	}
	in := plain(tokens, fmt.Sprint("speed ", number))
	in.Limit = answer
	t := times{begun: time.Now()}
	err := model.Handle(ctx, &serval.Request{Input: in}, serval.SinkFunc(func(c *serval.Chunk) error {
		if out, ok := c.Output.(*serval.Tokens); ok {
			now := time.Now()
			for range out.List {
				t.at = append(t.at, now)
			}
		}
		return nil
	}))
	if err == nil && len(t.at) == 0 {
		err = errors.New("the engine made no token")
	}
	return t, err
}
