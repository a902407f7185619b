package batch

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	"serval"
)

// flight is a block on its way: the reader fills it, its own goroutine asks the model, the writer empties it. It owns all its
// memory, and is used again.
type flight struct {
	object int     // index of the input
	mark   Mark    // of the reader, behind the block
	begin  float64 // what done was when the run began
	done   float64 // part of the whole job that was read, behind the block; -1: not known
	rows   int64   // of the block, the bad ones among them
	good   []int64 // numbers of the rows that are in the tensors
	bad    []Bad
	inputs []serval.Tensor // in the plan's order
	texts  []Vector        // instead of them, for models of text
	pass   []Vector
	asked  chan struct{} // closed once parts, refused and err are there

	parts   []part // ascending, without gaps but for refused rows
	refused []int  // rows of the tensors, ascending
	err     error
	usage   serval.Usage
}

// part is the answer for rows [from, to) of a flight. Its outputs' data are the flight's own.
type part struct {
	from, to int
	outputs  []serval.Tensor
	answer   answer // of a model of text
}

// fill takes a block over. Rows whose inputs are missing join the bad ones.
func (f *flight) fill(p *plan, b *Block) {
	f.rows = int64(b.Rows)
	f.bad = f.bad[:0]
	for _, bad := range b.Bad {
		bad.Raw = bytes.Clone(bad.Raw)
		f.bad = append(f.bad, bad)
	}
	f.good = f.good[:0]
	next := 0
	for row := b.First; row < b.First+int64(b.Rows); row++ {
		if next < len(b.Bad) && b.Bad[next].Row == row {
			next++
			continue
		}
		f.good = append(f.good, row)
	}
	f.dropMissing(p, b)
	n := len(f.good)
	f.inputs = slices.Grow(f.inputs[:0], len(p.inputs))[:len(p.inputs)]
	for i := range p.inputs {
		f.lay(&f.inputs[i], &p.inputs[i], b.Vectors, n)
	}
	f.texts = take(f.texts, b.Vectors[:len(p.texts)])
	f.pass = take(f.pass, b.Vectors[p.pass:])
	f.parts, f.refused, f.err, f.usage = f.parts[:0], f.refused[:0], nil, serval.Usage{}
	f.asked = make(chan struct{})
}

// take copies vectors into memory that is used again.
func take(into, from []Vector) []Vector {
	into = slices.Grow(into[:0], len(from))[:len(from)]
	for i := range from {
		v, own := from[i], &into[i]
		own.Name, own.DType, own.Shape, own.JSON = v.Name, v.DType, v.Shape, v.JSON
		own.Data = append(own.Data[:0], v.Data...)
		if v.Null == nil {
			own.Null = nil
		} else {
			own.Null = append(own.Null[:0], v.Null...)
		}
	}
	return into
}

// dropMissing makes rows bad where a value of an input is missing that has no way to say so; floats are NaN.
func (f *flight) dropMissing(p *plan, b *Block) {
	var drop []bool
	for i := range b.Vectors[:p.pass] {
		v := &b.Vectors[i]
		for row, null := range v.Null {
			if !null || setNaN(v, row) {
				continue
			}
			if drop == nil {
				drop = make([]bool, len(f.good))
			}
			if !drop[row] {
				drop[row] = true
				f.bad = append(f.bad, Bad{Row: f.good[row], Column: v.Name, Reason: "missing, where a value of type " + v.DType.String() + " is needed"})
			}
		}
	}
	if drop == nil {
		return
	}
	slices.SortFunc(f.bad, func(a, b Bad) int { return int(a.Row - b.Row) })
	for i := range b.Vectors {
		b.Vectors[i].drop(drop)
	}
	kept := f.good[:0]
	for row, n := range f.good {
		if !drop[row] {
			kept = append(kept, n)
		}
	}
	f.good = kept
}

// setNaN gives a missing float its value; false for other types.
func setNaN(v *Vector, row int) bool {
	n, _ := serval.Elements(v.Shape)
	if v.Shape == nil {
		n = 1
	}
	for i := row * int(n); i < (row+1)*int(n); i++ {
		switch v.DType {
		case serval.FP64:
			binary.LittleEndian.PutUint64(v.Data[8*i:], math.Float64bits(math.NaN()))
		case serval.FP32:
			binary.LittleEndian.PutUint32(v.Data[4*i:], math.Float32bits(float32(math.NaN())))
		case serval.FP16:
			binary.LittleEndian.PutUint16(v.Data[2*i:], 0x7e00)
		case serval.BF16:
			binary.LittleEndian.PutUint16(v.Data[2*i:], 0x7fc0)
		default:
			return false
		}
	}
	return true
}

// drop takes rows out.
func (v *Vector) drop(rows []bool) {
	at, kept, nulls := 0, 0, v.Null[:0]
	for row, gone := range rows {
		n := v.span(at, 1)
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

// span is how many bytes the next rows rows of a vector take, from byte at on.
func (v *Vector) span(at, rows int) int {
	each := int64(1)
	if v.Shape != nil {
		each, _ = serval.Elements(v.Shape)
	}
	if v.DType != serval.Bytes {
		return rows * int(each) * v.DType.Size()
	}
	rest := v.Data[at:]
	for range rows * int(each) {
		_, rest, _ = serval.NextBytes(rest)
	}
	return len(v.Data) - at - len(rest)
}

// lay puts the columns of an input side by side.
func (f *flight) lay(t *serval.Tensor, in *planned, vectors []Vector, n int) {
	t.Name, t.DType = in.info.Name, in.info.DType
	t.Shape = append(append(t.Shape[:0], int64(n)), in.shape...)
	if in.info.Shape != nil && len(in.info.Shape) == 0 {
		t.Shape = t.Shape[:0]
	}
	if len(in.columns) == 1 {
		t.Data = append(t.Data[:0], vectors[in.columns[0]].Data...)
		return
	}
	k := len(in.columns)
	size := t.DType.Size()
	if size == 0 {
		f.layBytes(t, in, vectors, n)
		return
	}
	t.Data = slices.Grow(t.Data[:0], n*k*size)[:n*k*size]
	for c, column := range in.columns {
		from := vectors[column].Data
		switch size {
		case 4:
			for i, at := 0, 4*c; i+4 <= len(from); i, at = i+4, at+4*k {
				binary.LittleEndian.PutUint32(t.Data[at:], binary.LittleEndian.Uint32(from[i:]))
			}
		case 8:
			for i, at := 0, 8*c; i+8 <= len(from); i, at = i+8, at+8*k {
				binary.LittleEndian.PutUint64(t.Data[at:], binary.LittleEndian.Uint64(from[i:]))
			}
		default:
			for i := range n {
				copy(t.Data[(i*k+c)*size:], from[i*size:(i+1)*size])
			}
		}
	}
}

func (f *flight) layBytes(t *serval.Tensor, in *planned, vectors []Vector, n int) {
	rest := make([][]byte, len(in.columns))
	for c, column := range in.columns {
		rest[c] = vectors[column].Data
	}
	t.Data = t.Data[:0]
	for range n {
		for c := range rest {
			var e []byte
			e, rest[c], _ = serval.NextBytes(rest[c])
			t.Data = serval.AppendBytes(t.Data, e)
		}
	}
}
