package embed

import (
	"context"
	"math"

	"serval"
)

// rank scores documents. A model that was not made for it is asked for vectors, and a document's score is the cosine of its
// vector and the query's.
func (m *Model) rank(ctx context.Context, req *serval.Request, in *serval.Rank, sink serval.Sink) error {
	switch {
	case in.Query == "":
		return serval.Errorf(serval.InvalidArgument, "query is empty; say what the documents should answer").At("query")
	case len(in.Documents) == 0:
		return serval.Errorf(serval.InvalidArgument, "documents is empty; give at least one").At("documents")
	case len(in.Documents) >= most:
		return serval.Errorf(serval.InvalidArgument, "documents has %d entries; a request takes %d", len(in.Documents), most-1).At("documents")
	case !m.lang.Rank && !m.lang.Embed:
		return serval.Errorf(serval.InvalidArgument, "%s neither ranks documents nor makes vectors", m.what).At("model")
	}
	if in.Most < 0 {
		return serval.Errorf(serval.InvalidArgument, "max_tokens_per_doc is %d; it must be at least 1", in.Most).At("max_tokens_per_doc")
	}
	scores := make([]float32, len(in.Documents))
	var cut []int
	var usage serval.Usage
	if m.lang.Rank {
		encode := &serval.Encode{Pooling: "rank", List: make([][]int32, len(in.Documents)), Types: make([][]int32, len(in.Documents))}
		for i, d := range in.Documents {
			var err error
			over := m.over(d, in.Most)
			if encode.List[i], encode.Types[i], err = m.pair(in, i, over); err != nil {
				return err
			}
			if over > 0 {
				cut = append(cut, i)
			}
		}
		vectors, spent, err := m.run(ctx, req, encode)
		if err != nil {
			return err
		}
		for i, v := range vectors {
			if scores[i] = v[0]; !in.Raw {
				scores[i] = float32(1 / (1 + math.Exp(-float64(v[0]))))
			}
		}
		usage = spent
	} else {
		encode := &serval.Encode{Pooling: m.pool, List: make([][]int32, len(in.Documents)+1)}
		for i := range encode.List {
			text, at, most := serval.Text{Text: in.Query}, place{"query", -1}, 0
			if i > 0 {
				text.Text, at, most = in.Documents[i-1], place{"documents", i - 1}, in.Most
			}
			tokens, shorter, err := m.tokens(&text, at, in.Truncate, most)
			if err != nil {
				return err
			}
			if shorter {
				cut = append(cut, i-1)
			}
			encode.List[i] = tokens
		}
		vectors, spent, err := m.run(ctx, req, encode)
		if err != nil {
			return err
		}
		normalise(vectors[0])
		for i := range scores {
			normalise(vectors[i+1])
			scores[i] = dot(vectors[0], vectors[i+1])
			if !in.Raw {
				scores[i] = (1 + scores[i]) / 2
			}
		}
		usage = spent
	}
	return sink.Send(&serval.Chunk{Output: &serval.Scores{List: scores, Cut: cut}, Usage: usage, Finish: serval.Stop})
}

// pair is a query and a document as a model that ranks reads them, and which of them each token is of. Of what is too long,
// the document is cut. The last tokens of the document's, as many as over says, are left out.
func (m *Model) pair(in *serval.Rank, i, over int) (tokens, types []int32, err error) {
	tokens, types, ok := m.vocab.EncodePair(nil, nil, in.Query, in.Documents[i], false)
	if !ok {
		return nil, nil, serval.Errorf(serval.InvalidArgument, "%s has no way to read a query and a document together", m.what).At("model")
	}
	n := len(tokens)
	last := tokens[n-1]
	if over > 0 && over < n-1 {
		n -= over
		tokens, types = tokens[:n], types[:n]
		tokens[n-1] = last
	}
	if n <= m.lang.Context {
		return tokens, types, nil
	}
	if !in.Truncate {
		return nil, nil, serval.Errorf(serval.InvalidArgument, "documents[%d] and the query have %d tokens together; %s takes %d, so they are %d too long", i, n, m.what, m.lang.Context, n-m.lang.Context).
			At("documents").Named("context_length_exceeded")
	}
	tokens, types = tokens[:m.lang.Context], types[:m.lang.Context]
	tokens[len(tokens)-1] = last
	return tokens, types, nil
}

func dot(a, b []float32) float32 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return float32(sum)
}
