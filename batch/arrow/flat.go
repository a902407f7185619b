package arrow

import "encoding/binary"

// flat reads FlatBuffers. What lies outside of the bytes reads as zero and sets bad, so that callers look once.
type flat struct {
	b   []byte
	bad bool
}

func (f *flat) at(pos, n int) []byte {
	if pos < 0 || n < 0 || pos > len(f.b)-n {
		f.bad = true
		return make([]byte, min(n, 8))
	}
	return f.b[pos : pos+n]
}

func (f *flat) u32(pos int) int { return int(binary.LittleEndian.Uint32(f.at(pos, 4))) }
func (f *flat) i64(pos int) int64 {
	return int64(binary.LittleEndian.Uint64(f.at(pos, 8)))
}

// table is a table in the buffer; one at 0 is not there.
type table struct {
	f   *flat
	pos int
}

func (f *flat) root() table { return table{f, f.u32(0)} }

// field is the place of a table's field; 0: it has its default.
func (t table) field(i int) int {
	if t.pos == 0 {
		return 0
	}
	v := t.pos - int(int32(t.f.u32(t.pos)))
	size := int(binary.LittleEndian.Uint16(t.f.at(v, 2)))
	if 4+2*i+2 > size {
		return 0
	}
	if off := int(binary.LittleEndian.Uint16(t.f.at(v+4+2*i, 2))); off != 0 {
		return t.pos + off
	}
	return 0
}

func (t table) int(i, size int, otherwise int64) int64 {
	at := t.field(i)
	if at == 0 {
		return otherwise
	}
	switch b := t.f.at(at, size); size {
	case 1:
		return int64(int8(b[0]))
	case 2:
		return int64(int16(binary.LittleEndian.Uint16(b)))
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(b)))
	default:
		return int64(binary.LittleEndian.Uint64(b))
	}
}

func (t table) table(i int) table {
	at := t.field(i)
	if at == 0 {
		return table{t.f, 0}
	}
	return table{t.f, at + t.f.u32(at)}
}

// vector is a field's elements: where they begin and how many they are, each of size bytes.
func (t table) vector(i, size int) (pos, n int) {
	at := t.field(i)
	if at == 0 {
		return 0, 0
	}
	at += t.f.u32(at)
	n = t.f.u32(at)
	if n > len(t.f.b)/size {
		t.f.bad = true
		return 0, 0
	}
	t.f.at(at+4, n*size)
	return at + 4, n
}

func (t table) string(i int) string {
	pos, n := t.vector(i, 1)
	if n == 0 || t.f.bad {
		return ""
	}
	return string(t.f.at(pos, n))
}

// builder writes FlatBuffers from the front: a table before what it refers to.
type builder struct{ b []byte }

// slot is a field of a table that is written: of 1, 2, 4 or 8 bytes; 0: left out.
type slot struct {
	size int
	v    int64
}

func (w *builder) align(n, rest int) {
	for len(w.b)%n != rest {
		w.b = append(w.b, 0)
	}
}

// table writes a table, and returns where it and its fields are.
func (w *builder) table(slots ...slot) (pos int, at []int) {
	for (len(w.b)+4+2*len(slots))%8 != 0 {
		w.b = append(w.b, 0)
	}
	v := len(w.b)
	w.b = append(w.b, make([]byte, 4+2*len(slots))...)
	pos = len(w.b)
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(pos-v))
	at = make([]int, len(slots))
	for i, s := range slots {
		if s.size == 0 {
			continue
		}
		w.align(s.size, 0)
		at[i] = len(w.b)
		binary.LittleEndian.PutUint16(w.b[v+4+2*i:], uint16(len(w.b)-pos))
		w.b = append(w.b, binary.LittleEndian.AppendUint64(nil, uint64(s.v))[:s.size]...)
	}
	binary.LittleEndian.PutUint16(w.b[v:], uint16(4+2*len(slots)))
	binary.LittleEndian.PutUint16(w.b[v+2:], uint16(len(w.b)-pos))
	return pos, at
}

// refer makes the field at at refer to pos.
func (w *builder) refer(at, pos int) { binary.LittleEndian.PutUint32(w.b[at:], uint32(pos-at)) }

// vector begins n elements that follow, which are aligned to 8 bytes.
func (w *builder) vector(n int) (pos int) {
	w.align(8, 4)
	pos = len(w.b)
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(n))
	return pos
}

func (w *builder) string(s string) (pos int) {
	w.align(4, 0)
	pos = len(w.b)
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(len(s)))
	w.b = append(append(w.b, s...), 0)
	return pos
}
