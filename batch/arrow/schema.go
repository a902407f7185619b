package arrow

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"serval"
	"serval/batch"
	"serval/internal/column"
)

// Types, as the union of Schema.fbs numbers them.
const (
	typeNull      = 1
	typeInt       = 2
	typeFloat     = 3
	typeBinary    = 4
	typeUtf8      = 5
	typeBool      = 6
	typeDecimal   = 7
	typeDate      = 8
	typeTime      = 9
	typeTimestamp = 10
	typeInterval  = 11
	typeList      = 12
	typeStruct    = 13
	typeUnion     = 14
	typeFixed     = 15
	typeFixedList = 16
	typeMap       = 17
	typeDuration  = 18
	typeLargeBin  = 19
	typeLargeUtf8 = 20
	typeLargeList = 21
	typeRunEnds   = 22
	typeBinView   = 23
	typeUtf8View  = 24
	typeListView  = 25
	typeLargeView = 26
)

const (
	maxFields = 100_000
	maxDepth  = 64
)

// field is a field of the schema, and where its parts are in every record batch.
type field struct {
	name     string
	kind     int
	source   column.Source
	why      string // it cannot be read; "" if it can
	bits     int    // Bool is kept in bits
	large    bool   // offsets of 8 bytes
	dense    bool   // of a union
	each     int    // of a fixed list
	dict     int64  // id; -1: none
	index    column.Source
	children []*field

	node, buffer int
}

// leaf is a column, as others see it.
type leaf struct {
	batch.Column
	path []*field // from the root; the last one has the values, or is a list of them
	list *field   // the element's field; nil: single values
	why  string
}

// schema reads the fields of a Schema table.
type schema struct {
	fields []*field
	leaves []leaf
	count  int
	nodes  int
	layout []*field // in the order of their buffers
}

func readSchema(t table) (*schema, error) {
	if t.int(0, 2, 0) != 0 {
		return nil, fmt.Errorf("its numbers have the highest byte first, which is not read")
	}
	s := &schema{}
	pos, n := t.vector(1, 4)
	for i := range n {
		f, err := s.field(table{t.f, pos + 4*i + t.f.u32(pos+4*i)}, 0)
		if err != nil {
			return nil, err
		}
		s.fields = append(s.fields, f)
		s.columns(leaf{Column: batch.Column{Name: f.name}, path: []*field{f}})
	}
	if t.f.bad {
		return nil, errBroken
	}
	return s, nil
}

// field reads a field and its children, and numbers their nodes.
func (s *schema) field(t table, depth int) (*field, error) {
	if s.count++; s.count > maxFields || depth > maxDepth || t.f.bad {
		return nil, errBroken
	}
	f := &field{name: t.string(0), kind: int(t.int(2, 1, 0)), dict: -1, node: s.nodes}
	s.nodes++
	s.layout = append(s.layout, f)
	if err := f.values(t.table(3)); err != nil {
		return nil, err
	}
	if d := t.table(4); d.pos != 0 {
		f.dict = d.int(0, 8, 0)
		f.index = column.Source{Kind: column.Int32}
		if in := d.table(1); in.pos != 0 {
			f.index = integer(in)
		}
	}
	pos, n := t.vector(5, 4)
	if f.dict >= 0 { // its children are the dictionary's
		f.children = nil
		if n > 0 {
			f.why = "has a dictionary of values with parts"
		}
		return f, nil
	}
	for i := range n {
		c, err := s.field(table{t.f, pos + 4*i + t.f.u32(pos+4*i)}, depth+1)
		if err != nil {
			return nil, err
		}
		f.children = append(f.children, c)
	}
	switch f.kind {
	case typeList, typeLargeList, typeFixedList, typeMap:
		if len(f.children) != 1 {
			return nil, errBroken
		}
	}
	return f, nil
}

func integer(t table) column.Source {
	kind := map[int64]column.Kind{8: column.Uint8, 16: column.Uint16, 32: column.Uint32, 64: column.Uint64}[t.int(0, 4, 0)]
	if t.int(1, 1, 0) != 0 {
		kind = kind - column.Uint8 + column.Int8
	}
	return column.Source{Kind: kind}
}

// values says how the field's values are kept.
func (f *field) values(t table) error {
	second := func(i int, otherwise int64) int64 {
		switch t.int(i, 2, otherwise) {
		case 0:
			return 1
		case 1:
			return 1e3
		case 2:
			return 1e6
		}
		return 1e9
	}
	switch f.kind {
	case typeNull:
		f.source = column.Source{Kind: column.Text}
	case typeInt:
		switch t.int(0, 4, 0) {
		case 8, 16, 32, 64:
		default:
			return errBroken
		}
		f.source = integer(t)
	case typeFloat:
		p := t.int(0, 2, 0)
		if p < 0 || p > 2 {
			return errBroken
		}
		f.source.Kind = [...]column.Kind{column.Half, column.Float, column.Double}[p]
	case typeBinary, typeUtf8:
		f.source.Kind = column.Text
	case typeLargeBin, typeLargeUtf8:
		f.source.Kind, f.large = column.Text, true
	case typeBool:
		f.source.Kind, f.bits = column.Bool, 1
	case typeDecimal:
		width := t.int(2, 4, 128)
		if width != 32 && width != 64 && width != 128 && width != 256 {
			return errBroken
		}
		f.source = column.Source{Kind: column.Fixed, Width: int(width / 8), What: "decimal", Number: true, Render: column.BigDecimal(int(t.int(1, 4, 0)), false)}
	case typeDate:
		if f.source = (column.Source{Kind: column.Int32, What: "date", Render: column.Date}); t.int(0, 2, 1) == 1 {
			f.source.Kind, f.source.Render = column.Int64, dateOfMs
		}
	case typeTime:
		f.source = column.Source{Kind: column.Int32, What: "time", Render: column.TimeOfDay(second(0, 1))}
		if t.int(1, 4, 32) == 64 {
			f.source.Kind = column.Int64
		}
	case typeTimestamp:
		f.source = column.Source{Kind: column.Int64, What: "timestamp", Render: column.Timestamp(second(0, 0), t.string(1) != "")}
	case typeDuration:
		f.source.Kind = column.Int64
	case typeFixed:
		w := t.int(0, 4, 0)
		if w < 1 || w > 1<<20 {
			return errBroken
		}
		f.source = column.Source{Kind: column.Fixed, Width: int(w)}
	case typeFixedList:
		if f.each = int(t.int(0, 4, 0)); f.each < 0 || f.each > batch.MaxBlock {
			return errBroken
		}
	case typeLargeList:
		f.large = true
	case typeList, typeStruct:
	case typeMap:
		f.why = "is a map"
	case typeUnion:
		f.why, f.dense = "is a union", t.int(0, 2, 0) == 1
	default:
		f.why = "is of type " + strconv.Itoa(f.kind) + " of Arrow's"
		if f.kind < typeNull || f.kind > typeLargeView {
			return fmt.Errorf("column '%s' is of an unknown type", f.name)
		}
	}
	return nil
}

// dateOfMs writes the date of milliseconds.
func dateOfMs(dst, raw []byte) []byte {
	days := int64(binary.LittleEndian.Uint64(raw)) / 86_400_000
	return column.Date(dst, binary.LittleEndian.AppendUint32(nil, uint32(int32(days))))
}

// columns adds the columns of a field.
func (s *schema) columns(l leaf) {
	f := l.path[len(l.path)-1]
	l.Type, l.why = serval.Bytes, f.why
	switch {
	case f.why != "":
	case f.dict >= 0:
		l.Type = f.source.DType()
	case f.kind == typeStruct:
		for _, c := range f.children {
			below := leaf{Column: batch.Column{Name: l.Name + "." + c.name}, path: append(append([]*field(nil), l.path...), c)}
			s.columns(below)
		}
		return
	case f.kind == typeList || f.kind == typeLargeList || f.kind == typeFixedList:
		l.list = f.children[0]
		l.why = l.list.why
		switch l.list.kind {
		case typeStruct:
			l.why = "holds lists of structs"
		case typeList, typeLargeList, typeFixedList:
			l.why = "holds lists of lists"
		}
		if l.why == "" {
			l.Type, l.Shape = l.list.source.DType(), []int64{-1}
			if f.kind == typeFixedList {
				l.Shape[0] = int64(f.each)
			}
		}
	default:
		l.Type = f.source.DType()
	}
	s.leaves = append(s.leaves, l)
}

// place numbers the buffers of a record batch; views are how many buffers its columns of views have, in order.
func (s *schema) place(views []int64) int {
	at := 0
	for _, f := range s.layout {
		f.buffer = at
		if f.dict >= 0 {
			at += 2
			continue
		}
		switch f.kind {
		case typeNull, typeRunEnds:
		case typeStruct, typeFixedList:
			at++
		case typeUnion:
			if at++; f.dense {
				at++
			}
		case typeBinary, typeUtf8, typeLargeBin, typeLargeUtf8, typeListView, typeLargeView:
			at += 3
		case typeBinView, typeUtf8View:
			at += 2
			if len(views) > 0 {
				at += int(max(0, min(views[0], 1<<20)))
				views = views[1:]
			}
		default:
			at += 2
		}
	}
	return at
}
