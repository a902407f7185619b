package dialog

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A terminal that was asked to puts these around what is pasted.
const (
	pasteOn    = "\x1b[?2004h"
	pasteOff   = "\x1b[?2004l"
	pasteStart = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
)

const (
	mostPaste  = 16 << 20 // bytes of one paste
	shortPaste = 500      // characters of a pasted line that goes into the line as it is
)

// paster takes what is pasted out of what is typed. It belongs to one goroutine.
type paster struct {
	held   []byte // the beginning of a marker, perhaps
	inside bool
	text   []byte
	cut    bool // it was longer than mostPaste
}

// feed takes bytes as they come from the terminal, and calls key for those that were typed and pasted for what was pasted.
func (p *paster) feed(in []byte, key func(byte), pasted func(text string, cut bool)) {
	emit := func(c byte) {
		switch {
		case !p.inside:
			key(c)
		case len(p.text) < mostPaste:
			p.text = append(p.text, c)
		default:
			p.cut = true
		}
	}
	for _, c := range in {
		marker := pasteStart
		if p.inside {
			marker = pasteEnd
		}
		p.held = append(p.held, c)
		if string(p.held) == marker {
			p.held = p.held[:0]
			if p.inside {
				pasted(pastedText(p.text), p.cut)
				p.text, p.cut = nil, false
			}
			p.inside = !p.inside
			continue
		}
		if strings.HasPrefix(marker, string(p.held)) {
			continue
		}
		// No marker has an escape but at its start, so only the last byte can begin another.
		rest := p.held[:len(p.held)-1]
		for _, b := range rest {
			emit(b)
		}
		if p.held = p.held[:0]; c == pasteStart[0] && len(rest) > 0 {
			p.held = append(p.held, c)
		} else {
			emit(c)
		}
	}
}

// pastedText is what was pasted, with Unix's ends of lines and without control characters.
func pastedText(raw []byte) string {
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	raw = bytes.ReplaceAll(raw, []byte("\r"), []byte("\n"))
	return Clean(strings.ToValidUTF8(string(raw), string(utf8.RuneError)))
}

// placeholder stands in the line for a pasted text that is too long for it or has several lines; "" if the text itself does.
func placeholder(text string, n int) string {
	if !strings.ContainsAny(text, "\n\t") && utf8.RuneCountInString(text) <= shortPaste {
		return ""
	}
	if lines := strings.Count(strings.TrimRight(text, "\n"), "\n") + 1; lines > 1 {
		return fmt.Sprintf("[paste %d: %d lines]", n, lines)
	}
	return fmt.Sprintf("[paste %d: %d characters]", n, utf8.RuneCountInString(text))
}
