package csv

import (
	"encoding/json"
	"fmt"
	"slices"

	"serval"
	"serval/batch"
	"serval/internal/jsontensor"
)

// writer is a batch.Writer.
type writer struct {
	f     *batch.AppendFile
	opt   Options
	names []string // nil: nothing was written
	cells []cell
}

// cell writes the values of one vector.
type cell struct {
	v    *batch.Vector
	rest []byte          // of a Bytes vector
	list jsontensor.Rows // of lists
}

// mark is a writer's Mark.
type mark struct {
	Offset  int64    `json:"offset"`
	Columns []string `json:"columns"`
}

func create(path string, from batch.Mark, opt Options) (*writer, error) {
	m := mark{Offset: -1}
	if from != nil {
		if err := json.Unmarshal(from, &m); err != nil || m.Offset < 0 {
			return nil, fmt.Errorf("%s: the checkpoint's place %s is none of a CSV file", path, from)
		}
	}
	f, err := batch.OpenAppend(path, m.Offset)
	if err != nil {
		return nil, err
	}
	return newWriter(f, m.Columns, opt), nil
}

func newWriter(f *batch.AppendFile, names []string, opt Options) *writer {
	if opt.Delimiter == 0 {
		opt.Delimiter = ','
	}
	return &writer{f: f, opt: opt, names: names}
}

// Write appends rows, and before the first ones the header.
func (w *writer) Write(vectors []batch.Vector, rows int) error {
	names := make([]string, len(vectors))
	for i := range vectors {
		names[i] = vectors[i].Name
	}
	buf := w.f.Buffer()
	switch {
	case w.names == nil:
		w.names = names
		if w.opt.Header != "no" {
			for i, name := range names {
				if i > 0 {
					buf = append(buf, w.opt.Delimiter)
				}
				buf = w.text(buf, []byte(name), len(names) == 1)
			}
			buf = w.end(buf)
		}
	case !slices.Equal(w.names, names):
		return fmt.Errorf("columns %q after columns %q", names, w.names)
	}
	w.cells = w.cells[:0]
	for i := range vectors {
		c := cell{v: &vectors[i], rest: vectors[i].Data}
		if n, _ := serval.Elements(c.v.Shape); c.v.Shape != nil && n != 1 {
			t := serval.Tensor{Name: c.v.Name, DType: c.v.DType, Shape: append([]int64{int64(rows)}, c.v.Shape...), Data: c.v.Data}
			var err error
			if c.list, err = jsontensor.NewRows(&t); err != nil {
				return err
			}
		}
		w.cells = append(w.cells, c)
	}
	for row := range rows {
		var err error
		if buf, err = w.row(buf, row); err != nil {
			return err
		}
		if len(buf) > 128<<10 {
			if err := w.f.Took(buf); err != nil {
				return err
			}
			buf = w.f.Buffer()
		}
	}
	return w.f.Took(buf)
}

func (w *writer) row(buf []byte, row int) ([]byte, error) {
	for i := range w.cells {
		c := &w.cells[i]
		if i > 0 {
			buf = append(buf, w.opt.Delimiter)
		}
		null := c.v.Null != nil && c.v.Null[row]
		n, _ := serval.Elements(c.v.Shape)
		switch {
		case c.v.Shape != nil && n != 1:
			text, err := c.list.Append(nil)
			if err != nil {
				return buf, err
			}
			if !null {
				buf = w.text(buf, text, false)
			}
		case c.v.DType == serval.Bytes:
			e, rest, ok := serval.NextBytes(c.rest)
			if !ok {
				return buf, fmt.Errorf("column '%s' has fewer values than rows", c.v.Name)
			}
			c.rest = rest
			buf = w.text(buf, e, len(w.cells) == 1)
		case null:
			if len(w.cells) == 1 {
				buf = append(buf, '"', '"') // an empty line is no row
			}
		default:
			buf = batch.AppendNumber(buf, c.v.DType, c.v.Data, row)
		}
	}
	return w.end(buf), nil
}

func (w *writer) end(buf []byte) []byte {
	if w.opt.CRLF {
		buf = append(buf, '\r')
	}
	return append(buf, '\n')
}

// text writes a field, in quotes where it needs them; alone says that it is its row's only one.
func (w *writer) text(buf, field []byte, alone bool) []byte {
	quote := len(field) == 0 && alone
	for _, c := range field {
		if c == '"' || c == '\n' || c == '\r' || c == w.opt.Delimiter {
			quote = true
			break
		}
	}
	if !quote {
		return append(buf, field...)
	}
	buf = append(buf, '"')
	for _, c := range field {
		if c == '"' {
			buf = append(buf, '"')
		}
		buf = append(buf, c)
	}
	return append(buf, '"')
}

// Sync brings it to the disk.
func (w *writer) Sync() (batch.Mark, error) {
	n, err := w.f.Sync()
	if err != nil {
		return nil, err
	}
	return json.Marshal(mark{Offset: n, Columns: w.names})
}

// Close completes the file.
func (w *writer) Close() error { return w.f.Close() }

// Abandon leaves it as the last Sync did.
func (w *writer) Abandon() error { return w.f.Abandon() }
