package arrow

import (
	"bytes"
	"encoding/binary"

	"github.com/klauspost/compress/zstd"

	"serval"
	"serval/batch"
)

// schema writes the Schema table.
func (w *writer) schema(b *builder) int {
	pos, at := b.table(slot{}, slot{4, 0})
	fields := b.vector(len(w.pending.Columns))
	b.refer(at[1], fields)
	refs := len(b.b)
	b.b = append(b.b, make([]byte, 4*len(w.pending.Columns))...)
	for i := range w.pending.Columns {
		v := &w.pending.Columns[i]
		var f int
		if v.Shape == nil {
			f = writeField(b, v.Name, v.DType, w.binary[i])
		} else {
			f = writeList(b, v, w.binary[i])
		}
		b.refer(refs+4*i, f)
	}
	return pos
}

func elements(v *batch.Vector) int {
	if v.Shape == nil {
		return 1
	}
	n, _ := serval.Elements(v.Shape)
	return int(n)
}

// writeField writes the Field of single values.
func writeField(b *builder, name string, d serval.DType, binary bool) int {
	kind := int64(typeInt)
	switch d {
	case serval.Bool:
		kind = typeBool
	case serval.FP16, serval.BF16, serval.FP32, serval.FP64:
		kind = typeFloat
	case serval.Bytes:
		if kind = typeUtf8; binary {
			kind = typeBinary
		}
	}
	pos, at := b.table(slot{4, 0}, slot{1, 1}, slot{1, kind}, slot{4, 0}, slot{}, slot{4, 0})
	b.refer(at[0], b.string(name))
	var typ int
	switch kind {
	case typeInt:
		signed := int64(0)
		if d >= serval.Int8 && d <= serval.Int64 {
			signed = 1
		}
		typ, _ = b.table(slot{4, int64(8 * d.Size())}, slot{1, signed})
	case typeFloat:
		precision := map[serval.DType]int64{serval.FP16: 0, serval.BF16: 1, serval.FP32: 1, serval.FP64: 2}[d]
		typ, _ = b.table(slot{2, precision})
	default:
		typ, _ = b.table()
	}
	b.refer(at[3], typ)
	b.refer(at[5], b.vector(0))
	return pos
}

// writeList writes the Field of lists, all of one length.
func writeList(b *builder, v *batch.Vector, binary bool) int {
	pos, at := b.table(slot{4, 0}, slot{1, 1}, slot{1, typeFixedList}, slot{4, 0}, slot{}, slot{4, 0})
	b.refer(at[0], b.string(v.Name))
	typ, _ := b.table(slot{4, int64(elements(v))})
	b.refer(at[3], typ)
	children := b.vector(1)
	b.refer(at[5], children)
	ref := len(b.b)
	b.b = append(b.b, 0, 0, 0, 0)
	b.refer(ref, writeField(b, "item", v.DType, binary))
	return pos
}

// recordWriter makes a record batch.
type recordWriter struct {
	w       *writer
	rows    int64
	body    []byte
	nodes   []node
	buffers []buffer
	err     error
}

// add appends a buffer to the body, packed where that is asked for.
func (r *recordWriter) add(data []byte) {
	off := int64(len(r.body))
	if r.w.opt.pack && len(data) > 0 {
		if r.w.zstd == nil {
			if r.w.zstd, r.err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest)); r.err != nil {
				return
			}
		}
		packed := r.w.zstd.EncodeAll(data, binary.LittleEndian.AppendUint64(nil, uint64(len(data))))
		if len(packed) >= len(data)+8 {
			packed = append(binary.LittleEndian.AppendUint64(nil, ^uint64(0)), data...)
		}
		data = packed
	}
	r.body = append(r.body, data...)
	r.buffers = append(r.buffers, buffer{off, int64(len(data))})
	for len(r.body)%8 != 0 {
		r.body = append(r.body, 0)
	}
}

// validity adds the bits of rows that are there; nothing where all are.
func (r *recordWriter) validity(null []bool, rows int64) {
	n := node{rows: rows}
	var bits []byte
	if null != nil {
		bits = make([]byte, (rows+7)/8)
		for i, missing := range null {
			if missing {
				n.nulls++
			} else {
				bits[i>>3] |= 1 << (i & 7)
			}
		}
	}
	r.nodes = append(r.nodes, n)
	r.add(bits)
}

// column adds a column's buffers.
func (r *recordWriter) column(v *batch.Vector, binary bool) {
	rows := r.rows
	if v.Shape != nil {
		r.validity(v.Null, rows)
		rows *= int64(elements(v))
		r.validity(nil, rows)
	} else {
		r.validity(v.Null, rows)
	}
	r.values(v.DType, v.Data, int(rows), binary)
}

func (r *recordWriter) values(d serval.DType, data []byte, n int, isBinary bool) {
	switch d {
	case serval.Bool:
		bits := make([]byte, (n+7)/8)
		for i, b := range data {
			if b != 0 {
				bits[i>>3] |= 1 << (i & 7)
			}
		}
		data = bits
	case serval.BF16: // the format has none; every one is a float
		wide := make([]byte, 0, 2*len(data))
		for ; len(data) >= 2; data = data[2:] {
			wide = append(wide, 0, 0, data[0], data[1])
		}
		data = wide
	case serval.Bytes:
		offs := binary.LittleEndian.AppendUint32(make([]byte, 0, 4*n+4), 0)
		texts := make([]byte, 0, len(data))
		for range n {
			var e []byte
			e, data, _ = serval.NextBytes(data)
			if !isBinary {
				e = bytes.ToValidUTF8(e, []byte("\ufffd"))
			}
			texts = append(texts, e...)
			offs = binary.LittleEndian.AppendUint32(offs, uint32(len(texts)))
		}
		r.add(offs)
		data = texts
	}
	r.add(data)
}

// table writes the RecordBatch table.
func (r *recordWriter) table(b *builder) int {
	compression := slot{}
	if r.w.opt.pack {
		compression = slot{4, 0}
	}
	pos, at := b.table(slot{8, r.rows}, slot{4, 0}, slot{4, 0}, compression)
	b.refer(at[1], b.vector(len(r.nodes)))
	for _, n := range r.nodes {
		b.b = binary.LittleEndian.AppendUint64(b.b, uint64(n.rows))
		b.b = binary.LittleEndian.AppendUint64(b.b, uint64(n.nulls))
	}
	b.refer(at[2], b.vector(len(r.buffers)))
	for _, k := range r.buffers {
		b.b = binary.LittleEndian.AppendUint64(b.b, uint64(k.off))
		b.b = binary.LittleEndian.AppendUint64(b.b, uint64(k.size))
	}
	if r.w.opt.pack {
		c, _ := b.table(slot{1, 1}, slot{1, 0})
		b.refer(at[3], c)
	}
	return pos
}
