package parquet

import (
	"encoding/binary"
	"math"

	"serval"
	"serval/batch"
)

// appendPlain appends the elements of a row as the file keeps them. at is how many values of the page are before them.
func appendPlain(dst []byte, d serval.DType, data []byte, at int) []byte {
	le := binary.LittleEndian
	switch d {
	case serval.Bool:
		for i, b := range data {
			if (at+i)%8 == 0 {
				dst = append(dst, 0)
			}
			dst[len(dst)-1] |= boolByte(b != 0) << ((at + i) % 8)
		}
		return dst
	case serval.Int8:
		for _, b := range data {
			dst = le.AppendUint32(dst, uint32(int32(int8(b))))
		}
		return dst
	case serval.Uint8:
		for _, b := range data {
			dst = le.AppendUint32(dst, uint32(b))
		}
		return dst
	case serval.Int16:
		for ; len(data) >= 2; data = data[2:] {
			dst = le.AppendUint32(dst, uint32(int32(int16(le.Uint16(data)))))
		}
		return dst
	case serval.Uint16:
		for ; len(data) >= 2; data = data[2:] {
			dst = le.AppendUint32(dst, uint32(le.Uint16(data)))
		}
		return dst
	case serval.BF16: // the format has none; every one is a float
		for ; len(data) >= 2; data = data[2:] {
			dst = le.AppendUint32(dst, uint32(le.Uint16(data))<<16)
		}
		return dst
	}
	return append(dst, data...) // texts have their length in front here as there
}

// plainIsSame says whether the file keeps numbers of d as they are.
func plainIsSame(d serval.DType) bool {
	switch d {
	case serval.Int32, serval.Uint32, serval.Int64, serval.Uint64, serval.FP16, serval.FP32, serval.FP64:
		return true
	}
	return false
}

// physical is the type that the file has for d.
func physical(d serval.DType) int {
	switch d {
	case serval.Bool:
		return physBool
	case serval.Int64, serval.Uint64:
		return physInt64
	case serval.FP32, serval.BF16:
		return physFloat
	case serval.FP64:
		return physDouble
	case serval.FP16:
		return physFixed
	case serval.Bytes:
		return physBytes
	}
	return physInt32
}

// element writes a leaf of the schema.
func element(e *encoder, d serval.DType, name string, repetition int32, binary bool) {
	e.begin()
	e.i32(1, int32(physical(d)))
	if d == serval.FP16 {
		e.i32(2, 2)
	}
	e.i32(3, repetition)
	e.string(4, name)
	switch d {
	case serval.Bytes:
		if !binary {
			e.i32(6, 0)
			e.structure(10)
			e.structure(1)
			e.end()
			e.end()
		}
	case serval.FP16:
		e.structure(10)
		e.structure(logicalHalf)
		e.end()
		e.end()
	case serval.Int8, serval.Int16, serval.Int32, serval.Uint8, serval.Uint16, serval.Uint32, serval.Uint64:
		size, signed := d.Size(), d >= serval.Int8
		converted := int32(bitsLen(size))
		if signed {
			converted += convertedInt8
		} else {
			converted += convertedUint8
		}
		e.i32(6, converted)
		e.structure(10)
		e.structure(logicalInteger)
		e.field(1, thriftByte)
		e.b = append(e.b, byte(8*size))
		if signed {
			e.field(2, thriftTrue)
		} else {
			e.field(2, thriftFalse)
		}
		e.end()
		e.end()
	}
	e.end()
}

// bitsLen is the place of a size in the order of the converted types: 1, 2, 4, 8.
func bitsLen(size int) int { return int(math.Log2(float64(size))) }

// describe writes a column chunk's part of a row group's description. The chunk begins at at.
func (c *packed) describe(e *encoder, v *batch.Vector, at int64, codec int) {
	path := []string{v.Name}
	if v.Shape != nil {
		path = append(path, "list", "element")
	}
	e.begin()
	e.i64(2, at)
	e.structure(3)
	e.i32(1, int32(physical(v.DType)))
	encodings := []int64{encPlain, encRLE}
	if c.dict {
		encodings = append(encodings, encDict)
	}
	e.list(2, thriftI32, len(encodings))
	for _, x := range encodings {
		e.zigzag(x)
	}
	e.list(3, thriftBinary, len(path))
	for _, p := range path {
		e.text(p)
	}
	e.i32(4, int32(codec))
	e.i64(5, c.values)
	e.i64(6, c.size)
	e.i64(7, int64(len(c.bytes)))
	e.i64(9, at+c.data)
	if c.dict {
		e.i64(11, at)
	}
	e.structure(12)
	e.i64(3, c.nulls)
	e.end()
	e.end()
	e.end()
}
