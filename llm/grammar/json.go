package grammar

// The parts of JSON (RFC 8259). Whitespace is bounded, so that a model cannot go on with it for ever: between two tokens there
// is none, one space, or a line's end with up to maxIndent spaces or tabs.
const maxIndent = 64

var (
	digit     = set{{'0', '9'}}
	hexDigit  = set{{'0', '9'}, {'A', 'F'}, {'a', 'f'}}
	unescaped = set{{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}.not()
)

// escapes are the characters with a short escape.
var escapes = []struct{ char, letter rune }{
	{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'\b', 'b'}, {'\f', 'f'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'},
}

// jsonChar is a character of a set as it stands in a JSON string: as itself, or by its short escape. Control characters
// without a short escape are left out.
func jsonChar(s set) *expr {
	var letters []span
	for _, e := range escapes {
		if s.has(e.char) {
			letters = append(letters, span{e.letter, e.letter})
		}
	}
	out := class(s.and(unescaped))
	if len(letters) > 0 {
		out = alt(out, seq(text(`\`), class(makeSet(letters...))))
	}
	return out
}

// jsonText is a text inside a JSON string, each character in its one usual spelling.
func jsonText(s string) *expr { return text(escape(s)) }

func escape(s string) string {
	const hex = "0123456789abcdef"
	out := make([]byte, 0, len(s)+8)
next:
	for i := 0; i < len(s); i++ {
		for _, e := range escapes {
			if rune(s[i]) == e.char && e.char != '/' {
				out = append(out, '\\', byte(e.letter))
				continue next
			}
		}
		if s[i] < 0x20 {
			out = append(out, '\\', 'u', '0', '0', hex[s[i]>>4], hex[s[i]&15])
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

// jsonAny is any character of a JSON string in any spelling; escaped surrogates come in pairs.
func jsonAny() *expr {
	hex := class(hexDigit)
	plain := alt(
		seq(class(makeSet(span{'0', '9'}, span{'A', 'C'}, span{'E', 'F'}, span{'a', 'c'}, span{'e', 'f'})), hex, hex, hex),
		seq(class(of("dD")), class(set{{'0', '7'}}), hex, hex))
	pair := seq(class(of("dD")), class(of("89abAB")), hex, hex, text(`\u`), class(of("dD")), class(of("cdefCDEF")), hex, hex)
	return alt(class(unescaped), seq(text(`\`), alt(class(of(`"\/bfnrt`)), seq(text("u"), alt(plain, pair)))))
}

// maker gathers rules. Rule 0 is the root.
type maker struct {
	rules []rule
	json  map[string]int // the rules of JSON by name
}

// rule adds a rule without a body yet.
func (m *maker) rule(name, place string, shared bool) int {
	m.rules = append(m.rules, rule{name: name, place: place, body: never, shared: shared})
	return len(m.rules) - 1
}

// part returns a call of a shared rule, made when it is first asked for.
func (m *maker) part(name string, body func() *expr) *expr {
	id, ok := m.json[name]
	if !ok {
		if m.json == nil {
			m.json = map[string]int{}
		}
		id = m.rule(name, "", true)
		m.json[name] = id
		m.rules[id].body = body()
	}
	return call(id)
}

// space is what may stand between two tokens.
func (m *maker) space() *expr {
	return maybe(m.part("space", func() *expr {
		return alt(text(" "), seq(maybe(text("\r")), text("\n"), repeat(class(of(" \t")), 0, maxIndent)))
	}))
}

// str is any string.
func (m *maker) str() *expr {
	return m.part("string", func() *expr { return seq(text(`"`), star(jsonAny()), text(`"`)) })
}

// Numbers have bounded parts, so that every reader can hold them: 15 digits and two of the exponent.
const maxDigits = 15

func natural() *expr {
	return alt(text("0"), seq(class(set{{'1', '9'}}), repeat(class(digit), 0, maxDigits-1)))
}

func (m *maker) integer() *expr {
	return m.part("integer", func() *expr { return seq(maybe(text("-")), natural()) })
}

func (m *maker) number() *expr {
	return m.part("number", func() *expr {
		return seq(maybe(text("-")), natural(), maybe(seq(text("."), repeat(class(digit), 1, maxDigits))),
			maybe(seq(class(of("eE")), maybe(class(of("+-"))), repeat(class(digit), 1, 2))))
	})
}

// value is any JSON value.
func (m *maker) value() *expr {
	return m.part("value", func() *expr {
		return alt(m.object(), m.array(), m.str(), m.number(), text("true"), text("false"), text("null"))
	})
}

// object is any object.
func (m *maker) object() *expr {
	return m.part("object", func() *expr {
		member := seq(m.str(), m.colon(), m.value())
		return m.list("{", "}", member, 0, -1)
	})
}

// array is any array.
func (m *maker) array() *expr {
	return m.part("array", func() *expr { return m.list("[", "]", m.value(), 0, -1) })
}

func (m *maker) colon() *expr { return seq(text(":"), m.space()) }
func (m *maker) comma() *expr { return seq(text(","), m.space()) }

// list is an array or object of equal elements.
func (m *maker) list(open, shut string, element *expr, least, most int) *expr {
	if most == 0 {
		return seq(text(open), m.space(), text(shut))
	}
	more := -1
	if most > 0 {
		more = most - 1
	}
	body := seq(element, repeat(seq(m.comma(), element), max(0, least-1), more), m.space())
	if least <= 0 {
		body = maybe(body)
	}
	return seq(text(open), m.space(), body, text(shut))
}
