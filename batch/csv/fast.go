package csv

import (
	"bytes"
	"encoding/binary"
	"math"

	"serval"
	"serval/batch"
)

// fast reads the window's first line into the vectors where it is as most are: whole, without quotes, with as many fields as there
// are columns. It reports false where it is not, and leaves all as it was: then record and row read it, or say what is wrong.
func (r *reader) fast() bool {
	end := bytes.IndexByte(r.Window.Buf, '\n')
	if end < 1 || end >= r.opt.MaxRecord {
		return false
	}
	line := r.Window.Buf[:end]
	if line[end-1] == '\r' {
		line = line[:end-1]
	}
	if len(line) == 0 || bytes.IndexByte(line, '"') >= 0 {
		return false
	}
	for i := range r.vectors {
		r.begin[i] = len(r.vectors[i].Data)
	}
	if !r.split(line) {
		for i := range r.vectors {
			r.vectors[i].Data = r.vectors[i].Data[:r.begin[i]]
		}
		return false
	}
	r.good++
	r.skip(end + 1)
	r.At.Line++
	return true
}

// split reads a line's fields.
func (r *reader) split(line []byte) bool {
	i, last := 0, len(r.fields)-1
	for c := range r.fields {
		next, ok := r.float(line, i, c)
		if !ok {
			if next, ok = r.cell(line, i, c); !ok {
				return false
			}
		}
		if (next == len(line)) != (c == last) {
			return false
		}
		i = next + 1
	}
	return true
}

// float reads a field of a column that is read as floats, and says where it ends; false if it is another, or written otherwise. It
// leaves the vector's length as it is: settle sets it, which spares a pointer's write for each number.
func (r *reader) float(line []byte, i, column int) (next int, ok bool) {
	at := r.floats[column]
	if at < 0 {
		return 0, false
	}
	f, next := batch.ScanFloat(line, i)
	if next == i || next < len(line) && line[next] != r.opt.Delimiter {
		return 0, false
	}
	if r.vectors[at].DType == serval.FP32 {
		binary.LittleEndian.PutUint32(r.rooms[column][4*r.good:], math.Float32bits(float32(f)))
	} else {
		binary.LittleEndian.PutUint64(r.rooms[column][8*r.good:], math.Float64bits(f))
	}
	return next, true
}

// cell reads any field; false if its text is not of the column's type.
func (r *reader) cell(line []byte, i, column int) (next int, ok bool) {
	next = len(line)
	if n := bytes.IndexByte(line[i:], r.opt.Delimiter); n >= 0 {
		next = i + n
	}
	if at := r.floats[column]; at >= 0 { // written in another way than float knows
		v := &r.vectors[at]
		size := v.DType.Size()
		_, err := batch.AppendText(r.rooms[column][:size*r.good], v.DType, line[i:next])
		return next, err == nil
	}
	for _, k := range r.fields[column] {
		v := &r.vectors[k]
		var err error
		if v.Data, err = batch.AppendText(v.Data, v.DType, line[i:next]); err != nil {
			return next, false
		}
	}
	return next, true
}
