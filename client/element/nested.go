package element

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"serval"
)

// DecodeJSON decodes one JSON value, its numbers kept as they are written.
func DecodeJSON(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

// AppendNested appends a decoded JSON value, or nested lists of values, in row-major order and returns their shape. Errors
// begin with the place: [3][0]: "x" is not a number.
func AppendNested(dst []byte, v any, d serval.DType) (data []byte, shape []int64, err error) {
	list, ok := v.([]any)
	if !ok {
		data, err := AppendJSON(dst, d, v)
		return data, []int64{}, err
	}
	var inner []int64
	for i, e := range list {
		data, shape, err := AppendNested(dst, e, d)
		if err != nil {
			return nil, nil, fmt.Errorf("[%d]%s%w", i, separator(e, err), err)
		}
		if i > 0 && !slices.Equal(shape, inner) {
			return nil, nil, fmt.Errorf("[%d]: has shape %s, where [0] has %s", i, serval.ShapeString(shape), serval.ShapeString(inner))
		}
		dst, inner = data, shape
	}
	return dst, append([]int64{int64(len(list))}, inner...), nil
}

// separator keeps the places of nested lists together.
func separator(inner any, err error) string {
	if _, nested := inner.([]any); nested && len(err.Error()) > 0 && err.Error()[0] == '[' {
		return ""
	}
	return ": "
}
