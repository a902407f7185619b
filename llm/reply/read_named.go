package reply

import (
	"strings"
)

// namedReader reads a name, then the arguments as JSON, then the end or another call.
type namedReader struct {
	*format
	step  uint8
	led   bool // what stands before the first name was read
	value value
}

const (
	inName uint8 = iota
	inJSON
	afterCall
)

func (r *namedReader) read(p *Parser, text string, last bool) (int, status) {
	n := 0
	for {
		took, s := r.one(p, text[n:], last)
		if n += took; s != goingOn {
			return n, s
		}
	}
}

func (r *namedReader) one(p *Parser, text string, last bool) (int, status) {
	switch r.step {
	case inName:
		if !r.led {
			n, s := r.lead0(text, last)
			r.led = s == goingOn
			return n, s
		}
		name, n, s := r.name(text, last)
		if s != goingOn {
			return 0, s
		}
		p.begun(name, "")
		r.step, r.value = inJSON, value{}
		return n, goingOn
	case inJSON:
		n, over := r.value.read(text)
		p.argue(text[:n])
		if !over {
			return n, more
		}
		r.step = afterCall
		return n, goingOn
	}
	if n := len(text) - len(strings.TrimLeft(text, white)); n == len(text) {
		if last {
			return n, done
		}
		return 0, more
	}
	n, partly := -1, false
	if !r.single {
		n, partly = loose(text, r.sep)
	}
	switch end, endPartly := loose(text, r.tail); {
	case n >= 0:
		r.step = inName
		return n, goingOn
	case partly && !last:
		return 0, more
	case endPartly && !last:
		return 0, more
	case end >= 0:
		return end, done
	}
	return 0, done
}

// lead0 reads what stands between the marker and the first name.
func (f *format) lead0(text string, last bool) (int, status) {
	_, rest := f.parts()
	if rest == nil {
		return 0, goingOn
	}
	switch n, partly := loose(text, rest); {
	case n >= 0:
		return n, goingOn
	case partly && !last:
		return 0, more
	}
	return 0, broken
}

// name reads a name and what follows it, up to the arguments' brace.
func (r *namedReader) name(text string, last bool) (name string, n int, s status) {
	at := strings.IndexByte(text, '{')
	if at < 0 {
		if len(text) > 512 || last {
			return "", 0, broken
		}
		return "", 0, more
	}
	head := strings.TrimRight(text[:at], white)
	for i := 0; i <= len(head); i++ {
		// The name ends where what follows fits. Where nothing does, at the first byte that no name has.
		if m, _ := loose(head[i:], r.mid); m == len(head)-i && i > 0 && strings.TrimSpace(head[:i]) != "" {
			return strings.TrimSpace(head[:i]), at, goingOn
		}
	}
	return "", 0, broken
}
