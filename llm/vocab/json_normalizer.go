package vocab

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// normalizerOf makes the function that prepares text.
func normalizerOf(p *part) (func(string) string, error) {
	if p.raw == nil {
		return func(s string) string { return s }, nil
	}
	switch p.kind {
	case "NFC":
		return normalForm(norm.NFC), nil
	case "NFD":
		return normalForm(norm.NFD), nil
	case "NFKC":
		return normalForm(norm.NFKC), nil
	case "NFKD":
		return normalForm(norm.NFKD), nil
	case "Lowercase":
		return lowerCase, nil
	case "StripAccents":
		return func(s string) string { return without(s, unicode.M) }, nil
	case "BertNormalizer":
		return bertNormalizerOf(p)
	case "Prepend":
		var c struct{ Prepend string }
		if err := p.read(&c); err != nil {
			return nil, err
		}
		return func(s string) string {
			if s == "" {
				return s
			}
			return c.Prepend + s
		}, nil
	case "Strip":
		c := struct {
			Left  bool `json:"strip_left"`
			Right bool `json:"strip_right"`
		}{}
		if err := p.read(&c); err != nil {
			return nil, err
		}
		return func(s string) string {
			if c.Left {
				s = s[stripRight(s, 0):]
			}
			if c.Right {
				s = s[:stripLeft(s, len(s))]
			}
			return s
		}, nil
	case "Replace":
		return replacer(p)
	case "Sequence":
		return normalizers(p)
	}
	return nil, fmt.Errorf("%q is not supported; %s", p.kind, known("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents",
		"BertNormalizer", "Prepend", "Strip", "Replace", "Sequence"))
}

// joiner is U+034F, which Go's normalization puts into every run of more than 30 marks.
const joiner = "\u034F"

// normalForm is a normal form as Unicode has it. Of a run of more than 30 marks each 30 are put in order by themselves: Go's library
// bounds its work so.
func normalForm(form norm.Form) func(string) string {
	return func(s string) string {
		out := form.String(s)
		if !strings.Contains(out, joiner) {
			return out
		}
		// Nothing goes over a joiner that stands in the text, so the text can be cut there and what was put in be taken out.
		parts := strings.Split(s, joiner)
		for i := range parts {
			parts[i] = strings.ReplaceAll(form.String(parts[i]), joiner, "")
		}
		return strings.Join(parts, joiner)
	}
}

// without is s without the characters of a class.
func without(s string, class *unicode.RangeTable) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(class, r) {
			return -1
		}
		return r
	}, s)
}

func bertNormalizerOf(p *part) (func(string) string, error) {
	c := struct {
		Clean     bool  `json:"clean_text"`
		Chinese   bool  `json:"handle_chinese_chars"`
		Accents   *bool `json:"strip_accents"`
		Lowercase bool
	}{Clean: true, Chinese: true, Lowercase: true}
	if err := p.read(&c); err != nil {
		return nil, err
	}
	n := bertNormalizer{table: classes8(), clean: c.Clean, lines: true, chinese: c.Chinese, accents: c.Lowercase, lowercase: c.Lowercase}
	if c.Accents != nil {
		n.accents = *c.Accents
	}
	return n.apply, nil
}

// pattern is what text is searched for: a string, or an expression.
type pattern struct {
	String *string
	Regex  *string
}

func replacer(p *part) (func(string) string, error) {
	var c struct {
		Pattern pattern
		Content string
	}
	if err := p.read(&c); err != nil {
		return nil, err
	}
	switch {
	case c.Pattern.String != nil && *c.Pattern.String != "":
		return func(s string) string { return strings.ReplaceAll(s, *c.Pattern.String, c.Content) }, nil
	case c.Pattern.Regex != nil && *c.Pattern.Regex == " {2,}":
		return func(s string) string { return replaceSpaces(s, c.Content) }, nil
	case c.Pattern.Regex != nil:
		return nil, fmt.Errorf("in Replace: the expression %q is not supported", *c.Pattern.Regex)
	}
	return nil, fmt.Errorf("in Replace: no pattern")
}

// replaceSpaces puts content in place of two or more spaces.
func replaceSpaces(s, content string) string {
	if !strings.Contains(s, "  ") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		end := tail(text{s: s}, i, " ")
		switch {
		case end > i+1:
			b.WriteString(content)
			i = end
		default:
			b.WriteByte(s[i])
			i++
		}
	}
	return b.String()
}

func normalizers(p *part) (func(string) string, error) {
	var c struct{ Normalizers []part }
	if err := p.read(&c); err != nil {
		return nil, err
	}
	var steps []func(string) string
	for i := range c.Normalizers {
		step, err := normalizerOf(&c.Normalizers[i])
		if err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	return func(s string) string {
		for _, step := range steps {
			s = step(s)
		}
		return s
	}, nil
}
