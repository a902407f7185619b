package batch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// Lines is where a Reader of text stands in its object. A Reader embeds it, and has its Mark, Progress and Close from it.
type Lines struct {
	Object Object
	Window *Window // stands at At
	Start  Place   // of the first row
	At     Place   // of the next one

	ctx context.Context // of opening the object again
}

// Place is a Mark of Lines: the byte, and the numbers of the row and the line that begin there, from 1.
type Place struct {
	Offset int64 `json:"offset"`
	Row    int64 `json:"row"`
	Line   int64 `json:"line"`
}

// OpenLines opens an object at its beginning. Whoever finds the first row behind it sets Start and At.
func OpenLines(ctx context.Context, o Object) (Lines, error) {
	w, err := OpenWindow(ctx, o, 0)
	if err != nil {
		return Lines{}, err
	}
	first := Place{Row: 1, Line: 1}
	return Lines{Object: o, Window: w, Start: first, At: first, ctx: ctx}, nil
}

// Resume goes on at a Mark; nil is where it stands. The format's name is for the error where the Mark is none of it.
func (l *Lines) Resume(from Mark, format string) error {
	if from == nil {
		return nil
	}
	var p Place
	if err := json.Unmarshal(from, &p); err != nil || p.Offset < l.Start.Offset || p.Row < 1 {
		return fmt.Errorf("%s: the checkpoint's place %s is none of a %s file", l.Object.Name(), from, format)
	}
	w, err := OpenWindow(l.ctx, l.Object, p.Offset)
	if err != nil {
		return err
	}
	err = l.Window.Close()
	l.Window, l.At = w, p
	return err
}

// Mark is where the next row begins.
func (l *Lines) Mark() Mark {
	m, _ := json.Marshal(l.At) // numbers only
	return m
}

// Progress is in bytes.
func (l *Lines) Progress() (done, of int64) {
	if c, ok := l.Object.(Counter); ok {
		return c.Progress()
	}
	return l.At.Offset, max(0, l.Object.Size())
}

// Close closes the object.
func (l *Lines) Close() error { return l.Window.Close() }

// Cuts are places that cut an object of lines into parts. pass goes on behind the next row, as Read would, and is io.EOF when there
// is none.
func (l *Lines) Cuts(ctx context.Context, n int, pass func() error) (cuts []Cut, rows int64, err error) {
	begin, size := l.At.Offset, l.Object.Size()
	k := int64(1)
	for ; ; rows++ {
		if rows&4095 == 4095 && ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		if rows > 0 && k < int64(n) && l.At.Offset >= begin+(size-begin)/int64(n)*k {
			cuts = append(cuts, Cut{l.Mark(), rows})
			for k < int64(n) && l.At.Offset >= begin+(size-begin)/int64(n)*k {
				k++
			}
		}
		if err := pass(); err == io.EOF {
			break
		} else if err != nil {
			return nil, 0, err
		}
		l.At.Row++
	}
	if last := len(cuts) - 1; last >= 0 && cuts[last].Rows == rows { // nothing but empty lines
		cuts = cuts[:last]
	}
	return cuts, rows, nil
}
