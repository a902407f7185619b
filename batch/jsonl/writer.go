package jsonl

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"serval"
	"serval/batch"
	"serval/internal/jsontensor"
)

// writer is a batch.Writer.
type writer struct {
	f     *batch.AppendFile
	names []string // nil: nothing was written
	cells []cell
}

// cell writes the values of one vector.
type cell struct {
	v    *batch.Vector
	key  []byte // with what stands before the value
	rest []byte // of a Bytes vector
	list *jsontensor.Rows
}

// mark is a writer's Mark.
type mark struct {
	Offset  int64    `json:"offset"`
	Columns []string `json:"columns"`
}

func create(path string, from batch.Mark) (*writer, error) {
	m := mark{Offset: -1}
	if from != nil {
		if err := json.Unmarshal(from, &m); err != nil || m.Offset < 0 {
			return nil, fmt.Errorf("%s: the checkpoint's place %s is none of a JSONL file", path, from)
		}
	}
	f, err := batch.OpenAppend(path, m.Offset)
	if err != nil {
		return nil, err
	}
	return &writer{f: f, names: m.Columns}, nil
}

// Write appends rows.
func (w *writer) Write(vectors []batch.Vector, rows int) error {
	names := make([]string, len(vectors))
	for i := range vectors {
		names[i] = vectors[i].Name
	}
	if w.names == nil {
		w.names = names
	} else if !slices.Equal(w.names, names) {
		return fmt.Errorf("columns %q after columns %q", names, w.names)
	}
	w.cells = w.cells[:0]
	for i := range vectors {
		c := cell{v: &vectors[i], rest: vectors[i].Data, key: []byte("{")}
		if i > 0 {
			c.key = []byte(",")
		}
		c.key = append(jsontensor.AppendString(c.key, c.v.Name), ':')
		if c.v.Shape != nil {
			t := serval.Tensor{Name: c.v.Name, DType: c.v.DType, Shape: append([]int64{int64(rows)}, c.v.Shape...), Data: c.v.Data}
			list, err := jsontensor.NewRows(&t)
			if err != nil {
				return err
			}
			c.list = &list
		}
		w.cells = append(w.cells, c)
	}
	buf := w.f.Buffer()
	for row := range rows {
		for i := range w.cells {
			var err error
			if buf, err = w.cells[i].append(buf, row); err != nil {
				return err
			}
		}
		if len(w.cells) == 0 {
			buf = append(buf, '{')
		}
		buf = append(buf, "}\n"...)
		if len(buf) > 128<<10 {
			if err := w.f.Took(buf); err != nil {
				return err
			}
			buf = w.f.Buffer()
		}
	}
	return w.f.Took(buf)
}

func (c *cell) append(buf []byte, row int) ([]byte, error) {
	buf = append(buf, c.key...)
	v := c.v
	null := v.Null != nil && v.Null[row]
	switch {
	case c.list != nil:
		at := len(buf)
		buf, err := c.list.Append(buf)
		if null && err == nil {
			buf = append(buf[:at], "null"...)
		}
		return buf, err
	case v.DType == serval.Bytes:
		e, rest, ok := serval.NextBytes(c.rest)
		if !ok {
			return buf, fmt.Errorf("column '%s' has fewer values than rows", v.Name)
		}
		c.rest = rest
		switch {
		case null:
			return append(buf, "null"...), nil
		case v.JSON:
			return append(buf, e...), nil
		}
		return jsontensor.AppendString(buf, e), nil
	case null:
		return append(buf, "null"...), nil
	}
	if number := v.DType.Numbers(); v.DType == serval.FP32 || v.DType == serval.FP64 || v.DType == serval.FP16 || v.DType == serval.BF16 {
		switch f := number(v.Data, row); { // JSON has no numbers for these
		case f != f:
			return append(buf, `"NaN"`...), nil
		case math.IsInf(f, 1):
			return append(buf, `"Infinity"`...), nil
		case math.IsInf(f, -1):
			return append(buf, `"-Infinity"`...), nil
		}
	}
	return batch.AppendNumber(buf, v.DType, v.Data, row), nil
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
