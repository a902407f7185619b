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
	scores := make([]float32, len(in.Documents))
	var usage serval.Usage
	if m.lang.Rank {
		encode := &serval.Encode{Pooling: "rank", List: make([][]int32, len(in.Documents)), Types: make([][]int32, len(in.Documents))}
		for i, d := range in.Documents {
			var err error
			if encode.List[i], encode.Types[i], err = m.pair(in.Query, d, i, in.Truncate); err != nil {
				return err
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
			text := serval.Text{Text: in.Query}
			if i > 0 {
				text.Text = in.Documents[i-1]
			}
			tokens, err := m.tokens(&text, i, in.Truncate)
			if err != nil {
				return err
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
	return sink.Send(&serval.Chunk{Output: &serval.Scores{List: scores}, Usage: usage, Finish: serval.Stop})
}

// pair is a query and a document as a model that ranks reads them, and which of them each token is of. Of what is too long,
// the document is cut.
func (m *Model) pair(query, document string, i int, truncate bool) (tokens, types []int32, err error) {
	tokens, types, ok := m.vocab.EncodePair(nil, nil, query, document, false)
	n := len(tokens)
	if !ok {
		return nil, nil, serval.Errorf(serval.InvalidArgument, "%s has no way to read a query and a document together", m.what).At("model")
	}
	if n <= m.lang.Context {
		return tokens, types, nil
	}
	if !truncate {
		return nil, nil, serval.Errorf(serval.InvalidArgument, "documents[%d] and the query have %d tokens together; %s takes %d, so they are %d too long", i, n, m.what, m.lang.Context, n-m.lang.Context).
			At("documents").Named("context_length_exceeded")
	}
	last := tokens[n-1]
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
