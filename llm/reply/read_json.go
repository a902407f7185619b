package reply

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

const white = " \t\r\n"

// value finds the end of a JSON value as its text arrives.
type value struct {
	depth   int
	inText  bool
	escaped bool
	scalar  bool // a number or word, which ends with what cannot be part of it
	begun   bool
}

// read takes the value's text; over says that it is complete.
func (v *value) read(text string) (n int, over bool) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case v.inText:
			switch {
			case v.escaped:
				v.escaped = false
			case c == '\\':
				v.escaped = true
			case c == '"':
				v.inText = false
				if v.depth == 0 {
					return i + 1, true
				}
			}
		case v.scalar && v.depth == 0:
			if strings.IndexByte(",]} \t\r\n<", c) >= 0 {
				return i, true
			}
		case c == '"':
			v.inText = true
		case c == '{' || c == '[':
			v.depth++
		case c == '}' || c == ']':
			if v.depth--; v.depth <= 0 {
				return i + 1, true
			}
		default:
			if v.depth == 0 && strings.IndexByte(white, c) < 0 {
				v.scalar = true
			}
		}
		v.begun = v.begun || strings.IndexByte(white, c) < 0
	}
	return len(text), false
}

// objectReader reads {"name": …, "arguments": …}, in any order of keys, alone or in an array.
type objectReader struct {
	*format
	step    uint8
	key     string
	name    string
	id      string
	kept    string // arguments that came before the name
	keptAll bool
	value   value
	inside  bool // of an array
	given   bool // the object's name was given out
}

const (
	wantObject uint8 = iota // or the array's begin
	wantKey
	wantColon
	wantValue
	inArguments
	wantNext // a comma, or the object's end
	wantEnd  // what closes the call, or the next object
)

func (o *objectReader) read(p *Parser, text string, last bool) (n int, s status) {
	for {
		for n < len(text) && strings.IndexByte(white, text[n]) >= 0 && o.step != inArguments {
			n++
		}
		if n >= len(text) {
			if last && o.step == wantEnd {
				return n, done
			}
			return n, more
		}
		took, s := o.one(p, text[n:], last)
		n += took
		if s != goingOn {
			return n, s
		}
	}
}

// goingOn says that a reader can read on at once.
const goingOn status = 255

func (o *objectReader) one(p *Parser, text string, last bool) (int, status) {
	c := text[0]
	switch o.step {
	case wantObject:
		switch {
		case c == '[' && !o.inside:
			o.inside = true
		case c == '{':
			o.step, o.name, o.id, o.kept, o.keptAll, o.given = wantKey, "", "", "", false, false
		default:
			return 0, broken
		}
		return 1, goingOn
	case wantKey:
		if c == '}' {
			return o.closed(p)
		}
		key, n, s := word(text)
		if s == goingOn {
			o.key, o.step = key, wantColon
		}
		return n, s
	case wantColon:
		if c != ':' {
			return 0, broken
		}
		o.step, o.value = wantValue, value{}
		return 1, goingOn
	case wantValue:
		return o.begin(p, text)
	case inArguments:
		n, over := o.value.read(text)
		if o.given {
			p.argue(text[:n])
		} else {
			o.kept += text[:n]
		}
		if !over {
			return n, more
		}
		o.step, o.keptAll = wantNext, !o.given
		return n, goingOn
	case wantNext:
		switch c {
		case ',':
			o.step = wantKey
			return 1, goingOn
		case '}':
			return o.closed(p)
		}
		return 0, broken
	}
	return o.ending(text, last)
}

// word is a JSON string at the begin of text.
func word(text string) (w string, n int, s status) {
	if text[0] != '"' {
		return "", 0, broken
	}
	var v value
	n, over := v.read(text)
	if !over {
		return "", 0, more
	}
	if json.Unmarshal([]byte(text[:n]), &w) != nil {
		return "", 0, broken
	}
	return w, n, goingOn
}

// begin reads the begin of a key's value.
func (o *objectReader) begin(p *Parser, text string) (int, status) {
	switch {
	case o.key == o.nameKey || o.key == "name":
		name, n, s := word(text)
		if s != goingOn {
			return n, s
		}
		o.name, o.step = name, wantNext
		if p.known[name] == nil && (o.open == "" || name == "") { // JSON, but no call
			return 0, broken
		}
		if o.keptAll {
			o.give(p)
			p.argue(o.kept)
		}
		return n, goingOn
	case o.key == o.argsKey || o.key == "arguments" || o.key == "parameters":
		switch text[0] {
		case '{':
		case '"':
			return o.inString(p, text)
		default:
			return 0, broken
		}
		if o.name != "" && !o.given {
			o.give(p)
		}
		o.step = inArguments
		return 0, goingOn
	}
	// Other values are passed over, and an id is kept.
	v := o.value
	n, over := v.read(text)
	if !over {
		return 0, more
	}
	var id string
	if (o.key == "id" || o.key == "tool_call_id") && json.Unmarshal([]byte(text[:n]), &id) == nil {
		o.id = id
	}
	o.step = wantNext
	return n, goingOn
}

func (o *objectReader) give(p *Parser) {
	o.given = true
	p.begun(o.name, o.id)
}

// inString reads arguments that are JSON inside of a string.
func (o *objectReader) inString(p *Parser, text string) (int, status) {
	inner, n, s := word(text)
	if s != goingOn {
		return n, s
	}
	o.step = wantNext
	if o.name == "" {
		o.kept, o.keptAll = inner, true
		return n, goingOn
	}
	o.give(p)
	p.argue(inner)
	return n, goingOn
}

// closed is the end of an object.
func (o *objectReader) closed(p *Parser) (int, status) {
	if !o.given {
		if o.name == "" {
			return 0, broken
		}
		o.give(p) // a call without arguments
		p.argue("{}")
	}
	o.step, o.name = wantEnd, ""
	return 1, goingOn
}

// ending reads what follows an object.
func (o *objectReader) ending(text string, last bool) (int, status) {
	switch c := text[0]; {
	case c == ',' || c == ';' || c == '{' && (o.inside || !strings.Contains(o.sep.String(), o.open) || o.open == ""):
		o.step = wantObject
		if c == '{' {
			return 0, goingOn
		}
		return 1, goingOn
	case c == ']':
		return 1, goingOn
	case c == '}': // one too many
		return 1, goingOn
	case o.close == "":
		return 0, done
	case strings.HasPrefix(text, o.close):
		return len(o.close), done
	case !last && strings.HasPrefix(o.close, text):
		return 0, more
	}
	return 0, done
}

// loose matches a text that is made of parts with ids between, white space aside. n is the length of the match, -1 if there
// is none; partly says that there may be one when more text comes.
func loose(text string, parts pattern) (n int, partly bool) {
	at := 0
	for i, part := range parts {
		if i > 0 { // an id, up to the next part
			for at < len(text) && idByte(text[at]) {
				at++
			}
		}
		for part = strings.TrimLeft(part, white); part != ""; part = strings.TrimLeft(part, white) {
			for at < len(text) && strings.IndexByte(white, text[at]) >= 0 {
				at++
			}
			if at >= len(text) {
				return -1, true
			}
			if text[at] != part[0] {
				return -1, false
			}
			at++
			part = part[1:]
		}
	}
	if len(parts) > 1 && parts[len(parts)-1] == "" && at >= len(text) {
		return -1, true // the id may go on
	}
	return at, false
}

func idByte(c byte) bool {
	return c == '_' || c == '-' || c == '.' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= utf8.RuneSelf
}
