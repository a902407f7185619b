package gauge

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
	"serval/internal/testkit"
	"serval/llm/gguf"
	"serval/llm/vocab"
)

// coin is a model to which every token is as likely as one of so many, and which says each token of an answer in a chunk.
type coin struct {
	sides  float64
	mu     sync.Mutex
	asked  []*serval.Generate
	forget bool // tells of one token too few
	fail   error
}

func (c *coin) Handle(_ context.Context, req *serval.Request, sink serval.Sink) error {
	in := req.Input.(*serval.Generate)
	c.mu.Lock()
	c.asked = append(c.asked, in)
	c.mu.Unlock()
	if c.fail != nil {
		return c.fail
	}
	if in.PromptLogprobs >= 0 {
		out := &serval.Tokens{}
		for i, id := range in.Tokens {
			t := serval.Token{ID: id, Logprob: float32(-math.Log(c.sides))}
			if i == 0 {
				t.Logprob = 99 // must not count
			}
			out.Prompt = append(out.Prompt, t)
		}
		if c.forget {
			out.Prompt = out.Prompt[1:]
		}
		return sink.Send(&serval.Chunk{Output: out})
	}
	for range in.Limit {
		if err := sink.Send(&serval.Chunk{Output: &serval.Tokens{List: make([]serval.Token, 1)}}); err != nil {
			return err
		}
	}
	return nil
}

func TestPerplexity(t *testing.T) {
	c := &coin{sides: 6}
	told := 0
	p, n, err := Perplexity(t.Context(), c, [][]int32{{1, 2, 3}, {4, 5}}, func(done, total int) { told += 10*done + total })
	if err != nil || math.Abs(p-6) > 1e-5 || n != 3 || told != 10+2+20+2 {
		t.Errorf("%g over %d, %v; told %d", p, n, err, told)
	}
	if a, b := c.asked[0], c.asked[1]; a.Salt == b.Salt || a.Limit != 0 || a.Logprobs != -1 {
		t.Errorf("asked %+v and %+v", a, b)
	}
	for what, c := range map[string]*coin{"log-probabilities of 1 of 2": {sides: 2, forget: true}, "broken": {fail: errors.New("broken")}} {
		if _, _, err := Perplexity(t.Context(), c, [][]int32{{1, 2}}, nil); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %s", err, what)
		}
	}
	if _, _, err := Perplexity(t.Context(), c, nil, nil); err == nil {
		t.Error("no text has a perplexity")
	}
}

func TestMeasure(t *testing.T) {
	c := &coin{}
	s, err := Measure(t.Context(), c, 100, Load{Tokens: []int32{1, 2, 3, 4, 5}, Callers: 3, Rounds: 1})
	if err != nil || s.Prompt <= 0 || s.One <= 0 || s.Many <= 0 || s.Callers != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	// A warm answer, a prompt, one answer and three together; no two share a salt, and all fit the context.
	if len(c.asked) != 6 || len(c.asked[1].Tokens) != 99 || c.asked[1].Limit != 1 {
		t.Fatalf("%d were asked; the second %+v", len(c.asked), c.asked[1])
	}
	var salts []string
	for _, in := range c.asked {
		if len(in.Tokens)+in.Limit > 100 || !in.Sampling.IgnoreEnd || slices.Contains(salts, in.Salt) {
			t.Errorf("asked %+v", in)
		}
		salts = append(salts, in.Salt)
	}
	if _, err := Measure(t.Context(), &coin{fail: errors.New("broken")}, 0, Load{Tokens: []int32{1}}); err == nil {
		t.Error("a broken model was measured")
	}
	if _, err := Measure(t.Context(), c, 0, Load{}); err == nil {
		t.Error("there was nothing to read")
	}
}

// Only the tokens count that came while every answer ran.
func TestTogether(t *testing.T) {
	zero := time.Unix(100, 0)
	at := func(seconds ...float64) times {
		x := times{begun: zero}
		for _, s := range seconds {
			x.at = append(x.at, zero.Add(time.Duration(s*float64(time.Second))))
		}
		return x
	}
	if got := together([]times{at(1, 2, 3, 4, 5)}); got != 1 {
		t.Errorf("one answer: %g", got)
	}
	if got := together([]times{at(1, 2, 3, 4), at(2, 3, 4, 5, 6)}); got != 2 { // from 2 to 4: two of each
		t.Errorf("two answers: %g", got)
	}
	if got := together([]times{at(1, 2), at(3, 4)}); got != 1 { // one after the other: four in four seconds
		t.Errorf("answers that never run together: %g", got)
	}
}

func TestOverall(t *testing.T) {
	zero := time.Unix(100, 0)
	list := []times{{begun: zero.Add(time.Second), at: []time.Time{zero.Add(2 * time.Second), zero.Add(3 * time.Second)}},
		{begun: zero, at: []time.Time{zero.Add(3 * time.Second), zero.Add(4 * time.Second)}}}
	if total, first := overall(list); total != 1 || first != 3*time.Second {
		t.Errorf("%g a second, the first after %v", total, first)
	}
}

func TestWindows(t *testing.T) {
	f, err := gguf.Open(testkit.GGUF(t, "smollm2.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	words, err := vocab.FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	list, err := Windows(words, Text, 256, 100)
	if err != nil || len(list) < 7 {
		t.Fatalf("%d windows, %v", len(list), err)
	}
	var text []byte
	for _, w := range list {
		if len(w) != 256 {
			t.Errorf("a window of %d tokens", len(w))
		}
		for _, id := range w {
			text = append(text, words.Piece(id)...)
		}
	}
	if !strings.HasPrefix(Text, string(text)) || len(text) < len(Text)*4/5 {
		t.Errorf("%d bytes of %d, beginning with %.60q", len(text), len(Text), text)
	}
	if list, err := Windows(words, Text, 256, 2); err != nil || len(list) != 2 {
		t.Errorf("%d windows of two, %v", len(list), err)
	}
	if list, err := Windows(words, "A short text.", 256, 2); err != nil || len(list) != 1 || len(list[0]) > 8 {
		t.Errorf("a short text: %v, %v", list, err)
	}
	for _, bad := range []string{"", "a"} {
		if list, err := Windows(words, bad, 256, 2); err == nil {
			t.Errorf("%q has windows %v", bad, list)
		}
	}
}
