package chat

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"serval"
)

// Workload says what is asked. The zero value asks prompts of 60 words for 64 tokens each.
type Workload struct {
	Words   Lengths  // of a prompt, or of a text to embed; default 60
	Tokens  Lengths  // max_tokens; default 64
	Mix     []Part   // several kinds of requests, instead of Words and Tokens
	Shared  int      // words in front of every prompt that all have in common; of a chat, its system message
	Turns   int      // requests of a conversation, which grows with the real answers; default 1
	Batch   int      // embeddings: texts of a request; default 1
	Prompts []Prompt // what is asked, in this order and again from the start, instead of made-up words
	Seed    uint64   // the same seed asks the same
}

// Part is one kind of requests of a Mix.
type Part struct {
	Share  float64 // of the conversations, beside the other parts' shares
	Words  Lengths
	Tokens Lengths
}

// ParsePart reads "4:60/32": share, words and tokens; the latter as ParseLengths reads them.
func ParsePart(text string) (Part, error) {
	var p Part
	share, rest, ok := strings.Cut(text, ":")
	words, tokens, ok2 := strings.Cut(rest, "/")
	if n, err := fmt.Sscanf(share, "%g", &p.Share); !ok || !ok2 || n != 1 || err != nil || !(p.Share > 0 && p.Share <= 1e9) {
		return p, serval.Errorf(serval.InvalidArgument, "mix: %q: write SHARE:WORDS/TOKENS, as in 4:60/32", text).At("mix")
	}
	var err error
	if p.Words, err = ParseLengths(words); err == nil {
		p.Tokens, err = ParseLengths(tokens)
	}
	if err != nil {
		return p, serval.Errorf(serval.InvalidArgument, "mix: %q: %w", text, err).At("mix")
	}
	return p, nil
}

const (
	maxTurns = 1000
	maxTexts = 1 << 14
)

func (w Workload) withDefaults(api API) (Workload, error) {
	bad := func(param, format string, args ...any) (Workload, error) {
		return w, serval.Errorf(serval.InvalidArgument, "%s: %s", param, fmt.Sprintf(format, args...)).At(param)
	}
	if w.Words == (Lengths{}) {
		w.Words = Fixed(60)
	}
	if w.Tokens == (Lengths{}) {
		w.Tokens = Fixed(64)
	}
	if len(w.Mix) == 0 {
		w.Mix = []Part{{1, w.Words, w.Tokens}}
	}
	for i := range w.Mix {
		p := &w.Mix[i]
		if !(p.Share > 0) {
			return bad("mix", "part %d has no share", i)
		}
		if err := p.Words.check(); err != nil {
			return bad("words", "%v", err)
		}
		if err := p.Tokens.check(); err != nil {
			return bad("tokens", "%v", err)
		}
	}
	if w.Turns == 0 {
		w.Turns = 1
	}
	if w.Batch == 0 {
		w.Batch = 1
	}
	switch {
	case w.Shared < 0 || w.Shared > maxLength:
		return bad("shared-prefix-words", "%d: want 0 to %d", w.Shared, maxLength)
	case w.Turns < 1 || w.Turns > maxTurns:
		return bad("turns", "%d: want 1 to %d", w.Turns, maxTurns)
	case w.Batch < 1 || w.Batch > maxTexts:
		return bad("batch", "%d: want 1 to %d", w.Batch, maxTexts)
	case api == Embeddings && w.Turns > 1:
		return bad("turns", "embeddings have no turns")
	case api != Embeddings && w.Batch > 1:
		return bad("batch", "only embeddings take several texts")
	case w.Turns > 1 && len(w.Prompts) > 0:
		return bad("turns", "prompts of a file are one request each; leave one of the two out")
	}
	for i := range w.Prompts {
		if err := w.Prompts[i].check(api); err != nil {
			return bad("file", "prompt %d: %v", i, err)
		}
	}
	return w, nil
}

// String says what is asked in a few words.
func (w *Workload) describe(api API) string {
	var parts []string
	if len(w.Prompts) > 0 {
		parts = append(parts, fmt.Sprintf("%d prompts of a file", len(w.Prompts)))
	}
	for i := range w.Mix {
		if len(w.Prompts) > 0 {
			break
		}
		p := &w.Mix[i]
		text := fmt.Sprintf("prompts of %s words, answers of %s tokens", p.Words, p.Tokens)
		if api == Embeddings {
			text = fmt.Sprintf("texts of %s words, %d a request", p.Words, w.Batch)
		}
		if len(w.Mix) > 1 {
			text = fmt.Sprintf("%g × %s", p.Share, text)
		}
		parts = append(parts, text)
	}
	if w.Shared > 0 {
		parts = append(parts, fmt.Sprintf("%d words in common", w.Shared))
	}
	if w.Turns > 1 {
		parts = append(parts, fmt.Sprintf("%d turns", w.Turns))
	}
	return strings.Join(parts, ", ")
}

// conversation is what one caller asks, a request at a time. It writes its own part of a request's body.
type conversation struct {
	w      *Workload
	api    API
	index  uint64
	random *rand.Rand
	part   *Part
	turn   int
	said   []byte // messages, or the text of a prompt, as they stand in the body
	limit  int    // max_tokens of the turn; 0: none is set
}

// The streams of the random generator that are none of a conversation's index.
const (
	sharedStream = 1<<64 - 1
	warmUp       = 1 << 63 // and above: conversations of the warm-up
)

// start makes the conversation of an index.
func (w *Workload) start(api API, index uint64, shared []byte) *conversation {
	c := &conversation{w: w, api: api, index: index, random: rand.New(rand.NewPCG(w.Seed, index))}
	c.part = w.pick(c.random)
	if api == Chat && len(shared) > 0 {
		c.said = append(append(append(c.said, `{"role":"system","content":"`...), shared...), `"}`...)
	} else if api == Completions {
		c.said = append(c.said, shared...)
	}
	return c
}

// pick chooses a part by the shares.
func (w *Workload) pick(r *rand.Rand) *Part {
	if len(w.Mix) == 1 {
		return &w.Mix[0]
	}
	total := 0.0
	for i := range w.Mix {
		total += w.Mix[i].Share
	}
	at := r.Float64() * total
	for i := range w.Mix {
		if at -= w.Mix[i].Share; at < 0 {
			return &w.Mix[i]
		}
	}
	return &w.Mix[len(w.Mix)-1]
}

// shared is the text in front of all prompts.
func (w *Workload) shared() []byte {
	if w.Shared == 0 {
		return nil
	}
	return appendWords(nil, rand.New(rand.NewPCG(w.Seed, sharedStream)), w.Shared)
}

// ask adds the next turn's question and appends what it makes of the body: ,"messages":[…] or the like.
func (c *conversation) ask(b, shared []byte) []byte {
	c.limit = c.part.Tokens.draw(c.random)
	if n := len(c.w.Prompts); n > 0 {
		return c.replay(b, &c.w.Prompts[(c.index&^warmUp)%uint64(n)])
	}
	switch c.api {
	case Embeddings:
		c.limit = 0
		b = append(b, `,"input":[`...)
		for i := range c.w.Batch {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, '"')
			if len(shared) > 0 {
				b = append(append(b, shared...), ' ')
			}
			b = append(appendWords(b, c.random, c.part.Words.draw(c.random)), '"')
		}
		return append(b, ']')
	case Completions:
		if len(c.said) > 0 {
			c.said = append(c.said, ' ')
		}
		c.said = appendWords(c.said, c.random, c.part.Words.draw(c.random))
		return append(append(append(b, `,"prompt":"`...), c.said...), '"')
	}
	if len(c.said) > 0 {
		c.said = append(c.said, ',')
	}
	c.said = append(c.said, `{"role":"user","content":"`...)
	c.said = append(appendWords(c.said, c.random, c.part.Words.draw(c.random)), `"}`...)
	return append(append(append(b, `,"messages":[`...), c.said...), ']')
}

// answer adds what was answered, as it stands between a JSON string's quotes.
func (c *conversation) answer(text string) {
	c.turn++
	if c.api == Completions {
		c.said = append(c.said, text...)
		return
	}
	c.said = append(append(append(c.said, `,{"role":"assistant","content":"`...), text...), `"}`...)
}

// replay asks a prompt of a file.
func (c *conversation) replay(b []byte, p *Prompt) []byte {
	if p.MaxTokens > 0 {
		c.limit = p.MaxTokens
	}
	text := p.text // with its quotes
	switch c.api {
	case Embeddings:
		c.limit = 0
		return append(append(append(b, `,"input":[`...), text...), ']')
	case Completions:
		return append(append(b, `,"prompt":`...), text...)
	}
	b = append(b, `,"messages":`...)
	if p.messages == nil {
		return append(append(append(b, `[{"role":"user","content":`...), text...), `}]`...)
	}
	return append(b, p.messages...)
}

// Prompt is one request of a file.
type Prompt struct {
	MaxTokens int // 0: as the workload says

	messages json.RawMessage // a list, or nil
	text     json.RawMessage // a string, or nil
}

func (p *Prompt) check(api API) error {
	if p.text == nil && (api != Chat || p.messages == nil) {
		return fmt.Errorf("the API %s takes lines with a prompt", api)
	}
	return nil
}
