package reply

import (
	"crypto/rand"
	"strings"

	"serval"
)

// Event is a piece of an answer: one of the three is set.
type Event struct {
	Text      string
	Reasoning string
	Call      *serval.CallDelta
}

// Parser reads one answer as it arrives. It belongs to one goroutine. What it holds back is short: text that may be the begin
// of a marker, and a call up to the begin of its arguments, of at most maxHeld bytes.
type Parser struct {
	style   Style
	known   map[string]*serval.Tool
	markers []string
	open    string // what begins a call; "": its JSON, at the begin of the answer
	state   state
	held    string // not yet decided
	emit    func(Event)

	calls   int
	call    reader // of the current call; nil: none
	started bool   // its name was given out
	raw     string // its text so far, until then
	spoken  bool   // some text was given out
	thought bool   // some reasoning was
}

// maxHeld bounds a call's text before its arguments.
const maxHeld = 64 << 10

// state is where in an answer the parser is.
type state uint8

const (
	atStart   state = iota // nothing but white space so far
	reasoning              // inside the reasoning
	answering              // after it: white space is no part of the text
	speaking               // text
	calling                // inside a call
	quoting                // text in which no call begins any more
)

// reader reads one call, or several that belong together.
type reader interface {
	// read takes from the begin of text what it understands, and says how much and how it stands. With last, no more will come.
	read(p *Parser, text string, last bool) (n int, s status)
}

// status is how a reader stands.
type status uint8

const (
	more   status = iota // it needs more text
	done                 // the call is over
	broken               // this is no call
)

// New makes a parser of one answer. tools are those that may be called; with none, calls are text.
func New(s Style, tools []serval.Tool) *Parser {
	p := &Parser{style: s, known: map[string]*serval.Tool{}}
	for i := range tools {
		p.known[tools[i].Name] = &tools[i]
	}
	if s.calls != nil && len(tools) > 0 {
		p.open = s.calls.marker()
	} else if s.calls != nil && s.calls.kind != harmony {
		p.style.calls = nil
	}
	p.markers = p.style.texts()
	if s.thinking {
		p.state = reasoning
	}
	if f := p.style.calls; f != nil && f.kind == harmony {
		p.state, p.call, p.started = calling, &channels{}, true
	}
	return p
}

// Feed takes the next piece of text, whole characters only, and gives out what is decided.
func (p *Parser) Feed(text string, emit func(Event)) {
	p.emit = emit
	p.held += text
	for p.held != "" && p.step(false) {
	}
}

// End gives out what was held back: a call that was cut keeps the arguments that it has, what never became a call is text.
func (p *Parser) End(emit func(Event)) {
	p.emit = emit
	for p.held != "" && p.step(true) {
	}
	switch {
	case p.call != nil && !p.started:
		p.say(p.raw + p.held)
	case p.call != nil:
		p.call.read(p, "", true)
	}
	p.held, p.raw, p.call = "", "", nil
}

// step goes on by one decision; it reports false if it needs more text.
func (p *Parser) step(last bool) bool {
	switch p.state {
	case atStart:
		return p.begin(last)
	case reasoning:
		return p.reason(last)
	case answering:
		if p.held = strings.TrimLeft(p.held, white); p.held == "" {
			return false
		}
		p.state = speaking
		return p.begin(last)
	case speaking:
		return p.speak(last)
	case calling:
		return p.goOn(last)
	}
	p.say(p.held)
	p.held = ""
	return true
}

// begin decides what an answer begins with.
func (p *Parser) begin(last bool) bool {
	text := strings.TrimLeft(p.held, " \t\r\n")
	if text == "" {
		if last {
			p.state = speaking
		}
		return last
	}
	open := strings.TrimSpace(p.style.thinks.open)
	if open != "" && p.state == atStart {
		if rest, ok := strings.CutPrefix(text, open); ok {
			p.held, p.state = rest, reasoning
			return true
		}
		if !last && strings.HasPrefix(open, text) {
			return false
		}
	}
	before := p.state
	if before == speaking {
		before = answering
	}
	p.state = speaking
	if p.style.calls != nil && p.open == "" && p.style.calls.kind == objects {
		text = strings.TrimPrefix(text, "<|python_tag|>") // Llama's, before a call that it makes by itself
		if !last && strings.HasPrefix("<|python_tag|>", text) {
			p.state = before
			return false
		}
		if text != "" && (text[0] == '{' || text[0] == '[') {
			p.held = text
			p.startCall("")
		}
	}
	return true
}

// reason passes reasoning on up to its end. A call ends it too: it is held to the schema from there on.
func (p *Parser) reason(last bool) bool {
	close := strings.TrimSpace(p.style.thinks.close)
	at, marker := firstOf(p.held, close, p.open)
	if at >= 0 {
		p.think(strings.TrimRight(p.held[:at], " \t\r\n"))
		p.held = p.held[at:]
		if marker == close {
			p.held = p.held[len(close):]
			p.state = answering
			return true
		}
		p.state = speaking
		return true
	}
	keep := len(p.held)
	if !last {
		keep = undecided(p.held, close, p.open)
	}
	p.think(p.held[:keep])
	p.held = p.held[keep:]
	return false
}

// speak passes text on up to a call.
func (p *Parser) speak(last bool) bool {
	if p.style.calls == nil || p.open == "" {
		p.say(p.held)
		p.held = ""
		return true
	}
	if at := strings.Index(p.held, p.open); at >= 0 {
		p.say(strings.TrimRight(p.held[:at], " \t\r\n"))
		p.held = p.held[at+len(p.open):]
		p.startCall(p.open)
		return true
	}
	keep := len(p.held)
	if !last {
		keep = undecided(p.held, p.open)
	} else if p.calls > 0 {
		keep = len(strings.TrimRight(p.held, " \t\r\n")) // what follows a call
	}
	p.say(p.held[:keep])
	if last {
		p.held = ""
		return true
	}
	p.held = p.held[keep:]
	return false
}

func (p *Parser) startCall(marker string) {
	p.state, p.started, p.raw = calling, false, marker
	switch f := p.style.calls; f.kind {
	case objects:
		p.call = &objectReader{format: f}
	case named:
		p.call = &namedReader{format: f}
	case tagged:
		p.call = &taggedReader{format: f}
	}
}

// goOn lets the call's reader read.
func (p *Parser) goOn(last bool) bool {
	n, s := p.call.read(p, p.held, last)
	if !p.started {
		p.raw += p.held[:n]
		if len(p.raw)+len(p.held)-n > maxHeld {
			s = broken
		}
	}
	p.held = p.held[n:]
	switch {
	case s == done:
		p.state, p.call, p.raw = speaking, nil, ""
		return true
	case s == broken && !p.started: // it is text after all, with its marker
		p.say(p.raw)
		p.state, p.call, p.raw = speaking, nil, ""
		if p.open == "" {
			p.state = quoting
		}
		return true
	case s == broken:
		p.state, p.call, p.raw = quoting, nil, ""
		return true
	}
	return false
}

// begun gives out a call's name.
func (p *Parser) begun(name, id string) {
	p.started, p.raw = true, ""
	if id == "" {
		id = newID()
	}
	p.emit(Event{Call: &serval.CallDelta{Index: p.calls, ID: id, Name: name}})
	p.calls++
}

// argue gives out a piece of the current call's arguments.
func (p *Parser) argue(json string) {
	if json != "" {
		p.emit(Event{Call: &serval.CallDelta{Index: p.calls - 1, Arguments: json}})
	}
}

func (p *Parser) say(text string) {
	if !p.spoken && p.calls > 0 { // the space between calls and what follows
		text = strings.TrimLeft(text, " \t\r\n")
	}
	if text != "" {
		p.spoken = true
		p.emit(Event{Text: text})
	}
}

func (p *Parser) think(text string) {
	if !p.thought {
		text = strings.TrimLeft(text, white)
	}
	p.thought = p.thought || text != ""
	if text != "" {
		p.emit(Event{Reasoning: text})
	}
}

const idLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// newID makes a call's id: nine letters and digits, since Mistral's templates take no other.
func newID() string {
	var b [9]byte
	rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = idLetters[int(b[i])%len(idLetters)]
	}
	return string(b[:])
}

// firstOf finds the first of some markers; empty ones are none.
func firstOf(text string, markers ...string) (at int, marker string) {
	at = -1
	for _, m := range markers {
		if m == "" {
			continue
		}
		if i := strings.Index(text, m); i >= 0 && (at < 0 || i < at) {
			at, marker = i, m
		}
	}
	return at, marker
}

// undecided is where the end of text begins that may become a marker, with the white space before it.
func undecided(text string, markers ...string) int {
	at := len(text)
	for _, m := range markers {
		for n := min(len(m)-1, len(text)); n > 0; n-- {
			if strings.HasSuffix(text, m[:n]) {
				at = min(at, len(text)-n)
				break
			}
		}
	}
	return len(strings.TrimRight(text[:at], " \t\r\n"))
}
