package embed

import (
	"context"
	"slices"
	"strings"
	"testing"

	"serval"
	"serval/llm/vocab"
)

// tokenizer has letters for tokens: [CLS] text [SEP], and [CLS] query [SEP] document [SEP].
const tokenizer = `{"added_tokens": [{"id": 2, "content": "[CLS]", "special": true}, {"id": 3, "content": "[SEP]", "special": true}],
	"model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
		"vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "b": 5, "c": 6, "##a": 7, "##b": 8, "##c": 9, "[": 10, "]": 11}},
	"pre_tokenizer": {"type": "BertPreTokenizer"},
	"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}}`

// asked is what a model was asked for last; its vectors are the tokens' sum and their number.
type asked struct{ in *serval.Encode }

func (a *asked) Handle(_ context.Context, req *serval.Request, sink serval.Sink) error {
	a.in = req.Input.(*serval.Encode)
	out := &serval.Embeddings{}
	for _, list := range a.in.List {
		sum := float32(0)
		for _, id := range list {
			sum += float32(id)
		}
		v := []float32{sum, float32(len(list))}
		if a.in.Pooling == "rank" {
			v = v[:1]
		}
		out.List = append(out.List, v)
	}
	return sink.Send(&serval.Chunk{Output: out, Usage: serval.Usage{Prompt: 7}, Finish: serval.Stop})
}

func model(t *testing.T, lang serval.Language) (*Model, *asked) {
	t.Helper()
	words, err := vocab.FromJSON([]byte(tokenizer), nil)
	if err != nil {
		t.Fatal(err)
	}
	next := &asked{}
	lang.Context = 6
	return New(Options{Name: "m", Version: "1", Language: lang, Vocabulary: words, Next: next}), next
}

func TestTruncationKeepsTheEnd(t *testing.T) {
	m, next := model(t, serval.Language{Embed: true, Width: 2})
	err := m.Handle(t.Context(), &serval.Request{Input: &serval.Texts{Truncate: true, List: []serval.Text{
		{Text: "a b c"}, {Text: "a b c a b c"}, {Tokens: []int32{4, 4, 4, 4, 4, 4, 4, 5}}, {Text: "[SEP]"}}}},
		serval.SinkFunc(func(c *serval.Chunk) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	want := [][]int32{{2, 4, 5, 6, 3}, {2, 4, 5, 6, 4, 3}, {4, 4, 4, 4, 4, 4}, {2, 10, 1, 11, 3}}
	if !slices.EqualFunc(next.in.List, want, slices.Equal) {
		t.Errorf("%v, want %v", next.in.List, want)
	}
}

func TestRankTellsThePairApart(t *testing.T) {
	m, next := model(t, serval.Language{Rank: true, Width: 1})
	rank := func(truncate bool) error {
		return m.Handle(t.Context(), &serval.Request{Input: &serval.Rank{Query: "a", Documents: []string{"b c", "b c a b"}, Truncate: truncate, Raw: true}},
			serval.SinkFunc(func(c *serval.Chunk) error {
				if got := c.Output.(*serval.Scores).List; !slices.Equal(got, []float32{2 + 4 + 3 + 5 + 6 + 3, 2 + 4 + 3 + 5 + 6 + 3}) {
					t.Errorf("scores %v", got)
				}
				return nil
			}))
	}
	if err := rank(false); err == nil || !strings.Contains(err.Error(), "documents[1] and the query have 8 tokens together") {
		t.Errorf("%v", err)
	}
	if err := rank(true); err != nil {
		t.Fatal(err)
	}
	ids, types := []int32{2, 4, 3, 5, 6, 3}, []int32{0, 0, 0, 1, 1, 1}
	for i := range next.in.List {
		if !slices.Equal(next.in.List[i], ids) || !slices.Equal(next.in.Types[i], types) {
			t.Errorf("document %d: %v of types %v", i, next.in.List[i], next.in.Types[i])
		}
	}
}

// TestLongDocumentsAreCutWhereTheClientSaysSo: each keeps its first tokens and those around it, and is told of; the query is not
// cut.
func TestLongDocumentsAreCutWhereTheClientSaysSo(t *testing.T) {
	for _, c := range []struct {
		language serval.Language
		want     [][]int32
	}{
		{serval.Language{Rank: true, Width: 1}, [][]int32{{2, 4, 3, 5, 6, 3}, {2, 4, 3, 5, 3}, {2, 4, 3, 4, 5, 3}}},
		{serval.Language{Embed: true, Width: 2}, [][]int32{{2, 4, 3}, {2, 5, 6, 3}, {2, 5, 3}, {2, 4, 5, 3}}},
	} {
		m, next := model(t, c.language)
		var cut []int
		in := &serval.Rank{Query: "a", Documents: []string{"b c a b", "b", "a b c"}, Most: 2}
		err := m.Handle(t.Context(), &serval.Request{Input: in}, serval.SinkFunc(func(c *serval.Chunk) error { cut = c.Output.(*serval.Scores).Cut; return nil }))
		if err != nil || !slices.Equal(cut, []int{0, 2}) || !slices.EqualFunc(next.in.List, c.want, slices.Equal) {
			t.Errorf("%v, cut %v, %v; want %v", next.in.List, cut, err, c.want)
		}
		in.Most = 4 // what is left is too long for the model all the same
		in.Documents[0] = "b c a b c a b"
		if err := m.Handle(t.Context(), &serval.Request{Input: in}, serval.SinkFunc(func(c *serval.Chunk) error { return nil })); c.language.Rank && (err == nil || !strings.Contains(err.Error(), "documents[0] and the query have 8 tokens")) {
			t.Errorf("%v", err)
		}
		in.Query, in.Most = strings.Repeat("a ", 20), 1
		if err := m.Handle(t.Context(), &serval.Request{Input: in}, serval.SinkFunc(func(c *serval.Chunk) error { return nil })); err == nil || !strings.Contains(err.Error(), "query") {
			t.Errorf("a long query: %v", err)
		}
	}
}

func TestNamesOfSpecialTokensAreText(t *testing.T) {
	m, next := model(t, serval.Language{Embed: true, Width: 2})
	err := m.Handle(t.Context(), &serval.Request{Input: &serval.Texts{List: []serval.Text{{Text: "[SEP]"}}}}, serval.SinkFunc(func(*serval.Chunk) error { return nil }))
	if err != nil || slices.Contains(next.in.List[0][1:len(next.in.List[0])-1], 3) {
		t.Errorf("%v, %v", next.in, err)
	}
}
