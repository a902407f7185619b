package generate

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"serval"
	"serval/internal/testkit"
	"serval/llm/gguf"
	"serval/llm/vocab"
)

var smol = sync.OnceValues(func() (*vocab.Vocabulary, string) { return nil, "" })

// words is SmolLM2's vocabulary and template.
func words(t *testing.T) (*vocab.Vocabulary, string) {
	t.Helper()
	if v, source := smol(); v != nil {
		return v, source
	}
	f, err := gguf.Open(testkit.GGUF(t, "smollm2.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := vocab.FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	source, _ := f.String("tokenizer.chat_template")
	smol = func() (*vocab.Vocabulary, string) { return v, source }
	return v, source
}

// script answers every Generate with the tokens of a text, one a chunk, as an engine would: until the limit, or with the end
// token.
type script struct {
	t     *testing.T
	words *vocab.Vocabulary
	text  string
	ids   []int32 // instead of text's
	calls []serval.Generate
	left  bool // the receiver had enough
	mu    sync.Mutex
}

func (s *script) Handle(_ context.Context, req *serval.Request, sink serval.Sink) error {
	gen := *req.Input.(*serval.Generate)
	s.mu.Lock()
	s.calls = append(s.calls, gen)
	s.mu.Unlock()
	ids := s.ids
	if ids == nil {
		ids = s.words.Encode(nil, s.text, vocab.Options{Special: true})
	}
	eos, _ := s.words.EOS()
	ids = append(ids[:len(ids):len(ids)], eos)
	c := serval.Chunk{Usage: serval.Usage{Prompt: int64(len(gen.Tokens))}}
	for i, id := range ids {
		out := &serval.Tokens{List: []serval.Token{{ID: id, Logprob: -1, Top: []serval.Token{{ID: id, Logprob: -1}}}}}
		if gen.PromptLogprobs >= 0 && i == 0 {
			for _, p := range gen.Tokens {
				out.Prompt = append(out.Prompt, serval.Token{ID: p, Logprob: -2})
			}
		}
		c.Output = out
		c.Usage.Completion = 1
		switch {
		case i == len(ids)-1:
			c.Finish = serval.Stop
		case i == gen.Limit-1:
			c.Finish = serval.Length
		}
		if err := sink.Send(&c); err != nil {
			s.mu.Lock()
			s.left = errors.Is(err, serval.ErrEnough)
			s.mu.Unlock()
			if s.left {
				return nil
			}
			return err
		}
		if c.Finish != serval.More {
			return nil
		}
		c.Usage = serval.Usage{}
	}
	return nil
}

func model(t *testing.T, text string) (*Model, *script) {
	t.Helper()
	v, source := words(t)
	s := &script{t: t, words: v, text: text}
	m, err := New(Options{Name: "chat", Version: "1", Language: serval.Language{Context: 256, Generate: true}, Vocabulary: v, Template: source, Next: s})
	if err != nil {
		t.Fatal(err)
	}
	return m, s
}

type answer struct {
	text, reasoning string
	pieces          []string
	logprobs        []serval.TokenText
	finish          serval.Finish
	stop            string
	usage           serval.Usage
}

// ask collects the choices of an answer.
func ask(t *testing.T, m *Model, in serval.Input, n int) ([]answer, error) {
	t.Helper()
	out := make([]answer, n)
	req := &serval.Request{Input: in}
	err := m.Handle(t.Context(), req, serval.SinkFunc(func(c *serval.Chunk) error {
		req.Usage.Add(c.Usage) // as the gateway does
		d := c.Output.(*serval.Delta)
		a := &out[c.Choice]
		if a.finish != serval.More {
			t.Error("a piece after the last one")
		}
		if strings.ToValidUTF8(d.Text, "") != d.Text {
			t.Errorf("a piece that is no whole characters: %q", d.Text)
		}
		a.text += d.Text
		a.reasoning += d.Reasoning
		a.pieces = append(a.pieces, d.Text)
		a.logprobs = append(a.logprobs, d.Logprobs...)
		a.finish = c.Finish
		a.stop = d.StopText
		a.usage.Add(c.Usage)
		return nil
	}))
	return out, err
}

func number(n int) *int { return &n }

func TestWholeCharacters(t *testing.T) {
	const text = "Smile 😀 or 漢字, ünïcödé: 👩‍👩‍👧 done"
	m, _ := model(t, text)
	a, err := ask(t, m, &serval.Completion{Text: "x"}, 1)
	if err != nil || a[0].text != text || a[0].finish != serval.Stop {
		t.Errorf("%q %v %v", a[0].text, a[0].finish, err)
	}
	if len(a[0].pieces) < 5 {
		t.Errorf("only %d pieces: it is not streamed", len(a[0].pieces))
	}
}

func TestUnfinishedCharacter(t *testing.T) {
	v, _ := words(t)
	ids := v.Encode(nil, "a😀", vocab.Options{})
	m, s := model(t, "")
	s.ids = ids[:len(ids)-1]
	a, err := ask(t, m, &serval.Completion{Text: "x"}, 1)
	if err != nil || a[0].text != "a\ufffd" {
		t.Errorf("%q %v", a[0].text, err)
	}
}

func TestStops(t *testing.T) {
	for _, c := range []struct {
		stops []string
		keep  bool
		want  string
		stop  string
	}{
		{[]string{"seven"}, false, "one two three four five six ", "seven"},
		{[]string{"seven"}, true, "one two three four five six seven", "seven"},
		{[]string{"ee f", "five"}, false, "one two thr", "ee f"},
		{[]string{"nothing of the kind"}, false, "one two three four five six seven eight", ""},
		{[]string{"eight nine"}, false, "one two three four five six seven eight", ""}, // begins, and never comes
		{[]string{"", "six"}, false, "one two three four five ", "six"},
	} {
		m, s := model(t, "one two three four five six seven eight")
		a, err := ask(t, m, &serval.Completion{Text: "x", Generation: serval.Generation{Stop: c.stops, KeepStop: c.keep}}, 1)
		if err != nil || a[0].text != c.want || a[0].stop != c.stop || a[0].finish != serval.Stop {
			t.Errorf("%q: %q stopped by %q, %v %v", c.stops, a[0].text, a[0].stop, a[0].finish, err)
		}
		if s.left != (c.stop != "") {
			t.Errorf("%q: the engine was told to stop: %v", c.stops, s.left)
		}
	}
}

func TestLimit(t *testing.T) {
	m, s := model(t, "one two three four five six seven eight")
	a, err := ask(t, m, &serval.Completion{Text: "x", Generation: serval.Generation{Limit: number(3)}}, 1)
	if err != nil || a[0].finish != serval.Length || a[0].usage.Completion != 3 || a[0].text != "one two three" {
		t.Errorf("%+v %v", a[0], err)
	}
	if _, err = ask(t, m, &serval.Completion{Text: "x", Generation: serval.Generation{Limit: number(100_000)}}, 1); err != nil {
		t.Error(err)
	}
	if got := s.calls[1]; got.Limit+len(got.Tokens) != 256 {
		t.Errorf("a limit beyond the context became %d beside %d tokens", got.Limit, len(got.Tokens))
	}
}

func TestLogprobsFollowTheText(t *testing.T) {
	const text = "A 😀 end stop here"
	m, _ := model(t, text)
	top := 1
	a, err := ask(t, m, &serval.Completion{Text: "x", Generation: serval.Generation{Logprobs: &top, Stop: []string{" stop"}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var told []byte
	for _, l := range a[0].logprobs {
		if l.Offset != len(told) {
			t.Errorf("token %q is at %d, told %d", l.Bytes, len(told), l.Offset)
		}
		told = append(told, l.Bytes...)
	}
	if string(told) != a[0].text || a[0].text != "A 😀 end" {
		t.Errorf("text %q, tokens %q", a[0].text, told)
	}
}

func TestEcho(t *testing.T) {
	m, s := model(t, " there")
	top := 0
	a, err := ask(t, m, &serval.Completion{Text: "Hello over", Echo: true, Generation: serval.Generation{Logprobs: &top}}, 1)
	if err != nil || a[0].text != "Hello over there" {
		t.Fatalf("%q %v", a[0].text, err)
	}
	if s.calls[0].PromptLogprobs != 0 {
		t.Error("the prompt's log-probabilities were not asked for")
	}
	var all string
	for i, l := range a[0].logprobs {
		if l.None != (i == 0) {
			t.Errorf("token %d: none is %v", i, l.None)
		}
		all += string(l.Bytes)
	}
	if all != a[0].text {
		t.Errorf("tokens %q", all)
	}
	a, err = ask(t, m, &serval.Completion{Text: "Hello", Echo: true, Generation: serval.Generation{Limit: number(0)}}, 1)
	if err != nil || a[0].text != "Hello" || a[0].finish != serval.Length || len(s.calls) != 1 {
		t.Errorf("%+v %v after %d calls", a[0], err, len(s.calls))
	}
}

// Many choices, answered at once: the first is sent before the last has begun.
func TestManyChoices(t *testing.T) {
	for range 20 {
		m, _ := model(t, "yes")
		a, err := ask(t, m, &serval.Completion{Text: "x", Generation: serval.Generation{N: 16}}, 16)
		if err != nil || a[15].text != "yes" {
			t.Fatalf("%v, %+v", err, a[15])
		}
	}
}

func TestChoices(t *testing.T) {
	m, s := model(t, "yes")
	seed := int64(40)
	a, err := ask(t, m, &serval.Completion{Text: "x", Generation: serval.Generation{N: 3, Seed: &seed}}, 3)
	if err != nil {
		t.Fatal(err)
	}
	var spent serval.Usage
	seeds := map[uint64]bool{}
	for i := range a {
		if a[i].text != "yes" || a[i].finish != serval.Stop {
			t.Errorf("choice %d: %+v", i, a[i])
		}
		spent.Add(a[i].usage)
		seeds[s.calls[i].Sampling.Seed] = true
	}
	if spent.Prompt != int64(len(s.calls[0].Tokens)) || len(seeds) != 3 || !seeds[40] {
		t.Errorf("prompt counted %d times, seeds %v", spent.Prompt, seeds)
	}
}

func TestChat(t *testing.T) {
	m, s := model(t, "Hello!")
	a, err := ask(t, m, &serval.Chat{Messages: []serval.Message{{Role: "developer", Content: "Be brief."}, {Role: "user", Content: "Hi"}}}, 1)
	if err != nil || a[0].text != "Hello!" {
		t.Fatalf("%+v %v", a, err)
	}
	prompt := m.vocab.Decode(s.calls[0].Tokens, true)
	if want := "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"; prompt != want {
		t.Errorf("prompt\n%s\nwant\n%s", prompt, want)
	}
	_, err = ask(t, m, &serval.Chat{Continue: true, Messages: []serval.Message{{Role: "user", Content: "Count"}, {Role: "assistant", Content: "1, 2,"}}}, 1)
	if prompt := m.vocab.Decode(s.calls[1].Tokens, true); err != nil || !strings.HasSuffix(prompt, "<|im_start|>assistant\n1, 2,") {
		t.Errorf("to be gone on with: %q %v", prompt, err)
	}
}

// Each refusal names the field, and nothing reaches the model.
func TestRefusals(t *testing.T) {
	user := []serval.Message{{Role: "user", Content: "Hi"}}
	wish := func(g serval.Generation) serval.Input { return &serval.Chat{Messages: user, Generation: g} }
	minus, big := -1.0, 7.0
	for _, c := range []struct {
		in    serval.Input
		param string
		word  string
	}{
		{&serval.Chat{}, "messages", "empty"},
		{&serval.Chat{Messages: []serval.Message{{Role: "wizard"}}}, "messages", "wizard"},
		{&serval.Chat{Messages: user, Continue: true}, "messages", "assistant"},
		{&serval.Chat{Messages: user, ToolMode: "required"}, "tool_choice", "no tools"},
		{&serval.Chat{Messages: user, ToolMode: "often"}, "tool_choice", "often"},
		{&serval.Chat{Messages: user, Tools: []serval.Tool{{Name: "a"}, {Name: "a"}}}, "tools", "twice"},
		{&serval.Chat{Messages: user, Tools: []serval.Tool{{Name: "a"}}, ToolMode: "named", ToolName: "b"}, "tool_choice", "'b'"},
		{wish(serval.Generation{N: 100}), "n", "16"},
		{wish(serval.Generation{Limit: number(-1)}), "max_tokens", "negative"},
		{wish(serval.Generation{Temperature: &minus}), "temperature", "between"},
		{wish(serval.Generation{TopP: &big}), "top_p", "between"},
		{wish(serval.Generation{PresencePenalty: &big}), "presence_penalty", "between"},
		{wish(serval.Generation{Logprobs: number(99)}), "top_logprobs", "20"},
		{wish(serval.Generation{Bias: make([]serval.TokenBias, 100_000)}), "logit_bias", "100000"},
		{wish(serval.Generation{Bias: []serval.TokenBias{{Token: 1 << 30}}}), "logit_bias", "1073741824"},
		{wish(serval.Generation{Adapter: "none"}), "adapter", "'none'"},
		{wish(serval.Generation{Stop: make([]string, 17)}), "stop", "17"},
		{wish(serval.Generation{Constraint: &serval.Constraint{Kind: "json_schema", Source: `{"type":"objekt"}`, Param: "response_format"}}), "response_format", "#/type"},
		{&serval.Completion{Tokens: []int32{1, -5}}, "prompt", "-5"},
		{&serval.Completion{Tokens: []int32{}}, "prompt", "empty"},
		{&serval.Completion{Text: "x", Generation: serval.Generation{Limit: number(0)}}, "max_tokens", "nothing to make"},
		{&serval.Completion{Text: strings.Repeat("word ", 400)}, "prompt", "shorten it by at least"},
		{&serval.Completion{Text: strings.Repeat("x", 2<<20)}, "prompt", "cannot fit"},
		{&serval.Detokenize{Tokens: []int32{1 << 30}}, "tokens", "1073741824"},
		{&serval.Texts{}, "", "something else"},
	} {
		m, s := model(t, "no")
		_, err := ask(t, m, c.in, 1)
		var e *serval.Error
		if !errors.As(err, &e) || e.Code != serval.InvalidArgument || e.Param != c.param || !strings.Contains(e.Message, c.word) {
			t.Errorf("%T %+.60v\n got %v (%+v)\nwant %s: …%s…", c.in, c.in, err, e, c.param, c.word)
		}
		if len(s.calls) != 0 {
			t.Errorf("%T reached the model", c.in)
		}
	}
}

func TestTokenize(t *testing.T) {
	m, _ := model(t, "")
	var out *serval.Pieces
	sink := serval.SinkFunc(func(c *serval.Chunk) error { out = c.Output.(*serval.Pieces); return nil })
	if err := m.Handle(t.Context(), &serval.Request{Input: &serval.Tokenize{Text: "Hello <|im_end|> world", Special: true}}, sink); err != nil {
		t.Fatal(err)
	}
	if strings.Join(out.Texts, "") != "Hello <|im_end|> world" || len(out.IDs) != len(out.Texts) {
		t.Errorf("%q", out.Texts)
	}
	special := len(out.IDs)
	if err := m.Handle(t.Context(), &serval.Request{Input: &serval.Tokenize{Text: "Hello <|im_end|> world"}}, sink); err != nil || len(out.IDs) <= special {
		t.Errorf("names of special tokens were read though they were not to be: %q %v", out.Texts, err)
	}
	if err := m.Handle(t.Context(), &serval.Request{Input: &serval.Detokenize{Tokens: out.IDs}}, sink); err != nil || out.Text != "Hello <|im_end|> world" {
		t.Errorf("%q %v", out.Text, err)
	}
}
