package parquet

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"serval/internal/column"
)

// header is a page's.
type header struct {
	kind           int // 0 data, 1 index, 2 dictionary, 3 data of version 2
	size, packed   int
	crc            uint32
	checked        bool // there is a crc
	values         int
	encoding       int
	defs, reps     int // encodings of levels in version 1, their bytes in version 2
	rows           int // version 2
	plain          bool
	hasRows, valid bool
}

const (
	pageData   = 0
	pageDict   = 2
	pageDataV2 = 3
	maxHeader  = 4 << 20 // its statistics may have long values
)

func readHeader(r source) (h header, err error) {
	t := &thrift{r: r, left: maxHeader}
	h.kind = -1
	t.fields(func(id int16, kind byte) bool {
		switch {
		case id == 1 && kind == thriftI32:
			h.kind = int(t.int())
		case id == 2 && kind == thriftI32:
			h.size = int(t.int())
		case id == 3 && kind == thriftI32:
			h.packed = int(t.int())
		case id == 4 && kind == thriftI32:
			h.crc, h.checked = uint32(t.int()), true
		case (id == 5 || id == 7 || id == 8) && kind == thriftStruct:
			h.valid = true
			t.fields(func(field int16, kind byte) bool { return h.inner(t, id, field, kind) })
		default:
			return false
		}
		return true
	})
	if t.err == nil && (h.size < 0 || h.size > maxPage || h.packed < 0 || h.packed > maxPage || h.values < 0 || h.values > maxValues) {
		t.err = fmt.Errorf("a page of %d values, %d bytes, %d unpacked; there may be %d values and %d bytes", h.values, h.packed, h.size, maxValues, maxPage)
	}
	return h, t.err
}

// inner reads a field of the header of a kind of page.
func (h *header) inner(t *thrift, page, field int16, kind byte) bool {
	if page == 8 && field == 7 {
		h.plain = kind == thriftFalse
		return true
	}
	if kind != thriftI32 {
		return false
	}
	v := func() int { return int(t.int()) }
	switch {
	case field == 1:
		h.values = v()
	case page != 8 && field == 2, page == 8 && field == 4:
		h.encoding = v()
	case page == 5 && field == 3, page == 8 && field == 5:
		h.defs = v()
	case page == 5 && field == 4, page == 8 && field == 6:
		h.reps = v()
	case page == 8 && field == 3:
		h.rows, h.hasRows = v(), true
	default:
		return false
	}
	return true
}

// cursor reads one column, from row group to row group. It is a column.Cursor.
type cursor struct {
	leaf    *leaf
	file    *file
	convert column.Converter
	size    int // of an element; 0: Bytes
	budget  *budget

	group int   // the next
	left  int64 // values of the open chunk that are still to come
	skip  int64 // rows to leave out
	rows  int64 // of the open chunk's lists, still to come
	pages *bufio.Reader
	bytes []byte // of values
	codec int

	packed, page []byte
	dict         *column.Elems // of the open chunk; nil: none
	dictBytes    []byte
	dictSize     int
	dictTaken    int64 // of the budget
	raw          column.Raw
	elems        column.Elems
	index        []uint32
	offs         []uint32
	ints         []int64
	reps, defs   []byte
	valid        []bool
	lists        lists
}

// Next reads pages until there are rows.
func (c *cursor) Next(ctx context.Context, p *column.Page) (err error) {
	defer func() {
		if c.file.at.err != nil {
			err = fmt.Errorf("%s: %w", c.file.name, c.file.at.err)
		} else if err != nil && err != io.EOF && ctx.Err() == nil {
			err = broken(c.file.name, "column '%s', row group %d: %v", c.leaf.Name, c.group-1, err).Because(err)
		}
	}()
	if c.leaf.maxRep > 0 {
		return c.nextLists(ctx, p)
	}
	for {
		h, data, err := c.data(ctx)
		if err != nil {
			return err
		}
		n, err := c.flat(p, h, data)
		if err != nil {
			return err
		}
		if n > 0 {
			return nil
		}
	}
}

// data reads on to the next page of data, through dictionaries and the ends of row groups, and unpacks it.
func (c *cursor) data(ctx context.Context) (*header, []byte, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if c.left <= 0 {
			if err := c.open(); err != nil {
				return nil, nil, err
			}
			continue
		}
		h, err := readHeader(c.pages)
		if err != nil {
			return nil, nil, err
		}
		isData := h.kind == pageData || h.kind == pageDataV2
		if isData {
			if c.left -= int64(h.values); c.left < 0 || !h.valid {
				return nil, nil, errors.New("its pages have more values than it should")
			}
		}
		passed := c.leaf.maxRep == 0 && isData && int64(h.values) <= c.skip
		if !isData && h.kind != pageDict || passed {
			if passed {
				c.skip -= int64(h.values)
			}
			if _, err := c.pages.Discard(h.packed); err != nil {
				return nil, nil, err
			}
			continue
		}
		page, err := c.read(&h)
		if err != nil {
			return nil, nil, err
		}
		if h.kind == pageDict {
			if err := c.dictionary(&h, page); err != nil {
				return nil, nil, fmt.Errorf("its dictionary: %w", err)
			}
			continue
		}
		return &h, page, nil
	}
}

// open goes to the next row group.
func (c *cursor) open() error {
	if c.group >= len(c.file.groups) {
		return io.EOF
	}
	g := &c.file.groups[c.group]
	c.group++
	if c.skip >= g.rows {
		c.skip -= g.rows
		return nil
	}
	k := &g.chunks[c.leaf.index]
	if k.phys != c.leaf.phys {
		return fmt.Errorf("its type is %d, in the schema %d", k.phys, c.leaf.phys)
	}
	if err := checkCodec(k.codec); err != nil {
		return err
	}
	if c.leaf.maxRep == 0 && k.values != g.rows {
		return fmt.Errorf("it has %d values for %d rows", k.values, g.rows)
	}
	c.codec, c.left, c.rows, c.dict = k.codec, k.values, g.rows, nil
	section := io.NewSectionReader(c.file.at, k.data, k.size)
	if c.pages == nil {
		most := k.size
		for i := c.group; i < len(c.file.groups); i++ {
			most = max(most, c.file.groups[i].chunks[c.leaf.index].size)
		}
		c.pages = bufio.NewReaderSize(section, int(min(most, int64(c.file.window))))
	} else {
		c.pages.Reset(section)
	}
	return nil
}

// read reads and unpacks a page. A dictionary gets a buffer of its own, since it outlives the page.
func (c *cursor) read(h *header) ([]byte, error) {
	var err error
	if c.packed, err = c.budget.grow(c.packed, h.packed); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c.pages, c.packed); err != nil {
		return nil, err
	}
	if h.checked && crc32.ChecksumIEEE(c.packed) != h.crc {
		return nil, errors.New("a page whose checksum is wrong")
	}
	into := &c.page
	if h.kind == pageDict {
		into = &c.dictBytes
	}
	if *into, err = c.budget.grow(*into, h.size); err != nil {
		return nil, err
	}
	levels := 0
	if h.kind == pageDataV2 { // levels are never packed
		if h.defs < 0 || h.reps < 0 || h.defs > h.packed || h.reps > h.packed-h.defs || h.defs+h.reps > h.size {
			return nil, errShort
		}
		levels = copy(*into, c.packed[:h.defs+h.reps])
	}
	if c.codec == codecNone || h.kind == pageDataV2 && h.plain {
		if h.packed != h.size {
			return nil, errors.New("a page whose packed size is wrong")
		}
		copy(*into, c.packed)
		return *into, nil
	}
	if levels == h.size && levels == h.packed { // all values are missing
		return *into, nil
	}
	return *into, c.unpackPage((*into)[levels:], c.packed[levels:])
}

func (c *cursor) dictionary(h *header, page []byte) error {
	if h.encoding != encPlain && h.encoding != encPlainDict {
		return fmt.Errorf("values of encoding %d", h.encoding)
	}
	var raw column.Raw
	offs := c.offs
	c.offs = nil // the dictionary keeps them
	bytes := c.bytes
	c.bytes = nil
	c.budget.left += c.dictTaken // of the one before
	c.dictTaken = 0
	before := c.budget.left
	err := c.plain(&raw, page, h.values)
	dict := &column.Elems{}
	if err == nil {
		c.convert(dict, &raw, h.values)
		err = c.budget.take(dict.Memory())
	}
	c.offs, c.bytes = offs, bytes
	c.dict, c.dictSize, c.dictTaken = dict, h.values, before-c.budget.left
	return err
}

// elements makes the n values of a page ready: c.elems, or the dictionary with an index into it.
func (c *cursor) elements(data []byte, encoding, n int) (e *column.Elems, index []uint32, err error) {
	if encoding != encDict && encoding != encPlainDict {
		if err := c.values(&c.raw, data, encoding, n); err != nil {
			return nil, nil, err
		}
		before := c.elems.Memory()
		c.convert(&c.elems, &c.raw, n)
		return &c.elems, nil, c.budget.take(c.elems.Memory() - before)
	}
	if c.dict == nil && n > 0 {
		return nil, nil, errors.New("a page that needs a dictionary, which is missing")
	}
	if err := c.budget.offsets(&c.index, n); err != nil {
		return nil, nil, err
	}
	if n == 0 {
		return &column.Elems{Size: c.size, Off: []uint32{0}}, nil, nil
	}
	if len(data) < 1 || data[0] > 32 {
		return nil, nil, errShort
	}
	if _, err := hybrid(c.index, data[1:], int(data[0])); err != nil {
		return nil, nil, err
	}
	top := uint32(0)
	for _, x := range c.index {
		top = max(top, x)
	}
	if int64(top) >= int64(c.dictSize) {
		return nil, nil, fmt.Errorf("value %d of a dictionary of %d", top, c.dictSize)
	}
	return c.dict, c.index, nil
}

// levels splits a page into repetition levels, definition levels and values. Levels that are all the highest are nil.
func (c *cursor) levels(h *header, page []byte) (reps, defs, data []byte, err error) {
	part := func(buf *[]byte, most, encoding, size int) ([]byte, error) {
		if most == 0 {
			if h.kind == pageDataV2 {
				page = page[size:]
			}
			return nil, nil
		}
		if *buf, err = c.budget.grow(*buf, h.values); err != nil {
			return nil, err
		}
		var own []byte
		switch {
		case h.kind == pageDataV2:
			own, page = page[:size], page[size:]
		case encoding == encBitPacked:
			size = (h.values*levelWidth(most) + 7) / 8
			if len(page) < size {
				return nil, errShort
			}
			unpackHighFirst(*buf, page[:size], levelWidth(most))
			page = page[size:]
			return *buf, nil
		case encoding != encRLE:
			return nil, fmt.Errorf("levels of encoding %d", encoding)
		default:
			if len(page) < 4 {
				return nil, errShort
			}
			n := binary.LittleEndian.Uint32(page)
			if uint64(n) > uint64(len(page)-4) {
				return nil, errShort
			}
			own, page = page[4:4+n], page[4+n:]
		}
		if h.values == 0 {
			return *buf, nil
		}
		_, err := hybrid(*buf, own, levelWidth(most))
		return *buf, err
	}
	if reps, err = part(&c.reps, c.leaf.maxRep, h.reps, h.reps); err != nil {
		return nil, nil, nil, err
	}
	if defs, err = part(&c.defs, c.leaf.maxDef, h.defs, h.defs); err != nil {
		return nil, nil, nil, err
	}
	return reps, defs, page, nil
}

// unpackHighFirst reads levels of the old encoding, whose bits begin at the highest.
func unpackHighFirst(dst, src []byte, width int) {
	for i := range dst {
		v := byte(0)
		for k := i * width; k < (i+1)*width; k++ {
			v = v<<1 | src[k>>3]>>(7-k&7)&1
		}
		dst[i] = v
	}
}

// flat makes a page of single values.
func (c *cursor) flat(p *column.Page, h *header, page []byte) (int, error) {
	_, defs, data, err := c.levels(h, page)
	if err != nil {
		return 0, err
	}
	present := h.values
	var valid []bool
	if defs != nil {
		present = 0
		most := byte(c.leaf.maxDef)
		for _, d := range defs {
			if d == most {
				present++
			}
		}
		if present < h.values {
			if cap(c.valid) < h.values {
				if err := c.budget.take(int64(h.values - cap(c.valid))); err != nil {
					return 0, err
				}
				c.valid = make([]bool, h.values)
			}
			valid = c.valid[:h.values]
			for i, d := range defs {
				valid[i] = d == most
			}
		}
	}
	*p = column.Page{Rows: h.values, Valid: valid, From: int(c.skip)}
	c.skip = 0
	p.Elems, p.Index, err = c.elements(data, h.encoding, present)
	return p.Rows, err
}
