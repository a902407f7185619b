package jsontensor

import (
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"

	"serval"
)

// AppendFlat appends t's values as one flat array. NaN and infinities become the strings "NaN", "Infinity", "-Infinity".
// A string that is not UTF-8 is an error, since JSON cannot carry it.
func AppendFlat(dst []byte, t *serval.Tensor) ([]byte, error) {
	w := writer{t: t, data: t.Data}
	n, err := w.elements()
	if err != nil {
		return dst, err
	}
	dst, err = w.append(append(dst, '['), n)
	return append(dst, ']'), err
}

// AppendNested appends t's values as arrays nested as its shape; a scalar is a bare value.
func AppendNested(dst []byte, t *serval.Tensor) ([]byte, error) { return AppendShaped(dst, t, t.Shape) }

// AppendShaped is AppendNested with another shape of as many elements.
func AppendShaped(dst []byte, t *serval.Tensor, shape []int64) ([]byte, error) {
	w := writer{t: t, data: t.Data}
	if _, err := w.elements(); err != nil {
		return dst, err
	}
	return w.nested(dst, shape)
}

// Rows writes a tensor row by row. It must come from NewRows.
type Rows struct {
	w     writer
	shape []int64
}

// NewRows begins with the first row of t, which has at least one dimension.
func NewRows(t *serval.Tensor) (Rows, error) {
	r := Rows{w: writer{t: t, data: t.Data}}
	if len(t.Shape) == 0 {
		return r, serval.Errorf(serval.Internal, "output '%s' is a single value and has no rows", t.Name).At(t.Name)
	}
	r.shape = t.Shape[1:]
	_, err := r.w.elements()
	return r, err
}

// Append appends the next row, nested as its shape. There must be one.
func (r *Rows) Append(dst []byte) ([]byte, error) { return r.w.nested(dst, r.shape) }

// writer takes elements off the front of data.
type writer struct {
	t    *serval.Tensor
	data []byte
}

// elements is their number; an error if the data does not hold what the shape says.
func (w *writer) elements() (int64, error) {
	if err := w.t.Check(); err != nil {
		return 0, serval.Errorf(serval.Internal, "the model's answer cannot be read: output '%s' does not hold what its shape declares", w.t.Name).Because(err)
	}
	n, _ := serval.Elements(w.t.Shape)
	return n, nil
}

func (w *writer) nested(dst []byte, shape []int64) (_ []byte, err error) {
	switch len(shape) {
	case 0:
		return w.append(dst, 1)
	case 1:
		dst, err = w.append(append(dst, '['), shape[0])
		return append(dst, ']'), err
	}
	dst = append(dst, '[')
	for i := range shape[0] {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = w.nested(dst, shape[1:]); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// append appends the next n elements with commas between them.
func (w *writer) append(dst []byte, n int64) ([]byte, error) {
	if n == 0 {
		return dst, nil
	}
	if w.t.DType == serval.Bytes {
		return w.appendStrings(dst, n)
	}
	size := int64(w.t.DType.Size())
	data := w.data[:n*size]
	w.data = w.data[n*size:]
	le := binary.LittleEndian
	switch w.t.DType {
	case serval.FP32:
		for ; len(data) >= 4; data = data[4:] {
			dst = append(appendFloat(dst, float64(math.Float32frombits(le.Uint32(data))), 32), ',')
		}
	case serval.FP64:
		for ; len(data) >= 8; data = data[8:] {
			dst = append(appendFloat(dst, math.Float64frombits(le.Uint64(data)), 64), ',')
		}
	case serval.FP16:
		for at, i := serval.FP16.Numbers(), 0; i < len(data)/2; i++ {
			dst = append(appendFloat(dst, at(data, i), 32), ',')
		}
	case serval.BF16:
		for ; len(data) >= 2; data = data[2:] {
			dst = append(appendFloat(dst, float64(math.Float32frombits(uint32(le.Uint16(data))<<16)), 32), ',')
		}
	case serval.Bool:
		for _, b := range data {
			dst = append(strconv.AppendBool(dst, b != 0), ',')
		}
	default:
		dst = appendIntegers(dst, data, w.t.DType)
	}
	return dst[:len(dst)-1], nil
}

func appendIntegers(dst, data []byte, d serval.DType) []byte {
	le := binary.LittleEndian
	size := d.Size()
	for ; len(data) >= size; data = data[size:] {
		switch d {
		case serval.Uint8:
			dst = strconv.AppendUint(dst, uint64(data[0]), 10)
		case serval.Uint16:
			dst = strconv.AppendUint(dst, uint64(le.Uint16(data)), 10)
		case serval.Uint32:
			dst = strconv.AppendUint(dst, uint64(le.Uint32(data)), 10)
		case serval.Uint64:
			dst = strconv.AppendUint(dst, le.Uint64(data), 10)
		case serval.Int8:
			dst = strconv.AppendInt(dst, int64(int8(data[0])), 10)
		case serval.Int16:
			dst = strconv.AppendInt(dst, int64(int16(le.Uint16(data))), 10)
		case serval.Int32:
			dst = strconv.AppendInt(dst, int64(int32(le.Uint32(data))), 10)
		default:
			dst = strconv.AppendInt(dst, int64(le.Uint64(data)), 10)
		}
		dst = append(dst, ',')
	}
	return dst
}

func (w *writer) appendStrings(dst []byte, n int64) ([]byte, error) {
	for i := range n {
		element, rest, ok := serval.NextBytes(w.data)
		if !ok {
			break
		}
		if !utf8.Valid(element) {
			return dst, serval.Errorf(serval.InvalidArgument, "output '%s': string %d is not UTF-8, which JSON needs; ask for the output as binary data (parameter binary_data)", w.t.Name, i).At(w.t.Name)
		}
		w.data = rest
		dst = append(AppendString(dst, element), ',')
	}
	return dst[:len(dst)-1], nil
}

// appendFloat appends the shortest text that reads back as v at that size. Whole numbers keep a ".0", so that every JSON
// reader sees a float.
func appendFloat(dst []byte, v float64, bits int) []byte {
	if -1e15 < v && v < 1e15 {
		if i := int64(v); float64(i) == v {
			if i == 0 && math.Signbit(v) {
				return append(dst, "-0.0"...)
			}
			return append(strconv.AppendInt(dst, i, 10), ".0"...)
		}
	} else if v != v {
		return append(dst, `"NaN"`...)
	} else if v > math.MaxFloat64 {
		return append(dst, `"Infinity"`...)
	} else if v < -math.MaxFloat64 {
		return append(dst, `"-Infinity"`...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits)
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendString[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			if c < ' ' {
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			} else {
				dst = append(dst, "\uFFFD"...)
			}
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}
