package element

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"serval"
)

// AppendText appends the element that a text (a CSV cell, a JSON number's digits) stands for. Bytes take any text; a bool
// is true, false, 1 or 0; whole numbers may be written 3 or 3.0; floats may also be nan and inf.
func AppendText(dst []byte, d serval.DType, text string) ([]byte, error) {
	if d == serval.Bytes {
		return serval.AppendString(dst, text), nil
	}
	text = strings.TrimSpace(text)
	if text == "" {
		if isFloat(d) {
			return nil, fmt.Errorf("empty, where a number is needed (write nan for a missing one)")
		}
		return nil, fmt.Errorf("empty, where a value of type %s is needed", d)
	}
	switch {
	case d == serval.Bool:
		b, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return nil, fmt.Errorf("%q is not true, false, 1 or 0", clip(text))
		}
		return append(dst, bit(b)), nil
	case isFloat(d):
		f, err := strconv.ParseFloat(text, 64)
		if err != nil && !math.IsInf(f, 0) {
			return nil, fmt.Errorf("%q is not a number", clip(text))
		}
		return AppendFloat(dst, d, f)
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return AppendInt(dst, d, i)
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return appendUint(dst, d, u)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is not a whole number", clip(text))
	}
	return AppendFloat(dst, d, f)
}

// AppendJSON appends the element that a decoded JSON value stands for: a json.Number, bool or string.
func AppendJSON(dst []byte, d serval.DType, v any) ([]byte, error) {
	switch v := v.(type) {
	case json.Number:
		if d == serval.Bytes {
			return nil, fmt.Errorf("%s is a number, where a string is needed", clip(string(v)))
		}
		if d == serval.Bool && v != "0" && v != "1" {
			return nil, fmt.Errorf("%s is a number, where true or false is needed", clip(string(v)))
		}
		return AppendText(dst, d, string(v))
	case bool:
		if d == serval.Bytes {
			return nil, fmt.Errorf("%t is a bool, where a string is needed", v)
		}
		return AppendInt(dst, d, int64(bit(v)))
	case string:
		if d == serval.Bytes {
			return serval.AppendString(dst, v), nil
		}
		if isFloat(d) { // JSON has no other way to write them
			switch strings.ToLower(v) {
			case "nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity":
				return AppendText(dst, d, v)
			}
		}
		return nil, fmt.Errorf("%q is a string, where a value of type %s is needed", clip(v), d)
	case nil:
		if isFloat(d) {
			return AppendFloat(dst, d, math.NaN())
		}
		return nil, fmt.Errorf("null, where a value of type %s is needed", d)
	}
	return nil, fmt.Errorf("an object, where a value of type %s is needed", d)
}

// AppendFloat appends f as one element of any type of number; a type of whole numbers refuses fractions.
func AppendFloat(dst []byte, d serval.DType, f float64) ([]byte, error) {
	switch d {
	case serval.FP64:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f)), nil
	case serval.FP32:
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(f))), nil
	case serval.FP16:
		return binary.LittleEndian.AppendUint16(dst, toHalf(float32(f))), nil
	case serval.BF16:
		return binary.LittleEndian.AppendUint16(dst, toBrain(float32(f))), nil
	}
	if f != math.Trunc(f) || f < math.MinInt64 || f >= math.MaxUint64 {
		return nil, fmt.Errorf("%v is not a whole number that %s can hold", f, d)
	}
	if f >= math.MaxInt64 {
		return appendUint(dst, d, uint64(f))
	}
	return AppendInt(dst, d, int64(f))
}

// AppendInt appends i as one element of any type but Bytes; it fails where the type cannot hold i.
func AppendInt(dst []byte, d serval.DType, i int64) ([]byte, error) {
	switch d {
	case serval.FP64, serval.FP32, serval.FP16, serval.BF16:
		return AppendFloat(dst, d, float64(i))
	case serval.Bool:
		if i != 0 && i != 1 {
			return nil, fmt.Errorf("%d is not a BOOL: use 0 or 1", i)
		}
		return append(dst, byte(i)), nil
	case serval.Uint8, serval.Uint16, serval.Uint32, serval.Uint64:
		if i < 0 {
			return nil, fmt.Errorf("%d is negative, and %s is not", i, d)
		}
		return appendUint(dst, d, uint64(i))
	case serval.Int8, serval.Int16, serval.Int32, serval.Int64:
		size := d.Size()
		if shift := uint(64 - 8*size); i<<shift>>shift != i {
			return nil, fmt.Errorf("%d does not fit %s", i, d)
		}
		return binary.LittleEndian.AppendUint64(dst, uint64(i))[:len(dst)+size], nil
	}
	return nil, fmt.Errorf("%d is a number, where %s is needed", i, d)
}

func appendUint(dst []byte, d serval.DType, u uint64) ([]byte, error) {
	switch d {
	case serval.Uint8, serval.Uint16, serval.Uint32, serval.Uint64:
		size := d.Size()
		if size < 8 && u>>(8*size) != 0 {
			return nil, fmt.Errorf("%d does not fit %s", u, d)
		}
		return binary.LittleEndian.AppendUint64(dst, u)[:len(dst)+size], nil
	}
	if u > math.MaxInt64 {
		return nil, fmt.Errorf("%d does not fit %s", u, d)
	}
	return AppendInt(dst, d, int64(u))
}

func isFloat(d serval.DType) bool {
	return d == serval.FP64 || d == serval.FP32 || d == serval.FP16 || d == serval.BF16
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// clip keeps a message in one line.
func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}
