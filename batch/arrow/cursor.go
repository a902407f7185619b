package arrow

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"serval"
	"serval/internal/column"
)

// parts are the buffers of one field of a record batch, and room to read them into.
type parts struct {
	rows                 int64
	validity, main, text source
	missing              bool // validity counts
	rooms                [3][]byte
	reads                [3][]byte
	offs                 []uint32
	bools                []byte
}

// open finds the buffers.
func (p *parts) open(f *field, b *records, u *unpacker) (err error) {
	n := b.nodes[f.node]
	if n.rows < 0 || n.nulls < 0 || n.nulls > n.rows {
		return fmt.Errorf("a part of %d rows, %d of them missing", n.rows, n.nulls)
	}
	p.rows, p.missing = n.rows, n.nulls > 0
	if f.kind == typeNull && f.dict < 0 {
		p.missing = false
		return nil
	}
	if p.missing {
		if p.validity, err = b.open(f.buffer, u, &p.rooms[0]); err != nil {
			return err
		}
	}
	if f.dict < 0 && (f.kind == typeStruct || f.kind == typeFixedList) {
		return nil
	}
	if p.main, err = b.open(f.buffer+1, u, &p.rooms[1]); err != nil {
		return err
	}
	if f.dict < 0 && f.source.Kind == column.Text {
		p.text, err = b.open(f.buffer+2, u, &p.rooms[2])
	}
	return err
}

// valid says which of n rows from one on are there, together with and; nil: all.
func (p *parts) valid(from, n int64, and []bool) ([]bool, error) {
	if !p.missing {
		return and, nil
	}
	bits, err := p.validity.read(from/8, (from+n+7)/8-from/8, &p.reads[0])
	if err != nil {
		return nil, err
	}
	if and == nil {
		and = make([]bool, n)
		for i := range and {
			and[i] = true
		}
	}
	for i := range and {
		k := from%8 + int64(i)
		and[i] = and[i] && bits[k>>3]>>(k&7)&1 != 0
	}
	return and, nil
}

// offsets reads n+1 offsets of texts or lists, which must not go back.
func (p *parts) offsets(large bool, from, n int64, into []int64) ([]int64, error) {
	into = into[:0]
	size := int64(4)
	if large {
		size = 8
	}
	if p.main.size == 0 && p.rows == 0 {
		return append(into, 0), nil
	}
	raw, err := p.main.read(from*size, (n+1)*size, &p.reads[1])
	if err != nil {
		return nil, err
	}
	last := int64(0)
	for i := range n + 1 {
		off := int64(0)
		if large {
			off = int64(binary.LittleEndian.Uint64(raw[8*i:]))
		} else {
			off = int64(int32(binary.LittleEndian.Uint32(raw[4*i:])))
		}
		if off < last {
			return nil, fmt.Errorf("offset %d after %d", off, last)
		}
		into, last = append(into, off), off
	}
	return into, nil
}

// width is how many bytes of values n rows have.
func (p *parts) width(f *field, from, n int64) (int64, error) {
	switch {
	case f.dict >= 0 || f.kind == typeNull || n == 0:
		return 4 * n, nil
	case f.source.Kind == column.Text:
		first, err := p.offsets(f.large, from, 0, nil)
		if err != nil {
			return 0, err
		}
		last, err := p.offsets(f.large, from+n, 0, nil)
		if err != nil {
			return 0, err
		}
		if last[0] < first[0] {
			return 0, errBroken
		}
		return last[0] - first[0], nil
	}
	return n * int64(f.source.Size()), nil
}

// raw reads n values from one on.
func (p *parts) raw(f *field, raw *column.Raw, from, n int64) error {
	source := f.source
	if f.dict >= 0 {
		source = f.index
	}
	var err error
	switch {
	case f.kind == typeNull && f.dict < 0:
		if int64(cap(p.offs)) < n+1 {
			p.offs = make([]uint32, n+1)
		}
		raw.Off, raw.Data = p.offs[:n+1], nil
		clear(raw.Off)
	case source.Kind == column.Text:
		offs, err := p.offsets(f.large, from, n, nil)
		if err != nil {
			return err
		}
		first, last := offs[0], offs[len(offs)-1]
		if last-first > math.MaxUint32/2 {
			return fmt.Errorf("texts of %d bytes at once", last-first)
		}
		p.offs = p.offs[:0]
		for _, off := range offs {
			p.offs = append(p.offs, uint32(off-first))
		}
		raw.Off = p.offs
		raw.Data, err = p.text.read(first, last-first, &p.reads[2])
		return err
	case source.Kind == column.Bool:
		bits, err := p.main.read(from/8, (from+n+7)/8-from/8, &p.reads[1])
		if err != nil {
			return err
		}
		p.bools = p.bools[:0]
		for i := range n {
			k := from%8 + i
			p.bools = append(p.bools, bits[k>>3]>>(k&7)&1)
		}
		raw.Data = p.bools
	default:
		size := int64(source.Size())
		raw.Data, err = p.main.read(from*size, n*size, &p.reads[1])
	}
	return err
}

// cursor reads one column. It is a column.Cursor.
type cursor struct {
	r       *reader
	leaf    *leaf
	values  *field // that has the values
	convert column.Converter
	size    int // of an element; 0: Bytes

	stride  int
	ordinal int
	path    []parts
	list    parts // the values of lists
	raw     column.Raw
	elems   column.Elems
	dict    column.Elems
	version int
	owned   column.Elems
	index   []uint32
	offs    []int64
	starts  []int
}

// enter opens the buffers of the record batch, once.
func (c *cursor) enter() error {
	if c.ordinal == c.r.ordinal {
		return nil
	}
	if c.path == nil {
		c.path = make([]parts, len(c.leaf.path))
	}
	for i, f := range c.leaf.path {
		if err := c.path[i].open(f, c.r.batch, &c.r.unpack); err != nil {
			return err
		}
		if c.path[i].rows != c.r.batch.rows {
			return fmt.Errorf("column '%s' has %d rows in a record batch of %d", c.leaf.Name, c.path[i].rows, c.r.batch.rows)
		}
	}
	if c.leaf.list != nil {
		if err := c.list.open(c.leaf.list, c.r.batch, &c.r.unpack); err != nil {
			return err
		}
	}
	c.ordinal = c.r.ordinal
	return nil
}

// span is which values the lists of n rows have.
func (c *cursor) span(from, n int64) (first, last int64, err error) {
	f, p := c.leaf.path[len(c.path)-1], &c.path[len(c.path)-1]
	if f.kind == typeFixedList {
		first, last = from*int64(f.each), (from+n)*int64(f.each)
	} else {
		if c.offs, err = p.offsets(f.large, from, n, c.offs); err != nil {
			return 0, 0, err
		}
		first, last = c.offs[0], c.offs[len(c.offs)-1]
	}
	if last > c.list.rows {
		return 0, 0, fmt.Errorf("lists of column '%s' have values up to %d, there are %d", c.leaf.Name, last, c.list.rows)
	}
	return first, last, nil
}

// width is how many bytes n rows have.
func (c *cursor) width(from, n int64) (int64, error) {
	if c.leaf.list == nil {
		return c.path[len(c.path)-1].width(c.values, from, n)
	}
	first, last, err := c.span(from, n)
	if err != nil {
		return 0, err
	}
	size, err := c.list.width(c.values, first, last-first)
	return max(size, last-first), err
}

// Next reads the next stride.
func (c *cursor) Next(ctx context.Context, p *column.Page) (err error) {
	defer func() {
		if e := (*serval.Error)(nil); err != nil && err != io.EOF && ctx.Err() == nil && !asError(err, &e) {
			err = broken(c.r.name, "column '%s', record batch %d: %v", c.leaf.Name, c.r.ordinal, err).Because(err)
		}
	}()
	if c.stride == c.r.stride {
		if err := c.r.next(ctx); err != nil {
			return err
		}
	}
	c.stride = c.r.stride
	from, n := c.r.from, c.r.rows
	*p = column.Page{Rows: int(n), Spaced: true}
	for i := range c.path {
		if p.Valid, err = c.path[i].valid(from, n, p.Valid); err != nil {
			return err
		}
	}
	own := &c.path[len(c.path)-1]
	if c.leaf.list == nil {
		if c.values.kind == typeNull && c.values.dict < 0 {
			p.Valid = make([]bool, n)
		}
		p.Elems, p.Index, p.Valid, err = c.elements(own, from, n, p.Valid)
		return err
	}
	first, last, err := c.span(from, n)
	if err != nil {
		return err
	}
	if last-first > maxDict {
		return fmt.Errorf("lists of %d values at once", last-first)
	}
	c.starts = c.starts[:0]
	each := int64(c.leaf.path[len(c.path)-1].each)
	for i := range n + 1 {
		if c.leaf.path[len(c.path)-1].kind == typeFixedList {
			c.starts = append(c.starts, int(i*each))
		} else {
			c.starts = append(c.starts, int(c.offs[i]-first))
		}
	}
	p.Starts = c.starts
	if p.Present, err = c.list.valid(first, last-first, nil); err != nil {
		return err
	}
	var index []uint32
	if c.values.kind == typeNull {
		p.Present = make([]bool, last-first)
	}
	if p.Elems, index, p.Present, err = c.elements(&c.list, first, last-first, p.Present); err != nil || index == nil {
		return err
	}
	c.owned.Forget(c.owned.Len())
	c.owned.Own(c.size)
	for i, x := range index {
		c.owned.Append(p.Elems, int(x), p.Present == nil || p.Present[i])
		if len(c.owned.Data) > maxBuffer {
			return fmt.Errorf("lists of more than %d bytes at once", maxBuffer)
		}
	}
	p.Elems = &c.owned
	return nil
}

// elements makes n values from one on ready, or an index into those of a dictionary. A value that a dictionary does not have is
// missing in what it returns of valid.
func (c *cursor) elements(p *parts, from, n int64, valid []bool) (*column.Elems, []uint32, []bool, error) {
	f := c.values
	if from+n > p.rows {
		return nil, nil, nil, fmt.Errorf("rows %d to %d of %d", from, from+n, p.rows)
	}
	if err := p.raw(f, &c.raw, from, n); err != nil {
		return nil, nil, nil, err
	}
	if f.dict < 0 {
		c.convert(&c.elems, &c.raw, int(n))
		return &c.elems, nil, valid, nil
	}
	d := c.r.dicts[f.dict]
	if d == nil {
		return nil, nil, nil, fmt.Errorf("its dictionary is missing")
	}
	if c.version != d.version {
		if f.source.Kind == column.Text && len(d.raw.Off) == 0 {
			d.raw.Off = []uint32{0}
		}
		c.convert(&c.dict, &d.raw, d.n)
		c.version = d.version
	}
	if int64(cap(c.index)) < n {
		c.index = make([]uint32, n)
	}
	c.index = c.index[:n]
	if err := c.indices(d, valid); err != nil {
		return nil, nil, nil, err
	}
	if d.valid != nil {
		for i, x := range c.index {
			if int(x) < len(d.valid) && !d.valid[x] && (valid == nil || valid[i]) {
				if valid == nil {
					valid = make([]bool, n)
					for k := range valid {
						valid[k] = true
					}
				}
				valid[i] = false
			}
		}
	}
	return &c.dict, c.index, valid, nil
}

// indices reads c.raw as places in a dictionary.
func (c *cursor) indices(d *dictionary, valid []bool) error {
	size := c.values.index.Size()
	for i := range c.index {
		x := uint64(0)
		switch b := c.raw.Data[i*size:]; size {
		case 1:
			x = uint64(b[0])
		case 2:
			x = uint64(binary.LittleEndian.Uint16(b))
		case 4:
			x = uint64(binary.LittleEndian.Uint32(b))
		default:
			x = binary.LittleEndian.Uint64(b)
		}
		if x >= uint64(d.n) {
			if valid == nil || valid[i] {
				return fmt.Errorf("value %d of a dictionary of %d", x, d.n)
			}
			x = 0
		}
		c.index[i] = uint32(x)
	}
	return nil
}
