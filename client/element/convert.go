package element

import (
	"fmt"

	"serval"
)

// Convert changes elements from one type of number (or bool) to another, appending them to dst. It fails at the first
// element that the new type cannot hold, except that floats may lose precision. Strings stay strings.
func Convert(dst []byte, data []byte, from, to serval.DType) ([]byte, error) {
	if from == to {
		return append(dst, data...), nil
	}
	if from == serval.Bytes || to == serval.Bytes || from.Size() == 0 {
		return nil, fmt.Errorf("the file holds %s, where %s is needed", from, to)
	}
	size := from.Size()
	for at := 0; at+size <= len(data); at += size {
		e, err := data[at:at+size], error(nil)
		switch {
		case isFloat(from):
			dst, err = AppendFloat(dst, to, float(from, e))
		case from == serval.Bool || from >= serval.Uint8 && from <= serval.Uint64:
			dst, err = appendUint(dst, to, unsigned(e))
		default:
			dst, err = AppendInt(dst, to, signed(e))
		}
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", at/size, err)
		}
	}
	return dst, nil
}
