package grammar

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"serval"
)

func id(t testing.TB, lex *Lexicon, piece string) int32 {
	t.Helper()
	for i := range int32(lex.Size()) {
		if string(lex.Piece(i)) == piece {
			return i
		}
	}
	t.Fatalf("the vocabulary has no %q", piece)
	return -1
}

func allows(s *State, token int32) bool {
	bits := make([]uint64, s.b.lex.words)
	s.Mask(bits)
	return bits[token>>6]>>(token&63)&1 != 0
}

// TestCharacters: a character may come in pieces, where some character that begins so may come.
func TestCharacters(t *testing.T) {
	lex := Index(newWords(600))
	s := compileOrFail(t, "regex", `[é🙂]`).Bind(lex).Start()
	if !allows(s, id(t, lex, "\xf0\x9f")) || !allows(s, id(t, lex, "\xc3")) || allows(s, id(t, lex, "\xc4")) {
		t.Error("beginnings of characters")
	}
	s.Accept(id(t, lex, "\xf0\x9f"))
	if s.Done() || !allows(s, id(t, lex, "\x99")) || allows(s, id(t, lex, "\x98")) || allows(s, id(t, lex, "a")) {
		t.Error("inside a character")
	}
	s.Accept(id(t, lex, "\x99"))
	s.Accept(id(t, lex, "\x82"))
	if !s.Done() || !s.Ended() {
		t.Error("the character is complete")
	}
}

func TestSpecial(t *testing.T) {
	lex := Index(newWords(600))
	end, special := int32(lex.Size()-1), int32(lex.Size()-2)
	s := compileOrFail(t, "gbnf", `root ::= "a" .*`).Bind(lex).Start()
	if allows(s, end) || s.Accept(end) || s.Ended() {
		t.Error("the end before it is done")
	}
	s.Accept(id(t, lex, "a"))
	if !allows(s, end) || allows(s, special) || s.Accept(special) {
		t.Error("a special token in free text")
	}
	if c := s.Clone(); !c.Accept(end) || !c.Ended() || c.Accept(end) || allows(c, end) || s.Ended() {
		t.Error("after the end")
	}
	// A literal with its text lets it in.
	s = compileOrFail(t, "gbnf", `root ::= "x<|special|>" [a-z]+`).Bind(lex).Start()
	s.Accept(id(t, lex, "x"))
	if !allows(s, special) || !s.Accept(special) || allows(s, special) || s.Accept(-1) || s.Accept(end+1) {
		t.Error("a special token of a literal")
	}
}

func TestLazy(t *testing.T) {
	lex := Index(newWords(1200))
	g := compileOrFail(t, "gbnf", "%lazy \"<tool_call>\" \"{\\\"name\" # where it binds\nroot ::= (\"<tool_call>\" | \"{\\\"name\\\":\") %json_schema {\"type\":\"integer\"} \"!\"\n")
	b := g.Bind(lex)
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 { // anything before
		s := b.Start()
		var text []byte
		for range 200 {
			token := int32(r.IntN(lex.Size() - 2))
			want := allows(s, token)
			if got := s.Clone().Accept(token); got != want {
				t.Fatalf("after %q: token %q: %v, the mask says %v", text, lex.Piece(token), got, want)
			}
			if want {
				s.Accept(token)
				text = append(text, lex.Piece(token)...)
			}
		}
		if strings.Contains(string(text), "<tool_call>") || strings.Contains(string(text), `{"name`) {
			if s.free {
				t.Fatalf("not bound by %q", text)
			}
		} else if !s.free || !s.Done() {
			t.Fatalf("bound by %q", text)
		}
	}
	s := b.Start()
	for _, c := range "so: <tool_" {
		if !s.Accept(id(t, lex, string(c))) || !s.Done() {
			t.Fatal("before the trigger")
		}
	}
	for _, c := range "call>" {
		s.Accept(id(t, lex, string(c)))
	}
	if s.Done() || allows(s, id(t, lex, "x")) || !allows(s, id(t, lex, "7")) {
		t.Error("after the trigger")
	}
	s.Accept(id(t, lex, "7"))
	s.Accept(id(t, lex, "!"))
	if !s.Done() || !s.Ended() || allows(s, id(t, lex, " ")) {
		t.Error("after the grammar")
	}
	// A trigger inside a token, with something after it: the token must fit as a whole.
	if s := b.Start(); !s.Accept(id(t, lex, `{"name`)) || s.Done() || allows(s, id(t, lex, " ")) || !allows(s, id(t, lex, `"`)) {
		t.Error("a trigger that is a token")
	}
	if s := b.Start(); !s.Accept(id(t, lex, "<tool_call>")) || !s.Accept(id(t, lex, "12")) {
		t.Error("a trigger in one token")
	}
	if _, err := Lazy([]string{"x"}, compileOrFail(t, "regex", "a+")); err == nil {
		t.Error("a trigger that the grammar does not have")
	}
	if _, err := Compile(serval.Constraint{Kind: "gbnf", Source: "%lazy \"x\"\nroot ::= \"y\""}); err == nil {
		t.Error("a trigger that the GBNF does not have")
	}
	if l, err := Lazy([]string{"aa"}, compileOrFail(t, "regex", "a+")); err != nil || !l.Bind(lex).Start().Done() {
		t.Error(err)
	}
}

func TestForced(t *testing.T) {
	lex := Index(newWords(600))
	s := compileOrFail(t, "json_schema", `{"type":"object","properties":{"kind":{"enum":["circle","square"]}},"required":["kind"]}`).Bind(lex).Start()
	if got := s.Forced(100); string(got) != "{" {
		t.Errorf("%q", got)
	}
	s.AcceptText([]byte(`{"k`))
	if got := s.Forced(100); string(got) != `ind":` {
		t.Errorf("%q", got)
	}
	s.AcceptText([]byte(`ind":"s`))
	if got := s.Forced(4); string(got) != `quar` {
		t.Errorf("%q", got)
	}
}

// TestAmbiguous: grammars with ever more ways to read a text stay in bounds, and what finishes is right.
func TestAmbiguous(t *testing.T) {
	lex := Index(newWords(600))
	for _, source := range []string{
		"root ::= s\ns ::= \"a\" s s | \"a\"",
		"root ::= s \"!\"\ns ::= \"a\" s \"b\" | \"a\" s \"c\" | \"a\" s | \"\"",
		"root ::= (\"a\" | \"aa\" | \"aaa\")*",
		"root ::= x{0,50} \"!\"\nx ::= y{0,20}\ny ::= \"a\"?",
		"root ::= a | b | c\na ::= \"a\" root root | \"a\"\nb ::= \"a\" root \"x\"? root | \"a\"\nc ::= \"a\" c a | \"a\"",
	} {
		b := compileOrFail(t, "gbnf", source).Bind(lex)
		s := b.Start()
		for i := range 300 {
			if !s.Accept(id(t, lex, "a")) {
				break
			}
			if len(s.at.items) > maxItems {
				t.Fatalf("%s: %d items after %d", source, len(s.at.items), i)
			}
		}
		bits := make([]uint64, lex.words)
		s.Mask(bits)
	}
}

// TestShared: states of one grammar run beside each other, clones too.
func TestShared(t *testing.T) {
	b := compileOrFail(t, "json_schema", schemas[3]).Bind(newWords(800))
	start := b.Start()
	var wait sync.WaitGroup
	for n := range 4 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			r := rand.New(rand.NewPCG(uint64(n), 1))
			for range 10 {
				walkRandom(t, b, r, 30)
				c := start.Clone()
				c.Mask(make([]uint64, b.lex.words))
				c.AcceptText([]byte(`{"steps":`))
			}
		}()
	}
	wait.Wait()
}

func TestCache(t *testing.T) {
	c := NewCache(Index(newWords(600)))
	want := serval.Constraint{Kind: "regex", Source: "a+", Param: "x"}
	a, err := c.Bind(want)
	if err != nil {
		t.Fatal(err)
	}
	want.Param = "y"
	if b, err := c.Bind(want); err != nil || a != b {
		t.Errorf("made twice: %v", err)
	}
	if _, err := c.Bind(serval.Constraint{Kind: "regex", Source: "(", Param: "z"}); err == nil || err.(*serval.Error).Param != "z" {
		t.Errorf("%v", err)
	}
	for i := range 6 {
		if _, err := c.Bind(serval.Constraint{Kind: "json_schema", Source: `{"type":"string","maxLength":` + itoa(10000+i) + `}`}); err != nil {
			t.Fatal(err)
		}
	}
	if c.states > maxCached || c.recent.Len() != len(c.byKey) || c.recent.Len() > 6 {
		t.Errorf("%d states of %d grammars are kept", c.states, c.recent.Len())
	}
	if b, err := c.Bind(want); err != nil || a == b {
		t.Errorf("not forgotten: %v", err)
	}
}
