package template

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isSpace is Python's str.isspace of a character.
func isSpace(r rune) bool {
	return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f
}

// runeLen is the length of the first character in bytes.
func runeLen(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}

func runeCount(s string) int { return utf8.RuneCountInString(s) }

// ascii says whether characters are bytes.
func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// cut is characters i to j of s.
func cut(s string, i, j int) string {
	if i >= j {
		return ""
	}
	if ascii(s) {
		return s[i:min(j, len(s))]
	}
	start, n := -1, 0
	for at := range s {
		if n == i {
			start = at
		}
		if n == j {
			return s[start:at]
		}
		n++
	}
	if start < 0 {
		return ""
	}
	return s[start:]
}

// expanding are the characters whose upper case is longer than one.
var expanding = strings.NewReplacer("ß", "SS", "ŉ", "ʼN", "ǰ", "J̌", "ﬀ", "FF", "ﬁ", "FI", "ﬂ", "FL", "ﬃ", "FFI", "ﬄ", "FFL", "ﬅ", "ST",
	"ﬆ", "ST", "և", "ԵՒ", "ΐ", "Ϊ́", "ΰ", "Ϋ́", "ẖ", "H̱", "ẗ", "T̈", "ẘ", "W̊", "ẙ", "Y̊", "ẚ", "Aʾ")

func upper(s string) string {
	if ascii(s) {
		return strings.ToUpper(s)
	}
	return strings.ToUpper(expanding.Replace(s))
}

func lower(s string) string {
	if ascii(s) || !strings.ContainsAny(s, "ΣİΣ") {
		return strings.ToLower(s)
	}
	runes := []rune(s)
	var b strings.Builder
	for i, c := range runes {
		switch {
		case c == 'İ':
			b.WriteString("i̇")
		case c == 'Σ' && i > 0 && unicode.IsLetter(runes[i-1]) && (i+1 == len(runes) || !unicode.IsLetter(runes[i+1])):
			b.WriteRune('ς')
		default:
			b.WriteRune(unicode.ToLower(c))
		}
	}
	return b.String()
}

func capitalize(s string) string {
	if s == "" {
		return ""
	}
	n := runeLen(s)
	return titleRune(s[:n]) + lower(s[n:])
}

// titleRune is the title case of one character.
func titleRune(c string) string {
	r, n := utf8.DecodeRuneInString(c)
	if u := expanding.Replace(c); u != c {
		m := runeLen(u)
		return u[:m] + strings.ToLower(u[m:])
	}
	if n == 0 {
		return c
	}
	return string(unicode.ToTitle(r))
}

func cased(r rune) bool { return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) }

// title is str.title.
func title(s string) string {
	var b strings.Builder
	before := false
	for _, c := range s {
		if before {
			b.WriteString(lower(string(c)))
		} else {
			b.WriteString(titleRune(string(c)))
		}
		before = cased(c)
	}
	return b.String()
}

// isUpper is str.isupper, or with lower str.islower.
func isUpper(s string, low bool) bool {
	any := false
	for _, c := range s {
		switch {
		case unicode.IsTitle(c), unicode.IsUpper(c) == low && cased(c):
			return false
		case cased(c):
			any = true
		}
	}
	return any
}

// splitLines is str.splitlines.
func splitLines(s string, keep bool) []string {
	var lines []string
	for s != "" {
		end := strings.IndexFunc(s, func(r rune) bool {
			return r >= '\n' && r <= '\r' || r >= 0x1c && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029
		})
		if end < 0 {
			return append(lines, s)
		}
		n := runeLen(s[end:])
		if strings.HasPrefix(s[end:], "\r\n") {
			n = 2
		}
		if keep {
			lines = append(lines, s[:end+n])
		} else {
			lines = append(lines, s[:end])
		}
		s = s[end+n:]
	}
	return lines
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

// escape is markupsafe's escape.
func (r *run) escape(v any) markup {
	if m, ok := v.(markup); ok {
		return m
	}
	s := escaper.Replace(r.str(v))
	r.alloc(len(s))
	return markup(s)
}

// str is Python's str().
func (r *run) str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case markup:
		return string(v)
	case *undefined:
		return ""
	case int64:
		return strconv.FormatInt(v, 10)
	}
	b := r.repr(nil, v)
	return string(b)
}

// repr appends Python's repr().
func (r *run) repr(b []byte, v any) []byte {
	start := len(b)
	r.step(1)
	r.enter()
	switch v := v.(type) {
	case nil:
		b = append(b, "None"...)
	case bool:
		if v {
			b = append(b, "True"...)
		} else {
			b = append(b, "False"...)
		}
	case int64:
		b = strconv.AppendInt(b, v, 10)
	case *big.Int:
		b = v.Append(b, 10)
	case float64:
		b = append(b, floatText(v)...)
	case string:
		b = quote(b, v)
	case markup:
		b = append(quote(append(b, "Markup("...), string(v)), ')')
	case *undefined:
		b = append(b, "Undefined"...)
	case *list:
		b = r.reprItems(b, v.items, v.tuple)
	case *Dict:
		b = append(b, '{')
		for i, k := range v.keys {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(r.repr(b, k), ": "...)
			b = r.repr(b, v.values[i])
		}
		b = append(b, '}')
	case *span:
		b = fmt.Appendf(b, "range(%d, %d", v.start, v.stop)
		if v.step != 1 {
			b = fmt.Appendf(b, ", %d", v.step)
		}
		b = append(b, ')')
	case *view:
		b = append(append(b, typeName(v)...), '(')
		b = append(r.reprItems(b, r.collect(v), false), ')')
	case *namespace:
		b = append(r.repr(append(b, "<Namespace "...), v.attrs), '>')
	case *loop:
		b = fmt.Appendf(b, "<LoopContext %d/%d>", v.index+1, v.length())
	case *macro:
		b = fmt.Appendf(b, "<Macro '%s'>", v.decl.name)
	default:
		b = fmt.Appendf(b, "<%s object>", typeName(v))
	}
	r.leave()
	r.alloc(min(len(b)-start, 64))
	return b
}

func (r *run) reprItems(b []byte, items []any, tuple bool) []byte {
	open, end := byte('['), byte(']')
	if tuple {
		open, end = '(', ')'
	}
	b = append(b, open)
	for i, item := range items {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = r.repr(b, item)
	}
	if tuple && len(items) == 1 {
		b = append(b, ',')
	}
	r.step(len(b) / 1024)
	return append(b, end)
}

// quote appends the repr of a string.
func quote(b []byte, s string) []byte {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	b = append(b, q)
	for _, c := range s {
		switch {
		case c == '\\' || c == rune(q):
			b = append(b, '\\', byte(c))
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case unicode.IsPrint(c):
			b = utf8.AppendRune(b, c)
		case c < 0x100:
			b = fmt.Appendf(b, `\x%02x`, c)
		case c < 0x10000:
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = fmt.Appendf(b, `\U%08x`, c)
		}
	}
	return append(b, q)
}
