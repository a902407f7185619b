package dialog

import (
	"io"
	"strings"
	"unicode/utf8"

	"serval"
)

const (
	dim   = "\x1b[2m"
	plain = "\x1b[0m"
)

// Printer writes an answer's pieces as they come. It belongs to one goroutine.
type Printer struct {
	Out io.Writer
	// Aside gets the reasoning; nil: it is not shown.
	Aside io.Writer
	// Clean takes control characters out, which a terminal would obey.
	Clean bool
	// Dim shows the reasoning in another shade; Out and Aside are the same terminal then.
	Dim bool

	aside bool // the reasoning was written last
	end   byte // of the text so far; 0: there is none
}

// Piece writes one piece.
func (p *Printer) Piece(d *serval.Delta) error {
	if d.Reasoning != "" && p.Aside != nil {
		text := d.Reasoning
		if !p.aside && p.Dim {
			text = dim + p.clean(text)
		} else {
			text = p.clean(text)
		}
		p.aside = true
		if _, err := io.WriteString(p.Aside, text); err != nil {
			return err
		}
	}
	if d.Text == "" {
		return nil
	}
	if err := p.endAside("\n\n"); err != nil {
		return err
	}
	p.end = d.Text[len(d.Text)-1]
	_, err := io.WriteString(p.Out, p.clean(d.Text))
	return err
}

// End ends the answer with the end of a line.
func (p *Printer) End() error {
	if err := p.endAside("\n"); err != nil {
		return err
	}
	if p.end == '\n' || p.end == 0 {
		return nil
	}
	_, err := io.WriteString(p.Out, "\n")
	return err
}

func (p *Printer) endAside(gap string) error {
	if !p.aside {
		return nil
	}
	p.aside = false
	if p.Dim {
		gap = plain + gap
	}
	_, err := io.WriteString(p.Aside, gap)
	return err
}

func (p *Printer) clean(s string) string {
	if !p.Clean {
		return s
	}
	return Clean(s)
}

// Clean replaces what a terminal would obey: all control characters but the ends of lines and tabs.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ' || r >= 0x7f && r < 0xa0:
			return utf8.RuneError
		}
		return r
	}, s)
}
