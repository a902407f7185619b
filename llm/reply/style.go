package reply

import (
	"strings"
)

// Style is how a model writes reasoning and tool calls. The zero Style writes neither. It is a value; its methods give changed
// copies.
type Style struct {
	// TakesTools says that the template shows tools and earlier calls to the model, in a form that Parser reads.
	TakesTools bool
	// TakesSystem says that the template shows system messages.
	TakesSystem bool

	calls     *format // nil: unknown
	described bool    // tools and calls are shown by Describe
	thinks    tags    // around reasoning; zero: none
	thinking  bool    // the prompt ends inside the reasoning
}

// tags are what stands before and after something.
type tags struct{ open, close string }

// kind is a family of forms.
type kind uint8

const (
	objects kind = iota + 1 // a JSON object with the name and the arguments
	named                   // the name, then the arguments as JSON
	tagged                  // the name, then each argument in tags
	harmony                 // messages with a channel and a recipient
)

func (k kind) String() string {
	return [...]string{"", "objects", "named", "tagged", "harmony"}[k]
}

// format is the form of calls. Its texts are the model's own, to the space; the parser overlooks white space in them.
type format struct {
	kind kind
	// lead stands before the first name, mid between a name and its arguments, sep between arguments and the next name, tail
	// after the last arguments. single: there is no sep.
	lead, mid, sep, tail pattern
	single               bool
	// Of objects: what stands before the object, after it, and the keys.
	open, close      string
	nameKey, argsKey string
	list             bool // the objects stand in an array
	// Of tagged: what stands before an argument's key, between key and value, and after the value; tail ends the call.
	key, value, end string
	// typed: the tag says whether the value is a string, after the key.
	typed bool
}

// pattern is text with places in it where a call's id or number stands: between the parts.
type pattern []string

func (p pattern) first() string {
	if len(p) == 0 {
		return ""
	}
	return p[0]
}

func (p pattern) String() string { return strings.Join(p, "…") }

// Format names the form of calls: "objects", "named", "tagged", "harmony", or "" if none is known.
func (s Style) Format() string {
	if s.calls == nil {
		return ""
	}
	return s.calls.kind.String()
}

// Reasons says that the model sets its reasoning apart.
func (s Style) Reasons() bool {
	return s.thinks.open != "" || s.calls != nil && s.calls.kind == harmony
}

// At is the style of an answer to this prompt: reasoning may have been begun in it.
func (s Style) At(prompt string) Style {
	s.thinking = s.thinks.open != "" && strings.HasSuffix(strings.TrimSpace(prompt), strings.TrimSpace(s.thinks.open))
	return s
}

// Reasoning is the style with other tags around reasoning, for a model whose template does not show them. Both empty: none.
func (s Style) Reasoning(open, close string) Style {
	s.thinks = tags{open, close}
	return s
}

// hermes is the form that most models have seen, and the one of Described.
func hermes() *format {
	return &format{
		kind: objects, lead: pattern{"<tool_call>\n{\"name\": \""}, mid: pattern{`", "arguments": `}, sep: pattern{"}\n</tool_call>\n<tool_call>\n{\"name\": \""},
		tail: pattern{"}\n</tool_call>"}, open: "<tool_call>", close: "</tool_call>", nameKey: "name", argsKey: "arguments",
	}
}

// Described is the style of a model that Describe tells about the tools.
func (s Style) Described() Style {
	s.calls = hermes()
	s.described = true
	return s
}

// marker is the text that a call begins with, "" if it begins with its JSON.
func (f *format) marker() string {
	switch f.kind {
	case objects:
		return f.open
	case harmony:
		return channelTag
	}
	m, _ := f.parts()
	return m
}

// parts are the lead's first tag, or all of it where it has none, and what follows up to the name.
func (f *format) parts() (marker string, rest pattern) {
	text := strings.TrimLeft(f.lead.first(), white)
	end := len(text)
	if text != "" {
		switch text[0] {
		case '<':
			end = strings.IndexByte(text, '>') + 1
		case '[':
			end = strings.IndexByte(text, ']') + 1
		}
	}
	if end == 0 {
		end = len(text)
	}
	marker = text[:end]
	if strings.TrimSpace(text[end:]) == "" && len(f.lead) < 2 {
		return strings.TrimSpace(marker), nil
	}
	return strings.TrimSpace(marker), append(pattern{text[end:]}, f.lead[1:]...)
}

// Marker says whether a special token's text must be fed to the parser, because markers are made of it.
func (p *Parser) Marker(token string) bool {
	if strings.TrimSpace(token) == "" {
		return false
	}
	for _, m := range p.markers {
		if strings.Contains(m, token) {
			return true
		}
	}
	return false
}

// texts are all markers of a style.
func (s *Style) texts() []string {
	list := []string{s.thinks.open, s.thinks.close}
	if f := s.calls; f != nil {
		for _, p := range []pattern{f.lead, f.mid, f.sep, f.tail} {
			list = append(list, p...)
		}
		list = append(list, f.open, f.close, f.key, f.value, f.end, f.open+f.close)
		if f.kind == harmony {
			list = append(list, harmonyTags...)
		}
	}
	return list
}
