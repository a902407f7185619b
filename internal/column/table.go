package column

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"serval"
	"serval/batch"
)

// Page is some consecutive rows of one column. A Cursor fills it, and it is good until the Cursor's next Next.
type Page struct {
	Rows  int
	Valid []bool // rows that are there; nil: all
	// Elems are the values: of the rows that are there, one after the other, or, with Spaced, of all rows. With Index, value i is
	// element Index[i].
	Elems  *Elems
	Index  []uint32
	Spaced bool
	// Starts makes it a column of lists: row i has the elements Starts[i] to Starts[i+1]; Present says which of these are there,
	// nil: all. Lists have no Index.
	Starts  []int
	Present []bool
	// From is the first row that counts.
	From int
}

// Cursor gives a column's rows from the place where it was opened on.
type Cursor interface {
	// Next makes p hold the next rows, at least one; io.EOF when there are none.
	Next(ctx context.Context, p *Page) error
}

// Table makes blocks of the pages of several columns. One goroutine uses it.
type Table struct {
	cols    []*col
	row     int64 // the next, from 0
	total   int64 // -1: not known
	bad     []batch.Bad
	vectors []batch.Vector
	sizes   []int
	drop    []bool
}

// col is one column of a Table.
type col struct {
	batch.Column
	cursor Cursor
	page   Page
	at     int // rows taken of the page
	value  int // values taken of it
	list   bool
	size   int // of an element; 0: Bytes
	each   int // elements of a row; -1: a list as JSON
	data   []byte
	nulls  []bool
	null   bool // one of nulls is set
}

// NewTable makes a Table that begins at a row, of total rows; -1: not known.
func NewTable(row, total int64) *Table { return &Table{row: row, total: total} }

// Plan says how a column of a source is read as another: the converter of its elements, and whether lists become JSON. list says
// that its rows are lists; a fixed one has each elements, else it is 0.
func Plan(s *Source, list bool, each int64, want batch.Column) (Converter, error) {
	n, ok := int64(1), true
	if want.Shape != nil {
		n, ok = serval.Elements(want.Shape)
	}
	switch {
	case !list && (!ok || n != 1):
		return nil, fmt.Errorf("holds single values, where %s are needed", serval.ShapeString(want.Shape))
	case list && (want.Shape == nil || !ok):
		if want.Shape == nil && want.Type != serval.Bytes {
			return nil, fmt.Errorf("holds lists, where single values are needed")
		}
		return s.Converter(serval.Bytes, true)
	case list && each > 0 && n != each:
		return nil, fmt.Errorf("holds lists of %d values, where %s are needed", each, serval.ShapeString(want.Shape))
	case list && n > batch.MaxBlock/int64(max(1, want.Type.Size())):
		return nil, fmt.Errorf("a row of %s is too large", serval.ShapeString(want.Shape))
	}
	return s.Converter(want.Type, false)
}

// Add adds a column that a Plan was made for, and returns the size of its elements. list says that its pages are of lists.
func (t *Table) Add(c batch.Column, list bool, cursor Cursor) int {
	own := &col{Column: c, cursor: cursor, list: list, size: c.Type.Size(), each: 1}
	v := batch.Vector{Name: c.Name, DType: c.Type, Shape: c.Shape}
	if n, ok := serval.Elements(c.Shape); list {
		if own.each = int(n); c.Shape == nil || !ok {
			own.each, own.size = -1, 0
			v.DType, v.Shape = serval.Bytes, nil
		}
	}
	t.cols = append(t.cols, own)
	t.vectors = append(t.vectors, v)
	return own.size
}

// Row is the number of the next row, from 0.
func (t *Table) Row() int64 { return t.row }

// Total is the number of rows; -1: not known.
func (t *Table) Total() int64 { return t.total }

// Read makes a block of the next n rows at most.
func (t *Table) Read(ctx context.Context, b *batch.Block, n int) error {
	b.First, b.Rows, b.Vectors, b.Bad = t.row+1, 0, nil, nil
	t.bad = t.bad[:0]
	for _, c := range t.cols {
		c.data, c.nulls, c.null = c.data[:0], c.nulls[:0], false
	}
	left := batch.MaxBlock
	for b.Rows < n {
		step, err := t.advance(ctx, n-b.Rows)
		if err == io.EOF && b.Rows > 0 {
			break
		} else if err != nil {
			return err
		}
		fit := t.fit(step, &left, b.Rows == 0)
		for _, c := range t.cols {
			c.take(fit, func(i int, why string) {
				t.bad = append(t.bad, batch.Bad{Row: t.row + 1 + int64(i), Column: c.Name, Reason: why})
			})
		}
		b.Rows += fit
		t.row += int64(fit)
		if fit < step {
			break
		}
	}
	if b.Rows == 0 {
		return io.EOF
	}
	t.finish(b)
	return nil
}

// advance makes every column's page have a row, and says how many they all have, at most most.
func (t *Table) advance(ctx context.Context, most int) (int, error) {
	const stride = 8192 // rows of a step, so that what is touched stays in the processor's cache
	most = min(most, stride)
	if t.total >= 0 {
		if t.row >= t.total {
			return 0, io.EOF
		}
		most = int(min(int64(most), t.total-t.row))
	} else if len(t.cols) == 0 {
		return 0, errors.New("no column is read of a file that does not say how many rows it has")
	}
	for i, c := range t.cols {
		for c.at == c.page.Rows {
			err := c.cursor.Next(ctx, &c.page)
			if err == io.EOF && (t.total >= 0 || i > 0) {
				return 0, fmt.Errorf("column '%s' ends at row %d, before others", c.Name, t.row)
			} else if err != nil {
				return 0, err
			}
			c.begin()
		}
		most = min(most, c.page.Rows-c.at)
	}
	return most, ctx.Err()
}

// begin goes to the first row of a page that counts.
func (c *col) begin() {
	c.at, c.value = c.page.From, c.page.From
	if c.page.Valid != nil && !c.page.Spaced {
		c.value = 0
		for _, there := range c.page.Valid[:c.at] {
			c.value += bit(there)
		}
	}
}

// fit says how many of the next rows go into what is left of a block; at least one into an empty one.
func (t *Table) fit(rows int, left *int, empty bool) int {
	fixed, open := 0, false
	for _, c := range t.cols {
		if c.size > 0 {
			fixed += c.size * c.each
		} else {
			open = true
		}
	}
	if !open {
		if fixed > 0 {
			rows = min(rows, *left/fixed)
		}
		if rows == 0 && empty {
			rows = 1
		}
		*left -= rows * fixed
		return rows
	}
	t.sizes = slices.Grow(t.sizes[:0], rows)[:rows]
	for i := range t.sizes {
		t.sizes[i] = fixed
	}
	for _, c := range t.cols {
		if c.size == 0 {
			c.measure(t.sizes)
		}
	}
	for i, size := range t.sizes {
		if size > *left && (i > 0 || !empty) {
			return i
		}
		*left -= size
	}
	return rows
}

// measure adds the bytes of the column's next rows.
func (c *col) measure(sizes []int) {
	p, value := &c.page, c.value
	off := p.Elems.Off
	for i := range sizes {
		switch row := c.at + i; {
		case c.list:
			a, b := p.Starts[row], p.Starts[row+1]
			sizes[i] += 8 + int(off[b]-off[a]) + b - a
		case p.Valid != nil && !p.Valid[row]:
			sizes[i] += 4
			if p.Spaced {
				value++
			}
		default:
			at := value
			if p.Index != nil {
				at = int(p.Index[value])
			}
			sizes[i] += int(off[at+1] - off[at])
			value++
		}
	}
}

// finish leaves the bad rows out of the vectors.
func (t *Table) finish(b *batch.Block) {
	for i, c := range t.cols {
		t.vectors[i].Data, t.vectors[i].Null = c.data, nil
		if c.null {
			t.vectors[i].Null = c.nulls
		}
	}
	b.Vectors = t.vectors
	if len(t.bad) == 0 {
		return
	}
	slices.SortStableFunc(t.bad, func(a, b batch.Bad) int { return int(a.Row - b.Row) })
	t.bad = slices.CompactFunc(t.bad, func(a, b batch.Bad) bool { return a.Row == b.Row })
	b.Bad = t.bad
	t.drop = slices.Grow(t.drop[:0], b.Rows)[:b.Rows]
	clear(t.drop)
	for _, bad := range t.bad {
		t.drop[bad.Row-b.First] = true
	}
	for i, c := range t.cols {
		c.leaveOut(&t.vectors[i], t.drop)
	}
}

func (c *col) leaveOut(v *batch.Vector, drop []bool) {
	at, kept, nulls := 0, 0, v.Null[:0]
	for row, gone := range drop {
		n := c.size * c.each
		if c.size == 0 {
			n = 0
			for range max(1, c.each) {
				e, _, _ := serval.NextBytes(v.Data[at+n:])
				n += 4 + len(e)
			}
			if c.each == 0 {
				n = 0
			}
		}
		if !gone {
			kept += copy(v.Data[kept:], v.Data[at:at+n])
			if v.Null != nil {
				nulls = append(nulls, v.Null[row])
			}
		}
		at += n
	}
	v.Data = v.Data[:kept]
	if v.Null != nil {
		v.Null = nulls
	}
}
