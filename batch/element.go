package batch

import (
	"encoding/binary"
	"math"
	"strconv"
	"unsafe"

	"serval"
	"serval/client/element"
)

// AppendText appends the element that a text stands for, by the rules of `serval predict`: Bytes take any text; a bool is true,
// false, 1 or 0; whole numbers may be written 3 or 3.0; floats may also be nan and inf. It does not keep
// text, and gives dst back unchanged with an error.
func AppendText(dst []byte, d serval.DType, text []byte) ([]byte, error) {
	if d == serval.Bytes {
		return serval.AppendBytes(dst, text), nil
	}
	if f, end := ScanFloat(text, 0); end == len(text) && end > 0 {
		switch d {
		case serval.FP32:
			return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(f))), nil
		case serval.FP64:
			return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f)), nil
		}
	}
	longer, err := element.AppendText(dst, d, unsafe.String(unsafe.SliceData(text), len(text)))
	if err != nil {
		return dst, err
	}
	return longer, nil
}

// pow10 are powers of ten that a float64 holds exactly.
var pow10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// ScanFloat reads a number of at most 15 digits, perhaps with a sign and a point, whose value takes one exact operation (Clinger,
// "How to Read Floating Point Numbers Accurately", 1990), and says where it ends; at i: there is none.
func ScanFloat(b []byte, i int) (f float64, next int) {
	start, neg := i, false
	if i < len(b) && b[i] == '-' {
		neg = true
		i++
	}
	first, m := i, uint64(0)
	for i < len(b) && b[i]-'0' <= 9 {
		m = m*10 + uint64(b[i]-'0')
		i++
	}
	digits, after := i-first, 0
	if i < len(b) && b[i] == '.' {
		i++
		point := i
		for i < len(b) && b[i]-'0' <= 9 {
			m = m*10 + uint64(b[i]-'0')
			i++
		}
		after = i - point
	}
	if digits += after; digits == 0 || digits > 15 {
		return 0, start
	}
	if f = float64(m); after > 0 {
		f /= pow10[after]
	}
	if neg {
		f = -f
	}
	return f, i
}

// AppendNumber appends the text of element i of data: the shortest that reads back as it, without an exponent where that is short.
// Not for Bytes.
func AppendNumber(dst []byte, d serval.DType, data []byte, i int) []byte {
	le := binary.LittleEndian
	switch d {
	case serval.Bool:
		return strconv.AppendBool(dst, data[i] != 0)
	case serval.FP32:
		return appendFloat(dst, float64(math.Float32frombits(le.Uint32(data[4*i:]))), 32)
	case serval.FP64:
		return appendFloat(dst, math.Float64frombits(le.Uint64(data[8*i:])), 64)
	case serval.FP16, serval.BF16:
		return appendFloat(dst, d.Numbers()(data, i), 32)
	case serval.Uint64:
		return strconv.AppendUint(dst, le.Uint64(data[8*i:]), 10)
	case serval.Int64:
		return strconv.AppendInt(dst, int64(le.Uint64(data[8*i:])), 10)
	}
	return strconv.AppendInt(dst, int64(d.Numbers()(data, i)), 10)
}

func appendFloat(dst []byte, f float64, bits int) []byte {
	if abs := math.Abs(f); abs >= 1e-6 && abs < 1e15 {
		return strconv.AppendFloat(dst, f, 'f', -1, bits)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, bits)
}
