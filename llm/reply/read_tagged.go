package reply

import (
	"bytes"
	"encoding/json"
	"strings"

	"serval"
)

// taggedReader reads a name, then each argument in tags of its own, and makes JSON of them.
type taggedReader struct {
	*format
	step   uint8
	led    bool
	tool   *serval.Tool
	count  int    // arguments so far
	text   bool   // the value is a string
	any    bool   // its type is not known
	value1 string // of what is not a string, so far
	opened bool   // the string's quote was given out
	cdata  bool   // the value stands in XML's CDATA
}

const cdataTag = "<![CDATA["

const (
	tagName uint8 = iota
	tagKey        // or the call's end
	tagValue
	tagAfter // the value's end was read
)

func (r *taggedReader) read(p *Parser, text string, last bool) (int, status) {
	n := 0
	for {
		took, s := r.one(p, text[n:], last)
		if n += took; s != goingOn {
			return n, s
		}
	}
}

func (r *taggedReader) one(p *Parser, text string, last bool) (int, status) {
	switch r.step {
	case tagName:
		if !r.led {
			n, s := r.lead0(text, last)
			r.led = s == goingOn
			return n, s
		}
		return r.readName(p, text, last)
	case tagKey:
		return r.readKey(p, text, last)
	case tagValue:
		return r.readValue(p, text, last)
	}
	return 0, done
}

// readName reads the name: it ends before what stands between name and arguments, or before the end of the call.
func (r *taggedReader) readName(p *Parser, text string, last bool) (int, status) {
	mid := strings.TrimSpace(r.mid.first())
	stops := []string{mid, strings.TrimSpace(r.key), oneTag.FindString(r.tail.first())}
	if mid == "" { // white space ends the name
		stops = append(stops, "\n")
	}
	body := strings.TrimLeft(text, white)
	at, stop := firstOf(body, stops...)
	if at < 0 {
		if last || len(text) > 512 {
			return 0, broken
		}
		return 0, more
	}
	name := strings.TrimSpace(body[:at])
	if r.tool = p.known[name]; name == "" || strings.ContainsAny(name, white+"<>{}\"") || r.tool == nil && mid == "" && stop == "\n" {
		return 0, broken
	}
	n := len(text) - len(body) + at
	if stop == mid {
		n += len(mid)
	}
	p.begun(name, "")
	p.argue("{")
	r.step, r.count = tagKey, 0
	return n, goingOn
}

// readKey reads an argument's key, or the end of the call and perhaps the begin of the next.
func (r *taggedReader) readKey(p *Parser, text string, last bool) (int, status) {
	body := strings.TrimLeft(text, white)
	skipped := len(text) - len(body)
	if body == "" {
		if last { // what was cut is not made to look complete
			return len(text), done
		}
		return 0, more
	}
	key, value := strings.TrimSpace(r.key), strings.TrimSpace(r.value)
	if tag := oneTag.FindString(value); tag != "" && strings.HasPrefix(value, tag) { // the key's end, then the value's begin
		value = tag
	}
	if rest, ok := strings.CutPrefix(body, key); ok {
		name, after, ok := strings.Cut(rest, value)
		if !ok {
			if last || len(rest) > 512 {
				return 0, r.over(p)
			}
			return 0, more
		}
		if begin := strings.TrimPrefix(strings.TrimSpace(r.value), value); begin != "" {
			switch n, partly := loose(after, pattern{begin}); {
			case partly && !last:
				return 0, more
			case n < 0:
				return 0, r.over(p)
			default:
				after = after[n:]
			}
		}
		n := len(text) - len(after)
		isText := ""
		if r.typed {
			if isText, after, ok = strings.Cut(after, `">`); !ok {
				if last {
					return 0, r.over(p)
				}
				return 0, more
			}
			n = len(text) - len(after)
		}
		return n, r.begin(p, strings.TrimSpace(name), isText)
	}
	if !last && strings.HasPrefix(key, body) {
		return 0, more
	}
	n, partly := -1, false
	if !r.single {
		n, partly = loose(body, r.sep)
	}
	end, endPartly := loose(body, r.tail)
	switch {
	case n >= 0:
		p.argue("}")
		r.step = tagName
		return skipped + n, goingOn
	case (partly || endPartly) && !last:
		return 0, more
	case end >= 0:
		p.argue("}")
		return skipped + end, done
	}
	return 0, r.over(p)
}

// over ends a call whose text goes on otherwise than calls do.
func (r *taggedReader) over(p *Parser) status {
	p.argue("}")
	return done
}

// begin gives out a key.
func (r *taggedReader) begin(p *Parser, key, isText string) status {
	var head []byte
	if r.count > 0 {
		head = append(head, ", "...)
	}
	r.count++
	quoted, err := json.Marshal(key)
	if err != nil {
		return broken
	}
	p.argue(string(head) + string(quoted) + ": ")
	r.text, r.any = typeOf(r.tool, key)
	if isText != "" {
		r.text, r.any = isText == "true", false
	}
	r.value1, r.opened, r.step = "", false, tagValue
	return goingOn
}

// typeOf says what a tool's schema says of an argument: that it is a string, or nothing that can be told.
func typeOf(tool *serval.Tool, key string) (isText, unknown bool) {
	if tool == nil || len(tool.Parameters) == 0 {
		return false, true
	}
	var schema struct {
		Properties map[string]struct {
			Type any   `json:"type"`
			Enum []any `json:"enum"`
		} `json:"properties"`
	}
	if json.Unmarshal(tool.Parameters, &schema) != nil {
		return false, true
	}
	p, ok := schema.Properties[key]
	if !ok {
		return false, true
	}
	if p.Type == nil && len(p.Enum) > 0 {
		for _, e := range p.Enum {
			if _, ok := e.(string); !ok {
				return false, true
			}
		}
		return true, false
	}
	t, ok := p.Type.(string)
	return t == "string", !ok
}

// readValue passes a string on as it comes, and anything else when it is complete.
func (r *taggedReader) readValue(p *Parser, text string, last bool) (int, status) {
	if !r.opened {
		if !last && strings.HasPrefix(cdataTag, text) {
			return 0, more
		}
		if r.cdata = strings.HasPrefix(text, cdataTag); r.cdata {
			r.opened = true
			if r.text {
				p.argue(`"`)
			}
			return len(cdataTag), goingOn
		}
		r.opened = true
		if r.text {
			p.argue(`"`)
		}
		if strings.HasSuffix(r.value, "\n") && strings.HasPrefix(text, "\n") { // the template's, not the value's
			return 1, goingOn
		}
	}
	end := strings.TrimSpace(r.end)
	if r.cdata {
		end = "]]>" + end
	}
	at := strings.Index(text, end)
	if at < 0 {
		keep := len(text)
		if !last {
			keep = undecided(text, end)
		}
		r.piece(p, text[:keep])
		if last {
			p.argue(r.value1)
			return len(text), done
		}
		return keep, more
	}
	body := text[:at]
	if strings.HasPrefix(r.end, "\n") && !r.cdata {
		body = strings.TrimSuffix(body, "\n")
	}
	r.piece(p, body)
	r.finish(p)
	r.step = tagKey
	return at + len(end), goingOn
}

func (r *taggedReader) piece(p *Parser, text string) {
	if !r.text {
		r.value1 += text
		return
	}
	p.argue(escaped(text))
}

func escaped(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(text) != nil || b.Len() < 3 {
		return ""
	}
	return b.String()[1 : b.Len()-2]
}

// finish ends a value.
func (r *taggedReader) finish(p *Parser) {
	if r.text {
		p.argue(`"`)
		return
	}
	v := strings.TrimSpace(r.value1)
	switch v {
	case "None":
		v = "null"
	case "True", "False":
		v = strings.ToLower(v)
	}
	if !json.Valid([]byte(v)) {
		v = `"` + escaped(r.value1) + `"`
	}
	p.argue(v)
}
