package embed

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"serval"
	"serval/llm/vocab"
)

// Options are what New needs.
type Options struct {
	Name, Version string
	Language      serval.Language
	Settings      serval.TextSettings
	Vocabulary    *vocab.Vocabulary
	Next          serval.Handler // takes *serval.Encode
}

// Model answers *serval.Texts and *serval.Rank for one version of a model. It is a serval.Handler and safe for concurrent
// use.
type Model struct {
	what  string
	lang  serval.Language
	pool  string
	vocab *vocab.Vocabulary
	tail  int // tokens that end every text, which stay where one is cut
	next  serval.Handler
}

// most is how many texts a request may hold.
const most = 2048

// New makes the task of one version.
func New(o Options) *Model {
	empty, short := o.Vocabulary.Encode(nil, "", vocab.Options{Around: true}), o.Vocabulary.Encode(nil, "a", vocab.Options{Around: true})
	tail := 0
	for tail < min(len(empty), len(short)) && empty[len(empty)-1-tail] == short[len(short)-1-tail] {
		tail++
	}
	return &Model{
		tail: tail,
		what: fmt.Sprintf("model '%s' version %s", o.Name, o.Version), lang: o.Language, pool: o.Settings.Pooling, vocab: o.Vocabulary, next: o.Next,
	}
}

// Handle answers what the request asks for.
func (m *Model) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	switch in := req.Input.(type) {
	case *serval.Texts:
		return m.embed(ctx, req, in, sink)
	case *serval.Rank:
		return m.rank(ctx, req, in, sink)
	}
	return serval.Errorf(serval.InvalidArgument, "%s makes vectors of texts; this request asks for something else of it", m.what)
}

func (m *Model) embed(ctx context.Context, req *serval.Request, in *serval.Texts, sink serval.Sink) error {
	switch {
	case !m.lang.Embed:
		return serval.Errorf(serval.InvalidArgument, "%s makes no vectors", m.what).At("model")
	case len(in.List) == 0:
		return serval.Errorf(serval.InvalidArgument, "input is empty; give at least one text").At("input")
	case len(in.List) > most:
		return serval.Errorf(serval.InvalidArgument, "input has %d texts; a request takes %d", len(in.List), most).At("input")
	case in.Dimensions < 0 || m.lang.Width > 0 && in.Dimensions > m.lang.Width:
		return serval.Errorf(serval.InvalidArgument, "dimensions is %d; the vectors of %s have %d", in.Dimensions, m.what, m.lang.Width).At("dimensions")
	}
	encode := &serval.Encode{Pooling: in.Pooling, List: make([][]int32, len(in.List))}
	if encode.Pooling == "" {
		encode.Pooling = m.pool
	}
	for i := range in.List {
		tokens, _, err := m.tokens(&in.List[i], place{"input", i}, in.Truncate, 0)
		if err != nil {
			return err
		}
		encode.List[i] = tokens
	}
	vectors, usage, err := m.run(ctx, req, encode)
	if err != nil {
		return err
	}
	for i, v := range vectors {
		if in.Dimensions > 0 {
			v = v[:min(in.Dimensions, len(v))]
		}
		if !in.Raw {
			normalise(v)
		}
		vectors[i] = v
	}
	return sink.Send(&serval.Chunk{Output: &serval.Embeddings{List: vectors}, Usage: usage, Finish: serval.Stop})
}

// place is where a text stands in a request, as the client knows it.
type place struct {
	param string
	i     int // in a list; -1: it is none
}

// String is the place in a message.
func (p place) String() string {
	if p.i < 0 {
		return p.param
	}
	return p.param + "[" + strconv.Itoa(p.i) + "]"
}

// tokens are those of a text, of which there is at least one. Of more than most the rest is cut; 0: no limit.
func (m *Model) tokens(t *serval.Text, at place, truncate bool, most int) (list []int32, cut bool, err error) {
	list, tail := t.Tokens, 0
	if list == nil {
		tail = min(m.tail, m.lang.Context)
		text := t.Text
		if bytes := max(m.lang.Context*512, 1<<20); len(text) > bytes {
			if !truncate {
				return nil, false, serval.Errorf(serval.InvalidArgument, "%s has %d bytes; that cannot fit into the %d tokens of %s: shorten it", at, len(text), m.lang.Context, m.what).
					At(at.param).Named("context_length_exceeded")
			}
			text = text[:bytes]
		}
		list = m.vocab.Encode(nil, text, vocab.Options{Around: true})
		if over := m.over(text, most); over > 0 && over < len(list)-tail {
			n := len(list)
			list, cut = append(list[:n-tail-over:n-tail-over], list[n-tail:]...), true
		}
	}
	for _, id := range t.Tokens {
		if id < 0 || int(id) >= m.vocab.Size() {
			return nil, false, serval.Errorf(serval.InvalidArgument, "%s has the token %d; %s has the tokens 0 to %d", at, id, m.what, m.vocab.Size()-1).At(at.param)
		}
	}
	switch n := len(list); {
	case n == 0:
		return nil, false, serval.Errorf(serval.InvalidArgument, "%s is empty; give it some text", at).At(at.param)
	case n > m.lang.Context && !truncate:
		return nil, false, serval.Errorf(serval.InvalidArgument, "%s has %d tokens; %s takes %d, so it is %d too long", at, n, m.what, m.lang.Context, n-m.lang.Context).
			At(at.param).Named("context_length_exceeded")
	case n > m.lang.Context:
		list = append(list[:m.lang.Context-tail:m.lang.Context-tail], list[n-tail:]...)
	}
	return list, cut, nil
}

// over is by how many tokens a text, without those that a model puts around it, is longer than most; 0 where most is 0.
func (m *Model) over(text string, most int) int {
	if most == 0 || len(text) <= most { // a token has a byte at least
		return 0
	}
	return max(0, len(m.vocab.Encode(nil, text, vocab.Options{}))-most)
}

// run has the model make vectors, which the caller owns.
func (m *Model) run(ctx context.Context, req *serval.Request, encode *serval.Encode) ([][]float32, serval.Usage, error) {
	var vectors [][]float32
	var usage serval.Usage
	input := req.Input
	req.Input = encode
	err := m.next.Handle(ctx, req, serval.SinkFunc(func(c *serval.Chunk) error {
		usage.Add(c.Usage)
		out, ok := c.Output.(*serval.Embeddings)
		if !ok {
			return serval.Errorf(serval.Internal, "the engine answered with %T, not with vectors", c.Output)
		}
		for _, v := range out.List {
			vectors = append(vectors, append([]float32(nil), v...))
		}
		return nil
	}))
	req.Input = input
	if err == nil && len(vectors) != len(encode.List) {
		err = serval.Errorf(serval.Internal, "the engine made %d vectors of %d texts", len(vectors), len(encode.List))
	}
	return vectors, usage, err
}

// normalise scales a vector to length 1; one of zeros stays.
func normalise(v []float32) {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum == 0 {
		return
	}
	scale := 1 / math.Sqrt(sum)
	for i := range v {
		v[i] = float32(float64(v[i]) * scale)
	}
}
