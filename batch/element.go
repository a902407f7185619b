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
	if f, ok := shortFloat(text); ok {
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

// pow10 are the powers of ten that a float64 holds exactly.
var pow10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
	1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// shortFloat reads a text of digits, perhaps with a sign and a point, whose value takes one exact operation: at most 15 digits
// (Clinger, "How to Read Floating Point Numbers Accurately", 1990). It reports false for all others.
func shortFloat(text []byte) (float64, bool) {
	b, neg := text, false
	if len(b) > 0 && b[0] == '-' {
		b, neg = b[1:], true
	}
	if len(b) == 0 || len(b) > 16 {
		return 0, false
	}
	m, point := uint64(0), -1
	for i, c := range b {
		if d := c - '0'; d <= 9 {
			m = m*10 + uint64(d)
		} else if c == '.' && point < 0 {
			point = i
		} else {
			return 0, false
		}
	}
	f := float64(m)
	if point >= 0 {
		if len(b) == 1 {
			return 0, false
		}
		f /= pow10[len(b)-1-point]
	} else if len(b) > 15 {
		return 0, false
	}
	if neg {
		f = -f
	}
	return f, true
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
