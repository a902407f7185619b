package config

import (
	"fmt"
	"strings"
)

// interpolate replaces ${NAME} and ${NAME:-default} in a value; $${ stands for a plain ${. What a variable holds is never
// read as YAML, so it cannot add keys. A problem is said in words, without any variable's value.
func interpolate(text string, env Lookup) (filled, problem string) {
	var b strings.Builder
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			b.WriteString(text)
			return b.String(), ""
		}
		if i > 0 && text[i-1] == '$' {
			b.WriteString(text[:i-1] + "${")
			text = text[i+2:]
			continue
		}
		b.WriteString(text[:i])
		inside, rest, closed := strings.Cut(text[i+2:], "}")
		if !closed {
			return "", "a ${ is not closed; write ${NAME} or ${NAME:-default}, or $${ for the characters themselves"
		}
		name, fallback, hasFallback := strings.Cut(inside, ":-")
		if !isName(name) {
			return "", fmt.Sprintf("%s is no environment variable; write ${NAME} or ${NAME:-default}, or $${ for the characters themselves", quote("${"+inside+"}"))
		}
		value, ok := env(name)
		switch {
		case ok:
			b.WriteString(value)
		case hasFallback:
			b.WriteString(fallback)
		default:
			return "", fmt.Sprintf("the environment variable %s is not set; set it, or write ${%s:-default}", name, name)
		}
		text = rest
	}
}

func isName(s string) bool {
	for i, c := range s {
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
