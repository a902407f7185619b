package serval

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Tensor is a named array in row-major order. Data is raw little-endian bytes (see Bytes for the layout of strings).
// Whoever made the Data says how long it lives; see Request and Chunk.
type Tensor struct {
	Name  string
	DType DType
	Shape []int64
	Data  []byte
	// Labels name the last dimension's columns where the model knows them (a classifier's classes), else nil.
	Labels []string
}

// Elements is the product of a shape; it reports false when a dimension is negative or the product overflows an int64.
func Elements(shape []int64) (int64, bool) {
	n := int64(1)
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, false
		case d == 0:
			n = 0
		case n > math.MaxInt64/d:
			return 0, false
		default:
			n *= d
		}
	}
	return n, true
}

// maxEmpty bounds the dimensions beside a 0: rows without elements cost a request nothing, but are counted and computed.
const maxEmpty = 1 << 16

// Check says whether Data holds exactly the elements that Shape and DType declare. It allocates nothing of Shape's size.
func (t *Tensor) Check() error {
	n, ok := Elements(t.Shape)
	if !ok {
		return Errorf(InvalidArgument, "input '%s': shape %s has a negative dimension or more elements than can be counted", t.Name, ShapeString(t.Shape)).At(t.Name)
	}
	if n == 0 && slices.Max(t.Shape) > maxEmpty {
		return Errorf(InvalidArgument, "input '%s': shape %s has no elements; then no dimension may be over %d", t.Name, ShapeString(t.Shape), maxEmpty).At(t.Name)
	}
	if t.DType == Bytes {
		got, err := CountBytes(t.Data)
		if err != nil {
			return Errorf(InvalidArgument, "input '%s': %v", t.Name, err).At(t.Name)
		}
		if got != n {
			return Errorf(InvalidArgument, "input '%s': shape %s declares %d strings, the data holds %d", t.Name, ShapeString(t.Shape), n, got).At(t.Name)
		}
		return nil
	}
	size := int64(t.DType.Size())
	if size == 0 {
		return Errorf(InvalidArgument, "input '%s': unknown datatype", t.Name).At(t.Name)
	}
	if have := int64(len(t.Data)); have%size != 0 || have/size != n {
		return Errorf(InvalidArgument, "input '%s': shape %s of %s takes %s bytes, the data holds %d", t.Name, ShapeString(t.Shape), t.DType, byteCount(n, size), have).At(t.Name)
	}
	return nil
}

func byteCount(n, size int64) string {
	if n > math.MaxInt64/size {
		return "more than 2^63"
	}
	return strconv.FormatInt(n*size, 10)
}

// Rows is the leading dimension, or 1 for a scalar.
func (t *Tensor) Rows() int64 {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[0]
}

// ShapeString writes a shape as [2,3]; -1 stands for a dimension that the request chooses. A long one is cut.
func ShapeString(shape []int64) string {
	const most = 32
	b := append(make([]byte, 0, 32), '[')
	for i, d := range shape {
		if i > 0 {
			b = append(b, ',')
		}
		if i == most {
			b = append(b, "… "...)
			b = strconv.AppendInt(b, int64(len(shape)), 10)
			b = append(b, " dimensions"...)
			break
		}
		b = strconv.AppendInt(b, d, 10)
	}
	return string(append(b, ']'))
}

// AppendBytes appends one element of a Bytes tensor.
func AppendBytes(dst, element []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(element)))
	return append(dst, element...)
}

// AppendString appends one element of a Bytes tensor.
func AppendString(dst []byte, element string) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(element)))
	return append(dst, element...)
}

// NextBytes splits the first element off a Bytes tensor's data; it reports false when the data is empty or cut short.
func NextBytes(data []byte) (element, rest []byte, ok bool) {
	if len(data) < 4 {
		return nil, data, false
	}
	n := binary.LittleEndian.Uint32(data)
	if uint64(n) > uint64(len(data)-4) {
		return nil, data, false
	}
	return data[4 : 4+n], data[4+n:], true
}

// CountBytes counts the elements of a Bytes tensor's data; it fails where a length runs past the end.
func CountBytes(data []byte) (int64, error) {
	var n int64
	for rest := data; len(rest) > 0; n++ {
		var ok bool
		at := len(data) - len(rest)
		if _, rest, ok = NextBytes(rest); !ok {
			return 0, fmt.Errorf("the length of string %d (at byte %d) runs past the end of the data", n, at)
		}
	}
	return n, nil
}
