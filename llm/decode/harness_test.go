package decode

import (
	"math/rand/v2"
	"testing"
	"time"

	"serval"
	"serval/internal/testkit"
	"serval/llm/gguf"
	"serval/llm/sample"
	"serval/llm/vocab"
)

// words is a real vocabulary, SmolLM2's.
func words(t testing.TB) *vocab.Vocabulary {
	t.Helper()
	f, err := gguf.Open(testkit.GGUF(t, "smollm2.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := vocab.FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func model(t testing.TB) *Model {
	return &Model{Name: "m", Words: words(t), Context: 512, Pooling: "last", Argmax: sample.Argmax}
}

// net gives logits that depend on the last two tokens only, so that what it says goes in circles, as models do that repeat themselves.
type net struct {
	likely []int32
	out    []float32
}

func newNet(m *Model) *net {
	n := &net{out: make([]float32, m.Words.Size())}
	for _, b := range []byte(`{}[]":, abcdefghijklmnopqrstuvwxyz0123456789`) {
		n.likely = append(n.likely, m.Words.Encode(nil, string(b), vocab.Options{})...)
	}
	if id, ok := m.Words.EOS(); ok {
		n.likely = append(n.likely, id)
	}
	return n
}

func (n *net) logits(tokens []int32) []float32 {
	for i := range n.out {
		n.out[i] = -20
	}
	var end [2]int32
	copy(end[:], tokens[max(len(tokens)-2, 0):])
	r := rand.New(rand.NewPCG(uint64(end[0]), uint64(end[1])))
	for _, id := range n.likely {
		n.out[id] = float32(3 * r.NormFloat64())
	}
	return n.out
}

// reader is a Stream that keeps what it is told.
type reader struct {
	tokens   []serval.Token
	prompt   []serval.Token
	usage    serval.Usage
	finish   serval.Finish
	room     int // chunks it takes; negative: all
	canceled bool
	ended    bool
	err      error
}

func (r *reader) Emit(c serval.Chunk) bool {
	if r.room == 0 {
		return false
	}
	r.room--
	if out, ok := c.Output.(*serval.Tokens); ok {
		r.tokens, r.prompt = append(r.tokens, out.List...), append(r.prompt, out.Prompt...)
	}
	r.usage.Add(c.Usage)
	r.finish = c.Finish
	return true
}

func (r *reader) End(err error)  { r.ended, r.err = true, err }
func (r *reader) Canceled() bool { return r.canceled }

// free is what rows cost where they cost nothing.
func free() *Pace {
	p := new(Pace)
	for i := range p.shape {
		p.SawRows(i, time.Second)
	}
	return p
}

// run computes an answer, its prompt in pieces, and with guesses if pace is not nil.
func run(t *testing.T, m *Model, n *net, in *serval.Generate, pace *Pace) *reader {
	t.Helper()
	if err := m.Check(in); err != nil {
		t.Fatal(err)
	}
	r := &reader{room: -1}
	a, err := m.Start(in, r)
	if err != nil {
		t.Fatal(err)
	}
	if pace != nil {
		a.Speculate()
	}
	var guesses Guesses
	for !a.Over() {
		if a.Running() && pace != nil {
			guesses.Offer(a, 16)
			guesses.Choose(pace, 1, 16)
		}
		rows, made := min(a.Left(), 7), len(a.Guesses)
		text := append(append([]int32(nil), a.Tokens...), a.Guesses...)
		done, last := a.Done, -1
		a.Take(rows, func(i int) []float32 {
			if i <= last {
				t.Errorf("row %d was asked for after %d", i, last)
			}
			last = i
			if i < rows && !a.Wants(done+i) {
				t.Errorf("the logits of token %d were not to be wanted", done+i)
			}
			return n.logits(text[:done+i+1])
		})
		if a.Guesses != nil || a.Done < done+rows || a.Done > done+rows+made {
			t.Errorf("%d tokens were done, then %d, of %d rows and %d guesses", done, a.Done, rows, made)
		}
		a.Tell()
	}
	if !a.End() || !r.ended {
		t.Error("it did not end")
	}
	return r
}
