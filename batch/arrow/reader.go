package arrow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"serval"
	"serval/batch"
	"serval/internal/column"
)

// reader is a batch.Reader. All its cursors read the same rows of a record batch at a time, a stride.
type reader struct {
	name    string
	msgs    *messages
	schema  *schema
	columns []batch.Column
	table   *column.Table
	cursors []*cursor
	unpack  unpacker
	dicts   map[int64]*dictionary
	fields  map[int64]*field // of dictionaries

	skip    int64 // rows to leave out
	batch   *records
	from    int64 // of the stride, within the record batch
	rows    int64 // of the stride
	stride  int   // counts them
	ordinal int   // of the record batch
}

// dictionary is the values of one.
type dictionary struct {
	raw     column.Raw
	n       int
	valid   []bool // nil: all are there
	version int
}

type mark struct {
	Row int64 `json:"row"`
}

const (
	strideRows  = 1 << 16
	strideBytes = 16 << 20 // of one column, where a row alone is not larger
	maxDict     = 1 << 26
)

func open(ctx context.Context, o batch.Object) (*reader, error) {
	msgs, err := openMessages(ctx, o)
	if err != nil {
		return nil, err
	}
	r := &reader{name: o.Name(), msgs: msgs, dicts: map[int64]*dictionary{}, fields: map[int64]*field{}}
	if err := r.open(ctx); err != nil {
		return nil, errors.Join(err, msgs.close())
	}
	return r, nil
}

func (r *reader) open(ctx context.Context) error {
	m, err := r.msgs.next(ctx, func(*message) bool { return false })
	if err == io.EOF {
		return broken(r.name, "it ends before its schema")
	} else if err != nil {
		return broken(r.name, "%v", err).Because(err)
	}
	if m.kind != headSchema {
		return broken(r.name, "it does not begin with a schema; it is another format")
	}
	if r.schema, err = readSchema(m.head); err != nil {
		return broken(r.name, "%v", err)
	}
	for _, l := range r.schema.leaves {
		r.columns = append(r.columns, l.Column)
	}
	for _, f := range r.schema.layout {
		if f.dict >= 0 && r.fields[f.dict] == nil {
			r.fields[f.dict] = f
		}
	}
	return nil
}

// Columns are those of the file, structs' fields with their path as a name.
func (r *reader) Columns() []batch.Column { return slices.Clone(r.columns) }

// Select opens the columns at a row.
func (r *reader) Select(columns []batch.Column, from batch.Mark) error {
	m := mark{}
	if from != nil {
		if err := json.Unmarshal(from, &m); err != nil || m.Row < 0 {
			return fmt.Errorf("%s: the checkpoint's place %s is none of this file", r.name, from)
		}
	}
	r.skip = m.Row
	r.table = column.NewTable(m.Row, -1)
	for _, c := range columns {
		at := slices.IndexFunc(r.schema.leaves, func(l leaf) bool { return l.Name == c.Name })
		if at < 0 {
			return serval.Errorf(serval.InvalidArgument, "%s has no column '%s'", r.name, c.Name).At(c.Name)
		}
		l := &r.schema.leaves[at]
		if l.why != "" {
			return serval.Errorf(serval.Unimplemented, "column '%s' of %s %s, which is not read; name those to keep with --passthrough", c.Name, r.name, l.why).At(c.Name)
		}
		f, each := l.path[len(l.path)-1], 0
		values := f
		if l.list != nil {
			values, each = l.list, f.each
		}
		convert, err := column.Plan(&values.source, l.list != nil, int64(each), c)
		if err != nil {
			return serval.Errorf(serval.InvalidArgument, "column '%s' of %s %w", c.Name, r.name, err).At(c.Name)
		}
		own := &cursor{r: r, leaf: l, values: values, convert: convert}
		own.size = r.table.Add(c, l.list != nil, own)
		r.cursors = append(r.cursors, own)
	}
	return nil
}

// Read fills a block.
func (r *reader) Read(ctx context.Context, b *batch.Block, n int) error {
	return r.table.Read(ctx, b, n)
}

// Mark is the number of the next row.
func (r *reader) Mark() batch.Mark {
	m, _ := json.Marshal(mark{r.table.Row()}) // a number
	return m
}

// Progress is in bytes.
func (r *reader) Progress() (done, of int64) { return r.msgs.offset, max(0, r.msgs.o.Size()) }

// Close closes a stream.
func (r *reader) Close() error { return r.msgs.close() }

// next goes to the next stride of rows.
func (r *reader) next(ctx context.Context) error {
	r.from += r.rows
	r.rows = 0
	for r.batch == nil || r.from >= r.batch.rows {
		if err := r.load(ctx); err != nil {
			return err
		}
	}
	n := min(r.batch.rows-r.from, strideRows)
	for _, c := range r.cursors {
		if err := c.enter(); err != nil {
			return err
		}
		for n > 1 {
			size, err := c.width(r.from, n)
			if err != nil {
				return err
			}
			if size <= strideBytes {
				break
			}
			n /= 2
		}
	}
	r.rows = n
	r.stride++
	return nil
}

// load reads on to the next record batch that has rows.
func (r *reader) load(ctx context.Context) error {
	m, err := r.msgs.next(ctx, func(m *message) bool { return m.kind == headBatch && m.head.int(0, 8, 0) <= r.skip })
	if err != nil {
		return err
	}
	switch m.kind {
	case headDict:
		return r.dictionary(m)
	case headBatch:
	default:
		return nil // a schema again, or what later versions have
	}
	b, err := readRecords(m.head, m.body)
	if err != nil {
		return err
	}
	if b.rows <= r.skip {
		r.skip -= b.rows
		return nil
	}
	if len(b.nodes) < r.schema.nodes {
		return fmt.Errorf("a record batch of %d parts, where the schema has %d", len(b.nodes), r.schema.nodes)
	}
	r.schema.place(b.views)
	r.batch, r.from, r.rows, r.skip = b, r.skip, 0, 0
	r.ordinal++
	return nil
}

// dictionary takes a dictionary's values over, or those that are added to it.
func (r *reader) dictionary(m *message) error {
	id, more := m.head.int(0, 8, 0), m.head.int(2, 1, 0) != 0
	f := r.fields[id]
	t := m.head.table(1)
	if f == nil || f.why != "" || f.kind == typeNull || t.pos == 0 {
		return nil // of columns that are not read
	}
	b, err := readRecords(t, m.body)
	if err != nil {
		return err
	}
	if len(b.nodes) < 1 || b.nodes[0].rows != b.rows || b.rows > maxDict {
		return fmt.Errorf("a dictionary of %d values", b.rows)
	}
	values := *f
	values.dict, values.buffer, values.node = -1, 0, 0
	var p parts
	if err := p.open(&values, b, &r.unpack); err != nil {
		return err
	}
	size, err := p.width(&values, 0, b.rows)
	if err != nil {
		return err
	}
	d := r.dicts[id]
	if d == nil || !more {
		d = &dictionary{version: r.version(id)}
	}
	if size+int64(len(d.raw.Data)) > maxBuffer || int64(d.n)+b.rows > maxDict {
		return fmt.Errorf("a dictionary of more than %d bytes", maxBuffer)
	}
	valid, err := p.valid(0, b.rows, nil)
	if err != nil {
		return err
	}
	var raw column.Raw
	if err := p.raw(&values, &raw, 0, b.rows); err != nil {
		return err
	}
	d.add(&raw, int(b.rows), valid, values.source.Kind == column.Text)
	d.version++
	r.dicts[id] = d
	return nil
}

func (r *reader) version(id int64) int {
	if d := r.dicts[id]; d != nil {
		return d.version
	}
	return 0
}

// add appends values, which it copies.
func (d *dictionary) add(raw *column.Raw, n int, valid []bool, text bool) {
	if text {
		base := uint32(len(d.raw.Data))
		if len(d.raw.Off) == 0 {
			d.raw.Off = []uint32{0}
		}
		for _, off := range raw.Off[1 : n+1] {
			d.raw.Off = append(d.raw.Off, base+off)
		}
	}
	d.raw.Data = append(d.raw.Data, raw.Data...)
	if valid != nil || d.valid != nil {
		for len(d.valid) < d.n {
			d.valid = append(d.valid, true)
		}
		for i := range n {
			d.valid = append(d.valid, valid == nil || valid[i])
		}
	}
	d.n += n
}
