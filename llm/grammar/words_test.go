package grammar

import (
	"math/rand/v2"
	"strings"
	"testing"

	"serval"
)

// words is a vocabulary for tests: every byte, pieces that real vocabularies have, and made-up words up to its size. The last
// two tokens are special, the very last ends an answer.
type words struct{ list [][]byte }

func (w *words) Size() int               { return len(w.list) }
func (w *words) Piece(id int32) []byte   { return w.list[id] }
func (w *words) IsSpecial(id int32) bool { return int(id) >= len(w.list)-2 }
func (w *words) IsEnd(id int32) bool     { return int(id) == len(w.list)-1 }

const pieces = `{" "} "} }} {"name {"id ": ", "," ":" "," "],["] [] {} [{ }] }, ], "" ": ": [ ": { ": " , " 00 000 10 12 19 20 2024 true false null ` +
	`tr ue fal se \" \\ \n \t \u \u00 é ü 日本 日 語 🙂 "type name value id items 1. 0. .5 e+ E- -1 -0 "]} "}] "}} \u00e9 \ud83d <tool_call> T12 : Z"`

func newWords(size int) *words {
	w := &words{}
	seen := map[string]bool{}
	add := func(s string) {
		if s != "" && !seen[s] {
			seen[s] = true
			w.list = append(w.list, []byte(s))
		}
	}
	for b := range 256 {
		add(string([]byte{byte(b)}))
	}
	for _, p := range strings.Split(pieces, " ") {
		add(p)
		add(" " + p)
		add("\n" + p)
	}
	add("\xf0\x9f")
	add("\x99\x82\"")
	add("\xc3")
	for n := 2; n <= 16; n++ {
		add(strings.Repeat(" ", n))
		add("\n" + strings.Repeat(" ", n))
		add("\n" + strings.Repeat(" ", n) + `"`)
	}
	r := rand.New(rand.NewPCG(1, 1))
	syllables := []string{"an", "be", "co", "da", "e", "for", "gi", "ho", "in", "ja", "ka", "lo", "ma", "no", "or", "pre", "qui", "re", "st", "tion", "un", "ve", "wa", "x", "y", "zi", "ß", "я", "そ"}
	for len(w.list) < size-2 {
		s := ""
		for range 1 + r.IntN(5) {
			s += syllables[r.IntN(len(syllables))]
		}
		switch r.IntN(12) {
		case 0, 1, 2, 3:
			s = " " + s
		case 4:
			s = strings.ToUpper(s)
		case 5:
			s += `"`
		case 6:
			s += `",`
		case 7:
			s = `"` + s
		}
		add(s)
	}
	w.list = append(w.list[:size-2], []byte("<|special|>"), []byte("<|end|>"))
	return w
}

func compileOrFail(t testing.TB, kind, source string) *Grammar {
	t.Helper()
	g, err := Compile(serval.Constraint{Kind: kind, Source: source})
	if err != nil {
		t.Fatalf("%s %s: %v", kind, source, err)
	}
	return g
}

// fits says whether a whole text belongs to a grammar.
func fits(b *Bound, text string) bool {
	s := b.Start()
	return s.AcceptText([]byte(text)) && s.Done()
}

// walkRandom goes on with random allowed tokens until the answer may end, preferring the end more and more, and returns the
// text. At each step, some tokens are tried: the mask and Accept must agree.
func walkRandom(t testing.TB, b *Bound, r *rand.Rand, most int) (string, bool) {
	t.Helper()
	s := b.Start()
	bits := make([]uint64, b.lex.words)
	var out []byte
	end := int32(b.lex.Size() - 1)
	for step := 0; ; step++ {
		s.Mask(bits)
		if got := bits[end>>6]>>(end&63)&1 != 0; got != s.Done() {
			t.Fatalf("after %q: the end is allowed: %v, done: %v", out, got, s.Done())
		}
		if s.Done() && (r.IntN(3) == 0 || step > most/2) {
			return string(out), true
		}
		if step > most {
			return string(out), false
		}
		var allowed []int32
		for id := range int32(b.lex.Size()) {
			if bits[id>>6]>>(id&63)&1 != 0 && id != end {
				allowed = append(allowed, id)
			}
		}
		if len(allowed) == 0 {
			if s.Done() {
				return string(out), true
			}
			t.Fatalf("after %q: nothing is allowed", out)
		}
		for range 3 {
			id := int32(r.IntN(b.lex.Size()))
			if got, want := s.Clone().Accept(id), bits[id>>6]>>(id&63)&1 != 0; got != want && len(b.lex.Piece(id)) <= maxPiece {
				t.Fatalf("after %q: token %q: the mask says %v, Accept says %v", out, b.lex.Piece(id), want, got)
			}
		}
		id := allowed[r.IntN(len(allowed))]
		if step > most/4 { // short tokens, and those that are likely to close something
			short := r.IntN(2) == 0
			for range 40 {
				c := allowed[r.IntN(len(allowed))]
				if p := b.lex.Piece(c); short && len(p) == 1 || strings.ContainsAny(string(p), `"}]`) {
					id = c
					break
				}
			}
		}
		if !s.Accept(id) {
			t.Fatalf("after %q: the allowed token %q was refused", out, b.lex.Piece(id))
		}
		out = append(out, b.lex.Piece(id)...)
	}
}
