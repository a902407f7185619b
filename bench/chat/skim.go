package chat

import (
	"errors"
	"fmt"
)

// maxDepth bounds the nesting of an event's JSON.
const maxDepth = 64

var errJSON = errors.New("not JSON")

// skim is what is wanted of an event's JSON, or of an answer's. It is read in one pass without allocation: any JSON is
// checked as strictly as encoding/json checks it. Names count only without escapes, and where an object has one name twice
// both may count.
type skim struct {
	text   []byte // what all of the event's content strings hold between their quotes; not kept beyond the next event
	keep   bool   // text is wanted
	output bool   // the event has content: some text, reasoning, or a call of a tool
	finish []byte // finish_reason, if there is one
	failed bool   // it tells an error
	why    []byte // error.message, or the error itself where it is a string

	usage            bool
	prompt, answered int64
	cached           int64 // usage.prompt_tokens_details.cached_tokens, or -1
	reused           int64 // timings.cache_n, llama-server's, or -1
	vectors          int   // entries of data, of an answer with embeddings

	b     []byte
	i     int
	depth int
}

// spot is where in the document a value stands.
type spot int

const (
	elsewhere spot = iota
	root
	choices
	choice
	delta
	content
	calls
	finishReason
	usageAt
	details
	timings
	promptCount
	outputCount
	cachedCount
	reusedCount
	failure
	reason
	data
)

// within is where the value of a name in an object stands.
func within(at spot, name string) spot {
	switch at {
	case root:
		switch name {
		case "choices":
			return choices
		case "usage":
			return usageAt
		case "timings":
			return timings
		case "error":
			return failure
		case "data":
			return data
		}
	case choice:
		switch name {
		case "delta":
			return delta
		case "text":
			return content
		case "finish_reason":
			return finishReason
		}
	case delta:
		switch name {
		case "content", "reasoning_content", "reasoning":
			return content
		case "tool_calls":
			return calls
		}
	case usageAt:
		switch name {
		case "prompt_tokens":
			return promptCount
		case "completion_tokens":
			return outputCount
		case "prompt_tokens_details":
			return details
		}
	case details:
		if name == "cached_tokens" {
			return cachedCount
		}
	case timings:
		if name == "cache_n" {
			return reusedCount
		}
	case failure:
		if name == "message" {
			return reason
		}
	}
	return elsewhere
}

// read reads an object; what it held before is gone.
func (s *skim) read(b []byte) error {
	*s = skim{text: s.text[:0], keep: s.keep, cached: -1, reused: -1, b: b}
	s.space()
	if s.peek() != '{' {
		return fmt.Errorf("%w: no object", errJSON)
	}
	if err := s.value(root); err != nil {
		return err
	}
	if s.space(); s.i != len(s.b) {
		return s.wrong()
	}
	return nil
}

func (s *skim) wrong() error { return fmt.Errorf("%w at byte %d", errJSON, s.i) }

func (s *skim) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\n' || s.b[s.i] == '\r') {
		s.i++
	}
}

// peek is the next byte; 0, which no JSON holds outside of strings, at the end.
func (s *skim) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// value reads the value at s.i, after any space.
func (s *skim) value(at spot) error {
	s.space()
	switch c := s.peek(); {
	case c == '{':
		return s.object(at)
	case c == '[':
		return s.list(at)
	case c == '"':
		text, err := s.str()
		if err == nil {
			s.string(at, text)
		}
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number(at)
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	}
	return s.wrong()
}

func (s *skim) word(w string) error {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return s.wrong()
	}
	s.i += len(w)
	return nil
}

func (s *skim) enter() error {
	if s.depth++; s.depth > maxDepth {
		return fmt.Errorf("%w: nested deeper than %d", errJSON, maxDepth)
	}
	s.i++
	s.space()
	return nil
}

func (s *skim) object(at spot) error {
	switch at {
	case usageAt:
		s.usage = true
	case failure:
		s.failed = true
	}
	if err := s.enter(); err != nil {
		return err
	}
	if s.peek() == '}' {
		s.depth--
		s.i++
		return nil
	}
	for {
		if s.space(); s.peek() != '"' {
			return s.wrong()
		}
		name, err := s.str()
		if err != nil {
			return err
		}
		if s.space(); s.peek() != ':' {
			return s.wrong()
		}
		s.i++
		if err := s.value(within(at, string(name))); err != nil {
			return err
		}
		if more, err := s.next('}'); err != nil || !more {
			return err
		}
	}
}

func (s *skim) list(at spot) error {
	if err := s.enter(); err != nil {
		return err
	}
	if s.peek() == ']' {
		s.depth--
		s.i++
		return nil
	}
	inner := elsewhere
	switch at {
	case choices:
		inner = choice
	case calls:
		s.output = true
	case failure:
		s.failed = true
	}
	for {
		if at == data {
			s.vectors++
		}
		if err := s.value(inner); err != nil {
			return err
		}
		if more, err := s.next(']'); err != nil || !more {
			return err
		}
	}
}

// next goes past a comma, or past the end.
func (s *skim) next(end byte) (more bool, err error) {
	s.space()
	switch s.peek() {
	case ',':
		s.i++
		return true, nil
	case end:
		s.depth--
		s.i++
		return false, nil
	}
	return false, s.wrong()
}

func (s *skim) string(at spot, text []byte) {
	switch at {
	case content:
		if len(text) > 0 {
			s.output = true
			if s.keep {
				s.text = append(s.text, text...)
			}
		}
	case finishReason:
		s.finish = text
	case failure:
		s.failed, s.why = true, text
	case reason:
		s.why = text
	}
}

// str reads a string and returns what stands between its quotes, as it stands there.
func (s *skim) str() ([]byte, error) {
	s.i++
	start := s.i
	for {
		b, i := s.b, s.i // most of an event is strings: this loop counts
		for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= 0x20 {
			i++
		}
		switch s.i = i; s.peek() {
		case '"':
			s.i++
			return b[start:i], nil
		case '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		default: // the end, or a control character
			return nil, s.wrong()
		}
	}
}

func (s *skim) escape() error {
	s.i++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return nil
	case 'u':
		s.i++
		for range 4 {
			if c := s.peek() | 0x20; !(c >= '0' && c <= '9' && s.peek() < 0x3a || c >= 'a' && c <= 'f') {
				return s.wrong()
			}
			s.i++
		}
		return nil
	}
	return s.wrong()
}

func (s *skim) digits() bool {
	start := s.i
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.i++
	}
	return s.i > start
}

func (s *skim) number(at spot) error {
	start := s.i
	if s.peek() == '-' {
		s.i++
	}
	if s.peek() == '0' {
		s.i++
	} else if !s.digits() {
		return s.wrong()
	}
	whole := s.i
	if s.peek() == '.' {
		if s.i++; !s.digits() {
			return s.wrong()
		}
	}
	if s.peek()|0x20 == 'e' {
		s.i++
		if c := s.peek(); c == '+' || c == '-' {
			s.i++
		}
		if !s.digits() {
			return s.wrong()
		}
	}
	return s.count(at, s.b[start:whole], whole == s.i)
}

// count takes a number of tokens.
func (s *skim) count(at spot, digits []byte, integer bool) error {
	var to *int64
	switch at {
	case promptCount:
		to = &s.prompt
	case outputCount:
		to = &s.answered
	case cachedCount:
		to = &s.cached
	case reusedCount:
		to = &s.reused
	default:
		return nil
	}
	if !integer || digits[0] == '-' || len(digits) > 15 {
		return fmt.Errorf("%.40q is no number of tokens", digits)
	}
	*to = 0
	for _, c := range digits {
		*to = *to*10 + int64(c-'0')
	}
	return nil
}
