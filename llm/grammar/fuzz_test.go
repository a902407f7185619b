package grammar

import (
	"encoding/json"
	"testing"

	"serval"
)

// try compiles a constraint and goes a few steps: it must not panic, nor allow what it then refuses.
func try(t *testing.T, lex *Lexicon, kind, source string) {
	g, err := Compile(serval.Constraint{Kind: kind, Source: source})
	if err != nil {
		if e, ok := err.(*serval.Error); !ok || e.Code != serval.InvalidArgument {
			t.Fatalf("%#v", err)
		}
		return
	}
	s := g.Bind(lex).Start()
	bits := make([]uint64, lex.words)
	var text []byte
	for step := range 12 {
		s.Mask(bits)
		picked := int32(-1)
		for i := range int32(lex.Size()) {
			id := (i*7 + int32(step)*131) % int32(lex.Size())
			if bits[id>>6]>>(id&63)&1 != 0 && !lex.IsEnd(id) {
				picked = id
				break
			}
		}
		if picked < 0 {
			if !s.Done() {
				t.Fatalf("%s %q: nothing is allowed after %q", kind, source, text)
			}
			break
		}
		if !s.Accept(picked) {
			t.Fatalf("%s %q: after %q the allowed %q is refused", kind, source, text, lex.Piece(picked))
		}
		text = append(text, lex.Piece(picked)...)
	}
	if kind == "json_schema" && s.Done() && !s.free && !json.Valid(text) {
		t.Fatalf("%q: %q is not JSON", source, text)
	}
}

func FuzzGBNF(f *testing.F) {
	for _, s := range []string{"root ::= \"a\" b*\nb ::= [^x-z\\n]{2,3} | ( . \"\\u00e9\" )? # c\n", "root ::= %json_schema {\"type\":\"object\"} %regex \"a+\"",
		"%lazy \"x\"\nroot ::= \"x\" root | \"xy\"", "root ::= \"a\" root \"b\" | \"\""} {
		f.Add(s)
	}
	lex := Index(newWords(500))
	f.Fuzz(func(t *testing.T, source string) { try(t, lex, "gbnf", source) })
}

func FuzzRegex(f *testing.F) {
	for _, s := range []string{`^(a|b)*c{2,5}?[^\d\w-z]\p{Lu}$`, `(?i)x(?:y|z)+`, `[[:alpha:]]\x{1F600}\u0041`, `(^a|b$)`} {
		f.Add(s)
	}
	lex := Index(newWords(500))
	f.Fuzz(func(t *testing.T, source string) { try(t, lex, "regex", source) })
}

func FuzzSchema(f *testing.F) {
	for _, s := range schemas {
		f.Add(s)
	}
	lex := Index(newWords(500))
	f.Fuzz(func(t *testing.T, source string) { try(t, lex, "json_schema", source) })
}
