package jsonl

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"serval"
	"serval/batch"
	"serval/internal/jsontensor"
)

// reader is a batch.Reader.
type reader struct {
	batch.Lines
	most    int
	columns []batch.Column
	scan    jsontensor.Scanner
	// Of Select.
	vectors []batch.Vector
	byName  map[string][]int // field → vectors
	order   []field          // the fields of the last row, as a guess at the next one's
	begin   []int
	seen    []bool
	arena   []byte
	text    []byte // the row that the scanner is in
	bad     []batch.Bad
}

type field struct {
	name string
	into []int
}

const (
	sampleRows  = 200
	sampleBytes = 256 << 10
	maxColumns  = 1 << 16
)

func open(ctx context.Context, o batch.Object, most int) (*reader, error) {
	lines, err := batch.OpenLines(ctx, o)
	if err != nil {
		return nil, err
	}
	r := &reader{Lines: lines, most: most}
	if err := r.sample(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.At = r.Start
	return r, nil
}

// sample finds the columns, and their types, in the first rows.
func (r *reader) sample() error {
	for len(r.Window.Buf) < sampleBytes || bytes.IndexByte(r.Window.Buf, '\n') < 0 && len(r.Window.Buf) <= r.most {
		if err := r.Window.More(); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	if bytes.HasPrefix(r.Window.Buf, []byte("\xef\xbb\xbf")) {
		r.Window.Skip(3)
		r.Start.Offset = 3
	}
	head, rows := r.Window.Buf, 0
	if text := bytes.TrimLeft(head, " \t\r\n"); len(text) > 0 && text[0] == '[' {
		return serval.Errorf(serval.InvalidArgument, "%s: begins with '[': it is one list, where every line must be an object; jq -c '.[]' makes lines of it", r.Object.Name()).At("input")
	} else if len(text) == 0 {
		return serval.Errorf(serval.InvalidArgument, "%s: empty", r.Object.Name()).At("input")
	}
	for rows < sampleRows && len(head) > 0 {
		line, rest, whole := bytes.Cut(head, []byte("\n"))
		if !whole && !r.Window.Ended() && rows > 0 {
			break
		}
		if head = rest; len(bytes.TrimSpace(line)) > 0 {
			rows++
			r.learn(line)
		}
	}
	for i := range r.columns {
		if c := &r.columns[i]; c.Type == serval.InvalidType { // null wherever it was seen
			c.Type, c.JSON = serval.Bytes, true
		}
	}
	return nil
}

// learn takes what one line says about the columns. What is wrong with it is found when it is read.
func (r *reader) learn(line []byte) {
	s := &r.scan
	s.Reset(line)
	if s.Enter('{', "a row") != nil {
		return
	}
	for first := true; ; first = false {
		more, err := s.More(first, '}')
		if err != nil || !more {
			return
		}
		key, err := s.Key()
		if err != nil {
			return
		}
		at := slices.IndexFunc(r.columns, func(c batch.Column) bool { return c.Name == string(key) })
		if at < 0 && len(r.columns) < maxColumns {
			at = len(r.columns)
			r.columns = append(r.columns, batch.Column{Name: string(key)})
		}
		c, err := r.kind()
		if err != nil {
			return
		}
		if at >= 0 {
			r.columns[at] = both(r.columns[at], c)
		}
	}
}

// kind takes a value and says what column it would make; InvalidType for null.
func (r *reader) kind() (c batch.Column, err error) {
	s := &r.scan
	switch s.Peek() {
	case 'n':
		return c, s.Null()
	case '"':
		c.Type = serval.Bytes
		return c, s.Skip()
	case 't', 'f':
		c.Type = serval.Bool
		return c, s.Skip()
	case '{':
		c.Type, c.JSON = serval.Bytes, true
		return c, s.Skip()
	case '[':
		return r.list()
	}
	text, err := s.Number()
	if c.Type = serval.Int64; bytes.ContainsAny(text, ".eE") || len(text) > 18 {
		c.Type = serval.FP64
	}
	return c, err
}

// list says what a list is: numbers of one shape, or any JSON.
func (r *reader) list() (c batch.Column, err error) {
	s := &r.scan
	begin := s.Pos()
	c = batch.Column{Type: serval.Bytes, JSON: true}
	shape, err := s.Shape(nil)
	if err != nil {
		return c, err
	}
	t := serval.Tensor{DType: serval.FP64, Shape: shape}
	if n, ok := serval.Elements(shape); ok && n > 0 && n <= 1<<20 {
		if _, err := s.Tensor(&t, nil); err == nil {
			return batch.Column{Type: serval.FP64, Shape: shape}, nil
		}
	}
	s.Seek(begin)
	return c, s.Skip()
}

// both is a column that has values of two kinds.
func both(a, b batch.Column) batch.Column {
	switch {
	case b.Type == serval.InvalidType:
		return a
	case a.Type == serval.InvalidType:
		a.Type, a.Shape, a.JSON = b.Type, b.Shape, b.JSON
		return a
	case a.Type == b.Type && a.JSON == b.JSON && slices.Equal(a.Shape, b.Shape):
		return a
	}
	number := func(c batch.Column) bool { return c.Shape == nil && (c.Type == serval.Int64 || c.Type == serval.FP64) }
	if number(a) && number(b) {
		a.Type = serval.FP64
		return a
	}
	return batch.Column{Name: a.Name, Type: serval.Bytes, JSON: true}
}

// Columns are the fields of the first rows.
func (r *reader) Columns() []batch.Column { return r.columns }

// Select lays the vectors out.
func (r *reader) Select(columns []batch.Column, from batch.Mark) error {
	r.byName = map[string][]int{}
	for i, c := range columns {
		if !slices.ContainsFunc(r.columns, func(have batch.Column) bool { return have.Name == c.Name }) {
			return serval.Errorf(serval.InvalidArgument, "%s has no field '%s' in its first %d rows", r.Object.Name(), c.Name, sampleRows).At(c.Name)
		}
		if n, ok := serval.Elements(c.Shape); !ok || n > batch.MaxBlock {
			return serval.Errorf(serval.InvalidArgument, "field '%s': %s values a row are more than are read", c.Name, serval.ShapeString(c.Shape)).At(c.Name)
		}
		r.byName[c.Name] = append(r.byName[c.Name], i)
		r.vectors = append(r.vectors, batch.Vector{Name: c.Name, DType: c.Type, Shape: c.Shape, JSON: c.JSON})
	}
	r.begin, r.seen = make([]int, len(columns)), make([]bool, len(columns))
	return r.Resume(from, "JSONL")
}

// Read fills a block.
func (r *reader) Read(ctx context.Context, b *batch.Block, n int) error {
	b.First, b.Rows = r.At.Row, 0
	r.bad = r.bad[:0]
	for i := range r.vectors {
		r.vectors[i].Data, r.vectors[i].Null = r.vectors[i].Data[:0], nil
	}
	from := r.At.Offset
	for b.Rows < n && (b.Rows == 0 || r.At.Offset-from < batch.MaxBlock) {
		if b.Rows&255 == 255 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, cut, err := r.Window.Line(r.most)
		if err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		if cut || len(bytes.TrimSpace(line)) > 0 {
			r.line(line, cut, b.Rows-len(r.bad))
			r.At.Row++
			b.Rows++
		}
		r.At.Offset = r.Window.Offset
		r.At.Line++
	}
	b.Vectors, b.Bad = r.vectors, r.bad
	if b.Rows == 0 {
		return io.EOF
	}
	return nil
}
