package parquet

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"serval"
	"serval/batch"
	"serval/internal/column"
)

// writer is a batch.Writer. Behind each row group lies its description, with the place of the one before, so that a Mark is
// small; readers of the format do not mind the gap. Rows of the group to come are in a column.Pending.
type writer struct {
	f       *batch.Part
	path    string
	opt     options
	last    int64 // end of the last description; 0: none
	rows    int64 // in row groups
	binary  []bool
	pending *column.Pending
	pack    packer
	err     error
}

// options of a file that is written.
type options struct {
	codec int
	rows  int // of a row group
}

// writerMark is a writer's Mark.
type writerMark struct {
	At      int64              `json:"at"`
	Last    int64              `json:"last,omitempty"`
	Rows    int64              `json:"rows"`
	Binary  []bool             `json:"binary,omitempty"` // columns with a text that is not UTF-8
	Pending column.PendingMark `json:"pending"`
}

func create(path string, from batch.Mark, opt options) (*writer, error) {
	w := &writer{path: path, opt: opt, pack: packer{codec: opt.codec}}
	if from != nil {
		return w, w.resume(from)
	}
	var err error
	if w.f, err = batch.NewPart(path); err != nil {
		return nil, err
	}
	if w.pending, err = column.NewPending(path, opt.rows); err == nil {
		err = w.raw([]byte(magic))
	}
	if err != nil {
		return nil, errors.Join(err, w.f.Close())
	}
	return w, nil
}

// resume goes on behind a Mark.
func (w *writer) resume(from batch.Mark) error {
	var m writerMark
	if err := json.Unmarshal(from, &m); err != nil || m.At < 4 {
		return fmt.Errorf("%s: the checkpoint's place %s is none of a Parquet file", w.path, from)
	}
	f, err := batch.OpenPart(w.path, m.At)
	if err != nil {
		return err
	}
	w.pending, err = column.Resume(w.path, w.opt.rows, m.Pending, func(p *column.Pending) error { return reread(w.path, m.Rows, m.Pending.Rows, p) })
	if err == nil {
		err = f.Cut()
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.f, w.last, w.rows, w.binary = f, m.Last, m.Rows, m.Binary
	return nil
}

// reread takes rows from a file that was completed after the Mark.
func reread(path string, from int64, rows int, p *column.Pending) error {
	return column.Reread(Format{}, path, batch.Mark(fmt.Sprintf(`{"row":%d}`, from)), rows, p)
}

// raw writes at the end of the file.
func (w *writer) raw(b []byte) error {
	if w.err == nil {
		_, w.err = w.f.Write(b)
	}
	return w.err
}

// Write takes rows over.
func (w *writer) Write(vectors []batch.Vector, rows int) error {
	if w.err != nil {
		return w.err
	}
	first, err := w.pending.Settle(vectors)
	if err != nil {
		return err
	}
	if first {
		w.binary = make([]bool, len(vectors))
	}
	w.err = w.pending.Add(vectors, rows, w.flush)
	return w.err
}

// flush writes a row group and its description.
func (w *writer) flush() error {
	var g encoder
	g.begin()
	g.list(1, thriftStruct, len(w.pending.Columns))
	total := int64(0)
	for i := range w.pending.Columns {
		v := &w.pending.Columns[i]
		if v.DType == serval.Bytes && !w.binary[i] {
			w.binary[i] = !utf8.Valid(textsOf(v.Data))
		}
		c, err := w.pack.chunk(v, w.pending.Rows)
		if err != nil {
			return err
		}
		at := w.f.Size()
		if err := w.raw(c.bytes); err != nil {
			return err
		}
		total += c.size
		c.describe(&g, v, at, w.opt.codec)
	}
	g.i64(2, total)
	g.i64(3, int64(w.pending.Rows))
	g.end()
	tail := binary.LittleEndian.AppendUint64(g.b, uint64(w.last))
	tail = binary.LittleEndian.AppendUint32(tail, uint32(len(g.b)))
	if err := w.raw(tail); err != nil {
		return err
	}
	w.last, w.rows = w.f.Size(), w.rows+int64(w.pending.Rows)
	return nil
}

// textsOf overwrites the lengths between texts in a copy, so that all can be looked at at once.
func textsOf(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for e, rest, ok := serval.NextBytes(data); ok; e, rest, ok = serval.NextBytes(rest) {
		out = append(append(out, e...), 0)
	}
	return out
}

// Sync brings the row groups, and a journal of the rows behind them, to the disk.
func (w *writer) Sync() (batch.Mark, error) {
	if w.err != nil {
		return nil, w.err
	}
	if err := w.f.Sync(); err != nil {
		return nil, err
	}
	p, err := w.pending.Sync()
	if err != nil {
		return nil, err
	}
	return json.Marshal(writerMark{At: w.f.Size(), Last: w.last, Rows: w.rows, Binary: w.binary, Pending: p})
}

// Close writes the last row group and the footer.
func (w *writer) Close() error {
	if w.pending.Rows > 0 && w.err == nil {
		if w.err = w.flush(); w.err == nil {
			w.pending.Flushed()
		}
	}
	if w.err == nil {
		w.err = w.footer()
	}
	if w.err == nil {
		w.err = w.f.Sync()
	}
	if w.err != nil {
		w.pending.Abandon()
		return errors.Join(w.err, w.f.Close())
	}
	return errors.Join(w.f.Close(), w.pending.Close())
}

// Abandon closes the file; a Mark cuts off what is behind it.
func (w *writer) Abandon() error {
	w.pending.Abandon()
	return w.f.Close()
}

// groups reads the descriptions of all row groups, the first one first.
func (w *writer) groups() ([][]byte, error) {
	var out [][]byte
	for end := w.last; end > 0; {
		var tail [12]byte
		if _, err := w.f.ReadAt(tail[:], end-12); err != nil {
			return nil, err
		}
		before, size := int64(binary.LittleEndian.Uint64(tail[:])), int64(binary.LittleEndian.Uint32(tail[8:]))
		if before >= end || size > end-12 {
			return nil, fmt.Errorf("%s was changed while it was written", w.path)
		}
		raw := make([]byte, size)
		if _, err := w.f.ReadAt(raw, end-12-size); err != nil {
			return nil, err
		}
		out = append(out, raw)
		end = before
	}
	for i, k := 0, len(out)-1; i < k; i, k = i+1, k-1 {
		out[i], out[k] = out[k], out[i]
	}
	return out, nil
}

// footer completes the file.
func (w *writer) footer() error {
	groups, err := w.groups()
	if err != nil {
		return err
	}
	var e encoder
	e.begin()
	e.i32(1, 2)
	w.schema(&e)
	e.i64(3, w.rows)
	e.list(4, thriftStruct, len(groups))
	for _, g := range groups {
		e.b = append(e.b, g...)
	}
	e.string(6, "serval")
	e.end()
	if len(e.b) > maxFooter {
		return fmt.Errorf("%s: %d row groups of %d columns are too many", w.path, len(groups), len(w.pending.Columns))
	}
	tail := append(binary.LittleEndian.AppendUint32(e.b, uint32(len(e.b))), magic...)
	return w.raw(tail)
}

// schema writes the root and the columns.
func (w *writer) schema(e *encoder) {
	n := 1
	for i := range w.pending.Columns {
		if n++; w.pending.Columns[i].Shape != nil {
			n += 2
		}
	}
	e.list(2, thriftStruct, n)
	e.begin()
	e.string(4, "schema")
	e.i32(5, int32(len(w.pending.Columns)))
	e.end()
	for i := range w.pending.Columns {
		v := &w.pending.Columns[i]
		if v.Shape == nil {
			element(e, v.DType, v.Name, optional, w.binary[i])
			continue
		}
		e.begin()
		e.i32(3, optional)
		e.string(4, v.Name)
		e.i32(5, 1)
		e.i32(6, convertedList)
		e.structure(10)
		e.structure(logicalList)
		e.end()
		e.end()
		e.end()
		e.begin()
		e.i32(3, repeated)
		e.string(4, "list")
		e.i32(5, 1)
		e.end()
		element(e, v.DType, "element", 0, w.binary[i])
	}
}
