package oip

import (
	"encoding/binary"
	"math"

	"serval"
	"serval/wire/inference"
)

// appendContents appends the elements of an InferTensorContents, as a tensor of type d holds them. Only the field that goes
// with d may be used.
func appendContents(dst []byte, name string, d serval.DType, c *inference.InferTensorContents) ([]byte, error) {
	if field, want := contentsField(c), fieldOf(d); field != "" && field != want {
		if want == "" {
			return dst, serval.Errorf(serval.InvalidArgument, "input '%s': values of type %s can only be sent in raw_input_contents", name, d).At(name)
		}
		return dst, serval.Errorf(serval.InvalidArgument, "input '%s': values of type %s belong in contents.%s, not in contents.%s", name, d, want, field).At(name)
	}
	le := binary.LittleEndian
	switch d {
	case serval.Bool:
		for _, v := range c.BoolContents {
			dst = append(dst, b2u(v))
		}
	case serval.Int8, serval.Int16, serval.Int32:
		return appendInts(dst, name, d, c.IntContents)
	case serval.Uint8, serval.Uint16, serval.Uint32:
		return appendUints(dst, name, d, c.UintContents)
	case serval.Int64:
		for _, v := range c.Int64Contents {
			dst = le.AppendUint64(dst, uint64(v))
		}
	case serval.Uint64:
		for _, v := range c.Uint64Contents {
			dst = le.AppendUint64(dst, v)
		}
	case serval.FP32:
		for _, v := range c.Fp32Contents {
			dst = le.AppendUint32(dst, math.Float32bits(v))
		}
	case serval.FP64:
		for _, v := range c.Fp64Contents {
			dst = le.AppendUint64(dst, math.Float64bits(v))
		}
	case serval.Bytes:
		for _, v := range c.BytesContents {
			dst = serval.AppendBytes(dst, v)
		}
	}
	return dst, nil
}

func b2u(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// appendInts narrows int32 values, which carry every smaller type, and refuses what does not fit.
func appendInts(dst []byte, name string, d serval.DType, values []int32) ([]byte, error) {
	shift := 32 - 8*d.Size()
	for i, v := range values {
		if v<<shift>>shift != v {
			return dst, serval.Errorf(serval.InvalidArgument, "input '%s': value %d of contents.int_contents is %d, which %s cannot hold", name, i, v, d).At(name)
		}
		switch d {
		case serval.Int8:
			dst = append(dst, byte(v))
		case serval.Int16:
			dst = binary.LittleEndian.AppendUint16(dst, uint16(v))
		default:
			dst = binary.LittleEndian.AppendUint32(dst, uint32(v))
		}
	}
	return dst, nil
}

func appendUints(dst []byte, name string, d serval.DType, values []uint32) ([]byte, error) {
	shift := 32 - 8*d.Size()
	for i, v := range values {
		if v<<shift>>shift != v {
			return dst, serval.Errorf(serval.InvalidArgument, "input '%s': value %d of contents.uint_contents is %d, which %s cannot hold", name, i, v, d).At(name)
		}
		switch d {
		case serval.Uint8:
			dst = append(dst, byte(v))
		case serval.Uint16:
			dst = binary.LittleEndian.AppendUint16(dst, uint16(v))
		default:
			dst = binary.LittleEndian.AppendUint32(dst, v)
		}
	}
	return dst, nil
}

// fieldOf is the field of InferTensorContents for a type; "" for those that have none.
func fieldOf(d serval.DType) string {
	switch d {
	case serval.Bool:
		return "bool_contents"
	case serval.Int8, serval.Int16, serval.Int32:
		return "int_contents"
	case serval.Int64:
		return "int64_contents"
	case serval.Uint8, serval.Uint16, serval.Uint32:
		return "uint_contents"
	case serval.Uint64:
		return "uint64_contents"
	case serval.FP32:
		return "fp32_contents"
	case serval.FP64:
		return "fp64_contents"
	case serval.Bytes:
		return "bytes_contents"
	}
	return ""
}

// contentsField is the name of the field that holds values, "" if none does, "more than one field" if several do.
func contentsField(c *inference.InferTensorContents) string {
	found := ""
	for _, f := range [...]struct {
		name string
		n    int
	}{
		{"bool_contents", len(c.BoolContents)}, {"int_contents", len(c.IntContents)}, {"int64_contents", len(c.Int64Contents)},
		{"uint_contents", len(c.UintContents)}, {"uint64_contents", len(c.Uint64Contents)}, {"fp32_contents", len(c.Fp32Contents)},
		{"fp64_contents", len(c.Fp64Contents)}, {"bytes_contents", len(c.BytesContents)},
	} {
		switch {
		case f.n == 0:
		case found == "":
			found = f.name
		default:
			return "more than one field"
		}
	}
	return found
}
