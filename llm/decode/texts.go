package decode

import (
	"context"
	"slices"

	"serval"
)

// Texts is a call for vectors on its way.
type Texts struct {
	In      *serval.Encode
	Pooling string
	Next    int // of In.List: the first text that the engine did not begin

	model  *Model
	stream Stream
	left   int // texts that have no vector yet
	out    serval.Embeddings
	tokens int64
}

// Texts checks a call for vectors and makes it ready.
func (m *Model) Texts(in *serval.Encode, stream Stream) (*Texts, error) {
	pooling := in.Pooling
	if pooling == "" {
		pooling = m.Pooling
	}
	switch {
	case !slices.Contains([]string{"mean", "cls", "last", "rank"}, pooling):
		return nil, serval.Errorf(serval.InvalidArgument, "pooling %q is not known; use mean, cls or last", pooling).At("pooling")
	case (pooling == "rank") != (m.Pooling == "rank"):
		return nil, serval.Errorf(serval.InvalidArgument, "model '%s' pools by %s; it cannot pool by %s", m.Name, m.Pooling, pooling).At("pooling")
	}
	vocab := m.Words.Size()
	for i, list := range in.List {
		if len(list) == 0 {
			return nil, serval.Errorf(serval.InvalidArgument, "text %d has no tokens", i).At("input")
		}
		if n := m.Context; len(list) > n {
			return nil, serval.Errorf(serval.InvalidArgument, "text %d has %d tokens; model '%s' takes %d, so it is %d too long", i, len(list), m.Name, n, len(list)-n).
				At("input").Named("context_length_exceeded")
		}
		for _, t := range list {
			if t < 0 || int(t) >= vocab {
				return nil, serval.Errorf(serval.InvalidArgument, "text %d has the token %d; model '%s' has the tokens 0 to %d", i, t, m.Name, vocab-1).At("input")
			}
		}
	}
	return &Texts{In: in, Pooling: pooling, model: m, stream: stream, left: len(in.List), out: serval.Embeddings{List: make([][]float32, len(in.List))}}, nil
}

// Set gives a text its vector, which is the reader's from then on.
func (t *Texts) Set(at int, vector []float32) {
	t.out.List[at] = vector
	t.tokens += int64(len(t.In.List[at]))
	t.left--
}

// Has says whether a text has its vector.
func (t *Texts) Has(at int) bool { return t.out.List[at] != nil }

// Drop ends the call if its reader left. It reports whether it did so.
func (t *Texts) Drop() bool {
	if !t.stream.Canceled() {
		return false
	}
	t.stream.End(context.Canceled)
	return true
}

// End answers the call once all vectors are there and the reader has room for them. It reports whether it did so.
func (t *Texts) End() bool {
	switch {
	case t.left > 0:
		return false
	case slices.ContainsFunc(t.out.List, broken):
		t.stream.End(t.model.damaged())
		return true
	case !t.stream.Emit(serval.Chunk{Output: &t.out, Usage: serval.Usage{Rows: int64(len(t.out.List)), Prompt: t.tokens}, Finish: serval.Stop}):
		return false
	}
	t.stream.End(nil)
	return true
}

// Fail is the last word of a call that cannot go on. Nothing may be called after it.
func (t *Texts) Fail(err error) { t.stream.End(err) }

// broken says of a vector that some of its numbers are none.
func broken(v []float32) bool {
	return slices.ContainsFunc(v, func(x float32) bool { return x-x != 0 })
}
