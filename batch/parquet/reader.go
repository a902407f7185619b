package parquet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/klauspost/compress/zstd"

	"serval"
	"serval/batch"
	"serval/internal/column"
)

// file is an open Parquet file.
type file struct {
	name   string
	at     *faults
	window int // bytes of a read
	groups []group
	rows   int64
	leaves []leaf
	zstd   *zstd.Decoder // of all columns; nil: none was needed yet
}

// faults remembers why the place where a file lies could not be read, which is no fault of the file.
type faults struct {
	io.ReaderAt
	err error
}

func (f *faults) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.ReaderAt.ReadAt(p, off)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// reader is a batch.Reader.
type reader struct {
	file
	columns []batch.Column
	table   *column.Table
}

// mark is a reader's Mark.
type mark struct {
	Row int64 `json:"row"`
}

func open(ctx context.Context, o batch.Object) (*reader, error) {
	at := o.At()
	if at == nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: a Parquet file is read from its end, which this place cannot do; save it as a file first", o.Name()).At("input")
	}
	f, err := readFooter(ctx, o, at)
	if err != nil {
		return nil, err
	}
	r := &reader{file: file{name: o.Name(), at: &faults{ReaderAt: at}, groups: f.groups, rows: f.rows}}
	if r.leaves, err = leaves(f.nodes); err != nil {
		return nil, broken(o.Name(), "%v", err)
	}
	for i := range r.leaves {
		r.columns = append(r.columns, r.leaves[i].Column)
	}
	return r, nil
}

// Columns are those of the file, structs' fields with their path as a name.
func (r *reader) Columns() []batch.Column { return slices.Clone(r.columns) }

// Select opens the columns at a row.
func (r *reader) Select(columns []batch.Column, from batch.Mark) error {
	m := mark{}
	if from != nil {
		if err := json.Unmarshal(from, &m); err != nil || m.Row < 0 || m.Row > r.rows {
			return fmt.Errorf("%s: the checkpoint's place %s is none of this file", r.name, from)
		}
	}
	r.table = column.NewTable(m.Row, r.rows)
	first := sort.Search(len(r.groups), func(i int) bool { return r.groups[i].first+r.groups[i].rows > m.Row })
	skip := int64(0)
	if first < len(r.groups) {
		skip = m.Row - r.groups[first].first
	}
	r.window = min(1<<20, max(64<<10, (64<<20)/max(1, len(columns))))
	left := &budget{left: maxMemory}
	for _, c := range columns {
		at := slices.IndexFunc(r.leaves, func(l leaf) bool { return l.Name == c.Name })
		if at < 0 {
			return serval.Errorf(serval.InvalidArgument, "%s has no column '%s'", r.name, c.Name).At(c.Name)
		}
		l := &r.leaves[at]
		if l.why != "" {
			return serval.Errorf(serval.Unimplemented, "column '%s' of %s %s, which is not read; name those to keep with --passthrough", c.Name, r.name, l.why).At(c.Name)
		}
		convert, err := column.Plan(&l.source, l.maxRep > 0, 0, c)
		if err != nil {
			return serval.Errorf(serval.InvalidArgument, "column '%s' of %s %w", c.Name, r.name, err).At(c.Name)
		}
		own := &cursor{leaf: l, file: &r.file, convert: convert, budget: left, group: first, skip: skip}
		own.size = r.table.Add(c, l.maxRep > 0, own)
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

// Progress is in rows.
func (r *reader) Progress() (done, of int64) {
	if r.table == nil {
		return 0, r.rows
	}
	return r.table.Row(), r.rows
}

// Close has nothing to close: objects are read where they lie.
func (r *reader) Close() error { return nil }
