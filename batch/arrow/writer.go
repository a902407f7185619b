package arrow

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"serval"
	"serval/batch"
	"serval/internal/column"
)

// writer is a batch.Writer. Rows of the record batch to come are in a column.Pending.
type writer struct {
	f       *batch.Part
	path    string
	opt     options
	rows    int64 // in record batches
	settled bool  // the schema was written
	binary  []bool
	pending *column.Pending
	zstd    *zstd.Encoder
	err     error
}

// options of a file that is written.
type options struct {
	stream bool
	pack   bool
	rows   int // of a record batch
}

// writerMark is a writer's Mark.
type writerMark struct {
	At      int64              `json:"at"`
	Rows    int64              `json:"rows"`
	Settled bool               `json:"settled,omitempty"`
	Binary  []bool             `json:"binary,omitempty"` // columns of bytes that are no UTF-8
	Pending column.PendingMark `json:"pending"`
}

func create(path string, from batch.Mark, opt options) (*writer, error) {
	w := &writer{path: path, opt: opt}
	if from != nil {
		return w, w.resume(from)
	}
	var err error
	if w.f, err = batch.NewPart(path); err != nil {
		return nil, err
	}
	if w.pending, err = column.NewPending(path, opt.rows); err == nil && !opt.stream {
		err = w.raw([]byte(magic + "\x00\x00"))
	}
	if err != nil {
		return nil, errors.Join(err, w.f.Close())
	}
	return w, nil
}

// resume goes on behind a Mark.
func (w *writer) resume(from batch.Mark) error {
	var m writerMark
	if err := json.Unmarshal(from, &m); err != nil || m.At < 0 {
		return fmt.Errorf("%s: the checkpoint's place %s is none of an Arrow file", w.path, from)
	}
	f, err := batch.OpenPart(w.path, m.At)
	if err != nil {
		return err
	}
	w.pending, err = column.Resume(w.path, w.opt.rows, m.Pending, func(p *column.Pending) error {
		return column.Reread(Format{}, w.path, batch.Mark(fmt.Sprintf(`{"row":%d}`, m.Rows)), m.Pending.Rows, p)
	})
	if err == nil {
		err = f.Cut()
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.f, w.rows, w.settled, w.binary = f, m.Rows, m.Settled, m.Binary
	return nil
}

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
	if _, err := w.pending.Settle(vectors); err != nil {
		return err
	}
	w.err = w.pending.Add(vectors, rows, w.flush)
	return w.err
}

// settle writes the schema, once the first rows say which texts are UTF-8.
func (w *writer) settle() error {
	if w.settled {
		return nil
	}
	w.binary = make([]bool, len(w.pending.Columns))
	for i := range w.pending.Columns {
		v := &w.pending.Columns[i]
		for e, rest, ok := serval.NextBytes(v.Data); v.DType == serval.Bytes && ok; e, rest, ok = serval.NextBytes(rest) {
			w.binary[i] = w.binary[i] || !utf8.Valid(e)
		}
	}
	w.settled = true
	var b builder
	envelope(&b, headSchema, 0, func() int { return w.schema(&b) })
	return w.message(&b, nil)
}

// envelope writes the table of a message, whose head make writes.
func envelope(b *builder, kind, body int64, make func() int) {
	b.b = append(b.b, 0, 0, 0, 0)
	pos, at := b.table(slot{2, 4}, slot{1, kind}, slot{4, 0}, slot{8, body})
	b.refer(0, pos)
	b.refer(at[2], make())
	b.align(8, 0)
}

// message writes a message and its body to the file.
func (w *writer) message(b *builder, body []byte) error {
	head := binary.LittleEndian.AppendUint32([]byte{0xff, 0xff, 0xff, 0xff}, uint32(len(b.b)))
	return w.raw(append(append(head, b.b...), body...))
}

// flush writes a record batch.
func (w *writer) flush() error {
	if err := w.settle(); err != nil {
		return err
	}
	r := recordWriter{rows: int64(w.pending.Rows), w: w}
	for i := range w.pending.Columns {
		r.column(&w.pending.Columns[i], w.binary[i])
	}
	if r.err != nil {
		return r.err
	}
	var b builder
	envelope(&b, headBatch, int64(len(r.body)), func() int { return r.table(&b) })
	if err := w.message(&b, r.body); err != nil {
		return err
	}
	w.rows += int64(w.pending.Rows)
	return nil
}

// Sync brings the record batches, and a journal of the rows behind them, to the disk.
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
	return json.Marshal(writerMark{At: w.f.Size(), Rows: w.rows, Settled: w.settled, Binary: w.binary, Pending: p})
}

// Close writes the last record batch and, in a file, the footer.
func (w *writer) Close() error {
	if w.err == nil {
		w.err = w.complete()
	}
	if w.err != nil {
		w.pending.Abandon()
		return errors.Join(w.err, w.f.Close())
	}
	return errors.Join(w.f.Close(), w.pending.Close())
}

func (w *writer) complete() error {
	if w.pending.Rows > 0 {
		if err := w.flush(); err != nil {
			return err
		}
		w.pending.Flushed()
	}
	if err := w.settle(); err != nil {
		return err
	}
	blocks, err := w.blocks()
	if err != nil {
		return err
	}
	if err := w.raw([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}); err != nil {
		return err
	}
	if !w.opt.stream {
		var b builder
		b.b = append(b.b, 0, 0, 0, 0)
		pos, at := b.table(slot{2, 4}, slot{4, 0}, slot{}, slot{4, 0})
		b.refer(0, pos)
		b.refer(at[1], w.schema(&b))
		pos = b.vector(len(blocks))
		b.refer(at[3], pos)
		for _, k := range blocks {
			b.b = binary.LittleEndian.AppendUint64(b.b, uint64(k.off))
			b.b = binary.LittleEndian.AppendUint64(b.b, uint64(k.meta))
			b.b = binary.LittleEndian.AppendUint64(b.b, uint64(k.body))
		}
		b.align(8, 0)
		if err := w.raw(append(binary.LittleEndian.AppendUint32(b.b, uint32(len(b.b))), magic...)); err != nil {
			return err
		}
	}
	return w.f.Sync()
}

// block is where a record batch lies.
type block struct{ off, meta, body int64 }

// blocks walks through what was written.
func (w *writer) blocks() ([]block, error) {
	var out []block
	at := int64(8)
	if w.opt.stream {
		return nil, nil
	}
	for at < w.f.Size() {
		var head [8]byte
		if _, err := w.f.ReadAt(head[:], at); err != nil {
			return nil, err
		}
		size := int64(binary.LittleEndian.Uint32(head[4:]))
		if size > maxMetadata || at+8+size > w.f.Size() {
			return nil, fmt.Errorf("%s was changed while it was written", w.path)
		}
		f := flat{b: make([]byte, size)}
		if _, err := w.f.ReadAt(f.b, at+8); err != nil {
			return nil, err
		}
		root := f.root()
		k := block{at, 8 + size, root.int(3, 8, 0)}
		if f.bad || k.body < 0 {
			return nil, fmt.Errorf("%s was changed while it was written", w.path)
		}
		if root.int(1, 1, 0) == headBatch {
			out = append(out, k)
		}
		at += k.meta + k.body
	}
	return out, nil
}

// Abandon closes the file; a Mark cuts off what is behind it.
func (w *writer) Abandon() error {
	w.pending.Abandon()
	return w.f.Close()
}
