package vocab

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Options say how a text is read.
type Options struct {
	Around  bool // tokens are added before and after the text as the model was trained to have them: BOS, EOS, [CLS], [SEP]
	Special bool // names of special tokens in the text are those tokens; else they are text as any other
}

// attr is a set of llama.cpp's attributes of a token.
type attr uint8

const (
	normal      attr = 1 << iota
	unknown          // stands for what is no token
	controlling      // has no text: BOS, EOS, the marks of a chat
	userDefined      // was added by users: found in text before anything else is
	byteToken        // is one byte
	unused
	undefined

	special = unknown | controlling // is not shown
)

// token is an entry of the vocabulary.
type token struct {
	text  string // as the model's file spells it
	attr  attr
	score float64
}

// coder turns the text between added tokens into tokens.
type coder interface {
	encode(dst []int32, text string, special bool) []int32
}

// slot is a part of what a text is put into: a token that is added, or the place of a text.
type slot struct {
	id   int32 // of the token; noToken for a text
	text int   // which: 0 or 1
	kind int32 // the token type id, for models that are told the two texts of a pair apart
}

// Vocabulary is a model's tokens and how text is made of them.
type Vocabulary struct {
	name    string // of the algorithm, for people: "bpe (llama-bpe)"
	tokens  []token
	ids     map[string]int32
	coder   coder
	single  []slot // a text
	pair    []slot // two texts; nil: the model has no way to take two
	pieces  []byte // of all tokens
	ends    []int32
	stops   []bool // by token: it ends an answer
	bos     int32
	eos     int32
	unk     int32
	sep     int32
	pad     int32
	mask    int32
	pieceAt []uint32
	trim    bool // a decoded text loses the space that encoding put before it
}

// Kind names the algorithm and its variant, for people.
func (v *Vocabulary) Kind() string { return v.name }

// Size is how many tokens there are; ids are below it.
func (v *Vocabulary) Size() int { return len(v.tokens) }

// Encode appends the tokens of text to dst.
func (v *Vocabulary) Encode(dst []int32, text string, o Options) []int32 {
	text = validUTF8(text)
	if !o.Around {
		return v.coder.encode(dst, text, o.Special)
	}
	for _, s := range v.single {
		if s.id >= 0 {
			dst = append(dst, s.id)
		} else {
			dst = v.coder.encode(dst, text, o.Special)
		}
	}
	return dst
}

// EncodePair appends the tokens of two texts, as a reranker takes a query and a document, and for each the type id that tells
// the texts apart. ok is false when the vocabulary has no way to put two texts together.
func (v *Vocabulary) EncodePair(ids, types []int32, a, b string, special bool) (_, _ []int32, ok bool) {
	if v.pair == nil {
		return ids, types, false
	}
	texts := [2]string{validUTF8(a), validUTF8(b)}
	for _, s := range v.pair {
		from := len(ids)
		if s.id >= 0 {
			ids = append(ids, s.id)
		} else {
			ids = v.coder.encode(ids, texts[s.text], special)
		}
		for range len(ids) - from {
			types = append(types, s.kind)
		}
	}
	return ids, types, true
}

// Around is how many tokens Options.Around adds to a text.
func (v *Vocabulary) Around() int {
	n := 0
	for _, s := range v.single {
		if s.id >= 0 {
			n++
		}
	}
	return n
}

// Piece is what the token adds to a text: raw bytes, which need not be whole characters; of a special token its name. The slice
// belongs to v. It is nil for an id that is none.
func (v *Vocabulary) Piece(id int32) []byte {
	if id < 0 || int(id) >= len(v.tokens) {
		return nil
	}
	from, to := v.pieceAt[id], v.pieceAt[id+1]
	return v.pieces[from:to:to]
}

// Name is the token as the model's file spells it; "" for an id that is none.
func (v *Vocabulary) Name(id int32) string {
	if id < 0 || int(id) >= len(v.tokens) {
		return ""
	}
	return v.tokens[id].text
}

// IsSpecial tells whether the token has no text of its own: control tokens and the unknown token.
func (v *Vocabulary) IsSpecial(id int32) bool {
	return id >= 0 && int(id) < len(v.tokens) && v.tokens[id].attr&special != 0
}

// IsEnd tells whether the token ends an answer: the model's end of text, of turn or of message.
func (v *Vocabulary) IsEnd(id int32) bool { return id >= 0 && int(id) < len(v.stops) && v.stops[id] }

// Ends are the tokens for which IsEnd holds, in order. The slice belongs to v.
func (v *Vocabulary) Ends() []int32 { return v.ends }

// BOS is the token that begins a text; false when the model has none.
func (v *Vocabulary) BOS() (int32, bool) { return v.bos, v.bos >= 0 }

// EOS is the token that ends a text; false when the model has none.
func (v *Vocabulary) EOS() (int32, bool) { return v.eos, v.eos >= 0 }

// Pad is the token that fills up the shorter rows of a batch; false when the model has none.
func (v *Vocabulary) Pad() (int32, bool) { return v.pad, v.pad >= 0 }

// Find is the token that the model's file spells so; false when there is none.
func (v *Vocabulary) Find(text string) (int32, bool) {
	id, ok := v.ids[text]
	return id, ok
}

// Decode is the text of the tokens, with the names of special ones if special is set. Bytes that are no valid UTF-8 stay as
// they are. The space that the model's tokenizer puts before a text is taken off again.
func (v *Vocabulary) Decode(ids []int32, special bool) string {
	var b strings.Builder
	trim := v.trim
	for i, id := range ids {
		p := v.Piece(id)
		if v.IsSpecial(id) {
			trim = trim && i == 0 && id == v.bos
			if !special {
				p = nil
			}
		} else {
			if trim && len(p) > 0 && p[0] == ' ' {
				p = p[1:]
			}
			trim = false
		}
		b.Write(p)
	}
	return b.String()
}

// seal makes what is looked up from the tokens and the ends.
func (v *Vocabulary) seal(piece func(dst []byte, t *token) []byte, ends map[int32]bool) {
	v.pieceAt = make([]uint32, len(v.tokens)+1)
	for i := range v.tokens {
		v.pieces = piece(v.pieces, &v.tokens[i])
		v.pieceAt[i+1] = uint32(len(v.pieces))
	}
	v.stops = make([]bool, len(v.tokens))
	for id := range ends {
		v.stops[id] = true
		v.ends = append(v.ends, id)
	}
	slices.Sort(v.ends)
}

// validUTF8 reads each byte of s that is not part of a valid character as U+FFFD.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 64)
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}
