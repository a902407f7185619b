package vocab

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"serval/llm/gguf"
)

// key is a metadata key of a GGUF tokenizer.
func key(name string) string { return "tokenizer.ggml." + name }

// FromGGUF makes the vocabulary of a GGUF file, as llama.cpp does. It does not keep the file.
func FromGGUF(f *gguf.File) (*Vocabulary, error) {
	v, err := fromGGUF(f)
	if err != nil {
		return nil, fmt.Errorf("the tokenizer of this GGUF file: %w", err)
	}
	return v, nil
}

// reading is a vocabulary that is being made of a GGUF file.
type reading struct {
	*Vocabulary
	file   *gguf.File
	model  string // tokenizer.ggml.model
	pre    string
	preset preset
	eot    int32
	eom    int32
	fim    map[string]int32 // pre, suf, mid, pad, rep, sep
	addBOS bool
	addEOS bool
	addSEP bool
	prefix bool // a space before the text
	merge  bool // neighbouring white space is one space (Unigram)
	piece  func([]byte, *token) []byte
}

func fromGGUF(f *gguf.File) (*Vocabulary, error) {
	model, ok := f.String(key("model"))
	if !ok {
		return nil, fmt.Errorf("there is none: the key %s is missing", key("model"))
	}
	r := &reading{Vocabulary: &Vocabulary{}, file: f, model: model, fim: map[string]int32{}}
	r.pre, _ = f.String(key("pre"))
	if err := r.defaults(); err != nil {
		return nil, err
	}
	if b, ok := f.Bool(key("add_space_prefix")); ok {
		r.prefix = b
	}
	r.merge, _ = f.Bool(key("remove_extra_whitespaces"))
	if err := r.readTokens(); err != nil {
		return nil, err
	}
	r.readSpecial()
	ends := r.findSpecial()
	if err := r.makeCoder(); err != nil {
		return nil, err
	}
	if err := r.frame(); err != nil {
		return nil, err
	}
	r.seal(r.piece, ends)
	return r.Vocabulary, nil
}

// defaults sets what holds for a model's kind of tokenizer unless the file says otherwise.
func (r *reading) defaults() error {
	r.bos, r.eos, r.unk, r.sep, r.pad, r.mask = noToken, noToken, noToken, noToken, noToken, noToken
	switch r.model {
	case "llama":
		r.name, r.bos, r.eos, r.unk = "SentencePiece", 1, 2, 0
		r.addBOS, r.prefix = true, true
	case "bert":
		r.name, r.bos, r.unk, r.sep, r.pad, r.mask = "WordPiece", 101, 100, 102, 0, 103
		r.addBOS, r.addSEP = true, true
	case "t5":
		r.name, r.eos, r.unk, r.pad = "Unigram", 1, 2, 0
		r.addEOS = true
	case "gpt2", "gemma4":
		name := r.pre
		switch {
		case r.model == "gemma4":
			name = "gemma4"
		case name == "":
			name = "default" // as llama.cpp reads files from before it had the key
		}
		if r.model == "gpt2" {
			r.bos, r.eos = 11, 11
		}
		p, ok := presetOf(name)
		if !ok {
			return fmt.Errorf("%s is %q, a way to cut text into words that this version does not know; it knows %s",
				key("pre"), name, strings.Join(presetList(), ", "))
		}
		r.preset, r.addBOS, r.addSEP = p, p.bos, p.sep
		if p.noBOS {
			r.bos = noToken
		}
		r.name = "byte pair encoding (" + name + ")"
	case "no_vocab", "none":
		return errors.New("the file says that it has none; give the model's tokenizer.json")
	default:
		return fmt.Errorf("%s is %q, which is not supported; llama, gpt2, gemma4, bert and t5 are", key("model"), r.model)
	}
	return nil
}

func presetList() []string {
	var out []string
	for _, p := range presetNames {
		out = append(out, strings.Fields(p.names)...)
	}
	return out
}

// llama.cpp's numbers for the types of tokens.
var tokenTypes = map[int64]attr{1: normal, 2: unknown, 3: controlling, 4: userDefined, 5: unused, 6: byteToken}

// readTokens reads the list of tokens with their scores and types.
func (r *reading) readTokens() error {
	texts, ok := r.file.Strings(key("tokens"))
	if !ok || len(texts) == 0 {
		return fmt.Errorf("%s is missing or no list of strings", key("tokens"))
	}
	scores, have := r.file.Floats(key("scores"))
	if have && len(scores) < len(texts) {
		return fmt.Errorf("%s has %d entries for %d tokens", key("scores"), len(scores), len(texts))
	}
	types, typed := r.file.Ints(key("token_type"))
	if typed && len(types) < len(texts) {
		return fmt.Errorf("%s has %d entries for %d tokens", key("token_type"), len(types), len(texts))
	}
	r.tokens = make([]token, len(texts))
	r.ids = make(map[string]int32, len(texts))
	for i, text := range texts {
		if text == "" {
			text = "[EMPTY_" + strconv.Itoa(i) + "]"
		}
		t := token{text: text, attr: normal}
		if have {
			if t.score = float64(scores[i]); t.score != t.score {
				return fmt.Errorf("%s of token %d is no number", key("scores"), i)
			}
		}
		if typed {
			if t.attr, ok = tokenTypes[types[i]]; !ok {
				t.attr = undefined
			}
		}
		if _, ok := hexByte(text); t.attr == byteToken && !ok {
			return fmt.Errorf("token %d is a byte by its type, but its text is %q and not like <0x0A>", i, text)
		}
		r.tokens[i] = t
		if r.ids[text] = int32(i); len(r.ids) <= i {
			other := slices.IndexFunc(r.tokens, func(t token) bool { return t.text == text })
			return fmt.Errorf("tokens %d and %d are both %q", other, i, text)
		}
	}
	return nil
}

// hexByte is the byte that a token named <0xXX> is.
func hexByte(s string) (byte, bool) {
	if len(s) != 6 || s[:3] != "<0x" || s[5] != '>' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[3:5], 16, 8)
	return byte(n), err == nil
}

// byteTokens are the tokens of bytes.
func (r *reading) byteTokens() (ids [256]int32) {
	for b := range ids {
		ids[b] = noToken
		if id, ok := r.ids[fmt.Sprintf("<0x%02X>", b)]; ok {
			ids[b] = id
		}
	}
	return ids
}

// makeCoder makes the algorithm, and the way from tokens back to text.
func (r *reading) makeCoder() error {
	names := r.named()
	frag := fragments{finder: newFinder(names, false)}
	switch r.model {
	case "llama":
		m := &spm{ids: r.ids, bytes: r.byteTokens(), unk: r.unk, prefix: r.prefix, cache: newCache(), inner: innerSpaces(r.tokens)}
		m.ranks = make([]int64, len(r.tokens))
		for i := range r.tokens {
			m.ranks[i] = scoreRank(float32(r.tokens[i].score))
			m.longest = max(m.longest, len(r.tokens[i].text))
		}
		for b := range m.bytes {
			if id, ok := r.ids[string([]byte{byte(b)})]; ok && m.bytes[b] < 0 {
				m.bytes[b] = id
			}
		}
		frag.body, r.trim = m.append, r.prefix
		r.piece = spacedPiece(true)
	case "bert":
		lowercase, ok := r.file.Bool(key("normalizer.lowercase"))
		lowercase = lowercase || !ok
		accents, ok := r.file.Bool(key("normalizer.strip_accents"))
		if !ok {
			accents = lowercase
		}
		m := newWordPiece(r.ids, r.unk, spaceMark, "")
		clean := bertNormalizer{table: classes(), clean: true, chinese: true, accents: accents, lowercase: lowercase}
		frag.body = func(dst []int32, s string, _ bool) []int32 { return m.text(dst, clean.apply(s)) }
		r.piece, r.trim = spacedPiece(false), true
	case "t5":
		m, err := r.unigram()
		if err != nil {
			return err
		}
		frag.body, r.trim = m, r.prefix
		r.piece = spacedPiece(true)
	default:
		m, err := r.bytePairs()
		if err != nil {
			return err
		}
		frag.body = m
	}
	r.coder = &frag
	return nil
}

// spacedPiece makes pieces of tokens that have ▁ for spaces. Other than SentencePiece's, BERT's have no byte tokens.
func spacedPiece(bytes bool) func([]byte, *token) []byte {
	return func(dst []byte, t *token) []byte {
		switch {
		case t.attr&(special|userDefined) != 0:
			return append(dst, t.text...)
		case t.attr&normal != 0:
			return appendSpaced(dst, t.text)
		case t.attr&byteToken != 0 && bytes:
			b, _ := hexByte(t.text)
			return append(dst, b)
		}
		return dst
	}
}

// appendSpaced adds s with spaces for ▁.
func appendSpaced(dst []byte, s string) []byte {
	for {
		before, after, found := strings.Cut(s, spaceMark)
		if dst = append(dst, before...); !found {
			return dst
		}
		dst, s = append(dst, ' '), after
	}
}

// bytePairs makes the algorithm of GPT-2 and its kin.
func (r *reading) bytePairs() (func([]int32, string, bool) []int32, error) {
	lines, ok := r.file.Strings(key("merges"))
	if !ok {
		return nil, fmt.Errorf("%s is missing or no list of strings", key("merges"))
	}
	p := r.preset
	b := &bpe{split: p.split, raw: p.raw, whole: p.whole, line: p.newline, symbols: newSymbols(r.ids, len(r.tokens)),
		pairs: newPairs(len(lines)), cache: newCache(), orByte: true, unk: noToken}
	var both []byte
	for rank, line := range lines {
		// The first space after the first character: a token may itself begin with one.
		if line == "" {
			continue
		}
		at := strings.IndexByte(line[1:], ' ') + 1
		if at == 0 {
			continue
		}
		left, right := line[:at], line[at+1:]
		both = append(append(both[:0], left...), right...)
		id, ok := r.ids[string(both)] // as it mostly is: no text is made
		first, second := b.symbols.of(left), b.symbols.of(right)
		if !ok {
			id = b.symbols.of(left + right)
		}
		b.pairs.add(first, second, id, int32(rank), false)
	}
	if p.raw {
		b.bytes = r.byteTokens()
	} else {
		for i := range 256 {
			b.first[i] = b.symbols.find(string(byteRune(byte(i))))
			b.bytes[i] = noToken
			if id, ok := r.ids[string([]byte{byte(i)})]; ok {
				b.bytes[i] = id
			}
		}
	}
	spaced := spacedPiece(true)
	r.piece = func(dst []byte, t *token) []byte {
		if t.attr&normal == 0 || p.escape || t.attr&(special|userDefined) != 0 {
			return spaced(dst, t)
		}
		return spelledBytes(dst, t.text)
	}
	if p.escape {
		return func(dst []int32, s string, _ bool) []int32 {
			return b.append(dst, strings.ReplaceAll(s, " ", spaceMark))
		}, nil
	}
	return func(dst []int32, s string, _ bool) []int32 { return b.append(dst, s) }, nil
}

// spelledBytes is what a token in GPT-2's alphabet says. A character that is not of that alphabet stands for itself.
func spelledBytes(dst []byte, s string) []byte {
	for _, c := range s {
		if b, ok := runeByte(c); ok {
			dst = append(dst, b)
		} else {
			dst = append(dst, string(c)...)
		}
	}
	return dst
}

// fragments is the coder of a GGUF file: names of tokens are found first, the text between them goes to the algorithm.
type fragments struct {
	finder *finder
	body   func(dst []int32, s string, first bool) []int32 // first: the text begins the whole, or follows a name
}

func (f *fragments) encode(dst []int32, s string, special bool) []int32 {
	f.finder.pieces(s, special, func(part string, id int32) {
		if id >= 0 {
			dst = append(dst, id)
		} else {
			// Each part of text follows a name or is the first.
			dst = f.body(dst, part, true)
		}
	})
	return dst
}
