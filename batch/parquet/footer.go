package parquet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"serval"
	"serval/batch"
)

// Physical types.
const (
	physBool = iota
	physInt32
	physInt64
	physInt96
	physFloat
	physDouble
	physBytes
	physFixed
)

// node is an element of the schema, as the footer has it.
type node struct {
	name       string
	phys       int // -1: a group
	width      int // of physFixed
	repetition int // 0 required, 1 optional, 2 repeated
	children   int
	converted  int // -1: none
	scale      int
	logical    int // the union's field; 0: none
	unit       int // of a time: 1 ms, 2 µs, 3 ns
	utc        bool
	bits       int
	signed     bool
}

// chunk is where a column lies in a row group.
type chunk struct {
	data, dict int64 // offsets of the first pages; dict 0: none
	size       int64 // of all pages
	values     int64
	codec      int
	phys       int
}

// group is a row group.
type group struct {
	first  int64 // row, from 0
	rows   int64
	chunks []chunk
}

// footer is what a file says of itself at its end.
type footer struct {
	nodes  []node
	rows   int64
	groups []group
}

const (
	magic     = "PAR1"
	maxFooter = 256 << 20
)

// broken is a file that is not as it must be.
func broken(name, format string, args ...any) *serval.Error {
	return serval.Errorf(serval.InvalidArgument, "%s: no usable Parquet file: %s", name, fmt.Sprintf(format, args...)).At("input")
}

// readFooter reads and checks the footer.
func readFooter(_ context.Context, o batch.Object, at io.ReaderAt) (*footer, error) {
	size := o.Size()
	if size < 12 {
		return nil, broken(o.Name(), "it has only %d bytes", size)
	}
	var tail [8]byte
	if _, err := at.ReadAt(tail[:], size-8); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name(), err)
	}
	switch string(tail[4:]) {
	case magic:
	case "PARE":
		return nil, serval.Errorf(serval.Unimplemented, "%s: its footer is encrypted, which is not read", o.Name()).At("input")
	default:
		return nil, broken(o.Name(), "it does not end in PAR1; it is another format, or was cut off")
	}
	length := int64(binary.LittleEndian.Uint32(tail[:]))
	if length > size-12 || length > maxFooter {
		return nil, broken(o.Name(), "a footer of %d bytes in a file of %d", length, size)
	}
	raw := make([]byte, length)
	if _, err := at.ReadAt(raw, size-8-length); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name(), err)
	}
	f, err := parseFooter(raw)
	if err == nil {
		err = f.check(size - 8 - length)
	}
	if err != nil {
		return nil, broken(o.Name(), "%v", err)
	}
	return f, nil
}

func parseFooter(raw []byte) (*footer, error) {
	t := &thrift{r: bufio.NewReader(bytes.NewReader(raw)), left: int64(len(raw))}
	f := &footer{}
	encrypted := false
	t.fields(func(id int16, kind byte) bool {
		switch {
		case id == 2 && kind == thriftList:
			n, _ := t.list()
			for i := 0; i < n && t.err == nil; i++ {
				f.nodes = append(f.nodes, t.node())
			}
		case id == 3 && kind == thriftI64:
			f.rows = t.int()
		case id == 4 && kind == thriftList:
			n, _ := t.list()
			for i := 0; i < n && t.err == nil; i++ {
				f.groups = append(f.groups, t.group())
			}
		case id == 8:
			encrypted = true
			return false
		default:
			return false
		}
		return true
	})
	if encrypted && t.err == nil {
		return nil, fmt.Errorf("its columns are encrypted, which is not read")
	}
	return f, t.err
}

func (t *thrift) node() node {
	n := node{phys: -1, converted: -1, signed: true}
	t.fields(func(id int16, kind byte) bool {
		switch {
		case id == 1 && kind == thriftI32:
			n.phys = int(t.int())
		case id == 2 && kind == thriftI32:
			n.width = int(t.int())
		case id == 3 && kind == thriftI32:
			n.repetition = int(t.int())
		case id == 4 && kind == thriftBinary:
			n.name = t.string()
		case id == 5 && kind == thriftI32:
			n.children = int(t.int())
		case id == 6 && kind == thriftI32:
			n.converted = int(t.int())
		case id == 7 && kind == thriftI32:
			n.scale = int(t.int())
		case id == 10 && kind == thriftStruct:
			t.logical(&n)
		default:
			return false
		}
		return true
	})
	return n
}

// logical reads the union of logical types.
func (t *thrift) logical(n *node) {
	t.fields(func(id int16, kind byte) bool {
		n.logical = int(id)
		if kind != thriftStruct {
			return false
		}
		t.fields(func(field int16, kind byte) bool {
			switch {
			case id == logicalDecimal && field == 1 && kind == thriftI32:
				n.scale = int(t.int())
			case (id == logicalTime || id == logicalTimestamp) && field == 1:
				n.utc = kind == thriftTrue
			case (id == logicalTime || id == logicalTimestamp) && field == 2 && kind == thriftStruct:
				t.fields(func(unit int16, _ byte) bool { n.unit = int(unit); return false })
			case id == logicalInteger && field == 1 && kind == thriftByte:
				n.bits = int(int8(t.byte()))
			case id == logicalInteger && field == 2:
				n.signed = kind == thriftTrue
			default:
				return false
			}
			return true
		})
		return true
	})
}

func (t *thrift) group() group {
	var g group
	t.fields(func(id int16, kind byte) bool {
		switch {
		case id == 1 && kind == thriftList:
			n, _ := t.list()
			for i := 0; i < n && t.err == nil; i++ {
				g.chunks = append(g.chunks, t.chunk())
			}
		case id == 3 && kind == thriftI64:
			g.rows = t.int()
		default:
			return false
		}
		return true
	})
	return g
}

func (t *thrift) chunk() chunk {
	var c chunk
	elsewhere := false
	t.fields(func(id int16, kind byte) bool {
		switch {
		case id == 1 && kind == thriftBinary:
			elsewhere = t.string() != ""
		case id == 3 && kind == thriftStruct:
			t.fields(func(id int16, kind byte) bool {
				switch {
				case id == 1 && kind == thriftI32:
					c.phys = int(t.int())
				case id == 4 && kind == thriftI32:
					c.codec = int(t.int())
				case id == 5 && kind == thriftI64:
					c.values = t.int()
				case id == 7 && kind == thriftI64:
					c.size = t.int()
				case id == 9 && kind == thriftI64:
					c.data = t.int()
				case id == 11 && kind == thriftI64:
					c.dict = t.int()
				default:
					return false
				}
				return true
			})
		default:
			return false
		}
		return true
	})
	if elsewhere {
		t.fail(fmt.Errorf("its columns lie in other files"))
	}
	return c
}

// check compares the row groups with the schema and the place that there is before the footer.
func (f *footer) check(end int64) error {
	leaves := 0
	for i := range f.nodes {
		if f.nodes[i].children == 0 && i > 0 {
			leaves++
		}
	}
	rows := int64(0)
	for i := range f.groups {
		g := &f.groups[i]
		g.first = rows
		if g.rows < 0 || g.rows > f.rows-rows {
			return fmt.Errorf("row group %d has %d rows of %d", i, g.rows, f.rows)
		}
		rows += g.rows
		if len(g.chunks) != leaves {
			return fmt.Errorf("row group %d has %d columns, the schema %d", i, len(g.chunks), leaves)
		}
		for k := range g.chunks {
			c := &g.chunks[k]
			if c.dict > 0 && c.dict < c.data {
				c.data = c.dict // pages follow each other
			}
			if c.data < 4 || c.size < 0 || c.data > end || c.size > end-c.data || c.values < 0 {
				return fmt.Errorf("row group %d, column %d lies at %d, %d bytes, in a file of %d", i, k, c.data, c.size, end)
			}
		}
	}
	if rows != f.rows {
		return fmt.Errorf("%d rows are announced, its row groups have %d", f.rows, rows)
	}
	return nil
}
