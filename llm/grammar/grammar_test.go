package grammar

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"testing"
)

func TestTexts(t *testing.T) {
	lex := Index(newWords(1200))
	for _, c := range []struct {
		kind, source string
		yes, no      []string
	}{
		{"choice", `["yes", "no", "not now"]`, []string{"yes", "no", "not now"}, []string{"", "n", "yes ", "not"}},
		{"regex", `[a-c]+\d{2,3}`, []string{"a12", "abc123"}, []string{"12", "a1", "a1234", "d12", "a12 "}},
		{"regex", `^(\+49|0)[1-9]\d*$`, []string{"+491", "012"}, []string{"+490", "1"}},
		{"regex", `(?i)ja|nein`, []string{"JA", "nEin"}, []string{"jein"}},
		{"regex", `[^\x00-\x7f]{2}`, []string{"éü", "日🙂"}, []string{"é", "ab", "\xc3\xa9\xc3"}},
		{"regex", `\p{Lu}\p{Ll}*`, []string{"Éa", "A"}, []string{"a", "AA"}},
		{"regex", ``, []string{""}, []string{"a"}},
		{"regex", `((a|b?)c?){60}`, []string{"", "abcc", "cab"}, []string{"d", "aad"}},
		{"regex", `([a-z]{1,30} ?)*[a-z]{2,3}`, []string{"xx", "so it is xxx"}, []string{"x", "so "}},
		{"regex", `(a|ab)(c|bcd)(d*)`, []string{"ac", "abcd", "abcdd", "abc", "abbcd"}, []string{"ab", "abbc"}},
		{"regex", `((a*)*b?)*c`, []string{"c", "aabac", "bc"}, []string{"", "a", "cb"}},
		{"json_object", ``, []string{`{}`, `{"a": [1, {"b": null}], "c": "\u00e9\ud83d\ude00"}`, "{\n  \"a\": 1\n}"},
			[]string{``, `[]`, `{"a"}`, `{"a":1,}`, `{"a":"\ud83d"}`, `{ "a":   1}`, `{"a":01}`, `{} `}},
		{"gbnf", "root ::= \"a\" b* # comment\nb ::= [x-z] |\n  \"\\u00e9\"", []string{"a", "axyz", "aéx"}, []string{"", "b", "ab"}},
		{"gbnf", `root ::= expr
expr ::= term ([-+*/] term)*
term ::= [0-9]{1,3} | "(" expr ")"`, []string{"1", "(1+2)*3", "((7))"}, []string{"", "1+", "(1", "1234"}},
		{"gbnf", `root ::= "a" root "b" | ""`, []string{"", "ab", "aaabbb"}, []string{"a", "aab", "abb"}},
		{"gbnf", `root ::= a | b
a ::= "x" a "1" | "x1"
b ::= "x" b "2" | "x2"`, []string{"x1", "xxx111", "xx22"}, []string{"xx12", "xx1"}},
		{"gbnf", `root ::= s
s ::= t s | t
t ::= [a-z]? "." `, []string{".", "a.b.", ".."}, []string{"", "a", "ab."}},
		{"gbnf", `root ::= "<" %regex "[a-z]{2}" ">" .`, []string{"<ab>é", "<ab>\n"}, []string{"<a>x", "<ab>"}},
		{"gbnf", `root ::= x{2,4} y{3}
x ::= "x"
y ::= "y"`, []string{"xxyyy", "xxxxyyy"}, []string{"xyyy", "xxxxxyyy", "xxyy"}},
		{"gbnf", "root ::= [^\"\\\\\\x7F\\x00-\\x1F]+", []string{"aé"}, []string{"\"", "\x7f", "\\"}},
	} {
		b := compileOrFail(t, c.kind, c.source).Bind(lex)
		for _, s := range c.yes {
			if !fits(b, s) {
				t.Errorf("%s %s: %q is refused", c.kind, c.source, s)
			}
		}
		for _, s := range c.no {
			if fits(b, s) {
				t.Errorf("%s %s: %q is taken", c.kind, c.source, s)
			}
		}
		r := rand.New(rand.NewPCG(1, 2))
		finished := 0
		for range 30 {
			if _, ok := walkRandom(t, b, r, 60); ok {
				finished++
			}
		}
		if finished == 0 {
			t.Errorf("%s %s: no walk came to an end", c.kind, c.source)
		}
	}
}

func TestJSONObjectWalks(t *testing.T) {
	b := compileOrFail(t, "json_object", "").Bind(newWords(3000))
	r := rand.New(rand.NewPCG(3, 4))
	finished := 0
	for range 300 {
		text, ok := walkRandom(t, b, r, 80)
		if !ok {
			continue
		}
		finished++
		var v map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	}
	if finished < 100 {
		t.Errorf("only %d walks came to an end", finished)
	}
}

// TestRegexWalks compares with Go's own regular expressions.
func TestRegexWalks(t *testing.T) {
	lex := Index(newWords(3000))
	r := rand.New(rand.NewPCG(5, 6))
	for _, source := range []string{`[a-z]+(-[a-z]+)*`, `(foo|foobar|[0-9]+)\s?x{3,}`, `.*"?.{0,5}`, `\w+@\w{1,3}\.(com|org)`, `[^a-z\s]+é*`, `(a|b)*a(a|b){6}`,
		`(?s)a.b`, `\d{4}-\d\d-\d\d(T\d\d)?`, `[\w\-.]{1,100}`, `\S+\D\W?`} {
		re := regexp.MustCompile(`^(?:` + source + `)$`)
		b := compileOrFail(t, "regex", source).Bind(lex)
		finished := 0
		for range 60 {
			text, ok := walkRandom(t, b, r, 40)
			if !ok {
				continue
			}
			finished++
			if !re.MatchString(text) {
				t.Errorf("%s: %q", source, text)
			}
		}
		if finished == 0 {
			t.Errorf("%s: no walk came to an end", source)
		}
	}
}
