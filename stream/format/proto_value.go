package format

import (
	"math"
	"math/big"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// wireOf is how values of a kind are written.
func wireOf(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	case protoreflect.FloatKind, protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		return protowire.Fixed32Type
	case protoreflect.DoubleKind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return protowire.Fixed64Type
	}
	return protowire.VarintType
}

// scalarOf is the value in b, which is whole.
func scalarOf(d protoreflect.FieldDescriptor, b []byte) (any, error) {
	switch wireOf(d.Kind()) {
	case protowire.Fixed32Type:
		v, _ := protowire.ConsumeFixed32(b)
		switch d.Kind() {
		case protoreflect.FloatKind:
			return math.Float32frombits(v), nil
		case protoreflect.Sfixed32Kind:
			return int32(v), nil
		}
		return v, nil
	case protowire.Fixed64Type:
		v, _ := protowire.ConsumeFixed64(b)
		switch d.Kind() {
		case protoreflect.DoubleKind:
			return math.Float64frombits(v), nil
		case protoreflect.Sfixed64Kind:
			return int64(v), nil
		}
		return v, nil
	case protowire.BytesType:
		v, _ := protowire.ConsumeBytes(b)
		switch d.Kind() {
		case protoreflect.StringKind:
			if !utf8.Valid(v) {
				return nil, wrong(string(d.Name()), "field '%s' is not text in UTF-8", d.Name())
			}
			return string(v), nil
		case protoreflect.MessageKind:
			return known[d.Message().FullName()].value(v)
		}
		return v, nil
	case protowire.StartGroupType:
		return nil, wrong(string(d.Name()), "field '%s' is a group", d.Name())
	}
	v, _ := protowire.ConsumeVarint(b)
	switch d.Kind() {
	case protoreflect.BoolKind:
		return v != 0, nil
	case protoreflect.EnumKind:
		return enumOf(d, protoreflect.EnumNumber(int32(v))), nil
	case protoreflect.Int32Kind:
		return int32(v), nil
	case protoreflect.Sint32Kind:
		return int32(protowire.DecodeZigZag(v & math.MaxUint32)), nil
	case protoreflect.Uint32Kind:
		return uint32(v), nil
	case protoreflect.Sint64Kind:
		return protowire.DecodeZigZag(v), nil
	case protoreflect.Uint64Kind:
		return v, nil
	}
	return int64(v), nil
}

// wellKnown is a message that stands for a single value.
type wellKnown struct {
	kind  string // in results
	value func([]byte) (any, error)
}

// known are those messages. A time is seconds since 1970, a duration seconds.
var known = map[protoreflect.FullName]wellKnown{
	"google.protobuf.DoubleValue": {"double", fixed64}, "google.protobuf.FloatValue": {"float", fixed32},
	"google.protobuf.Int64Value": {"int64", varint(func(v uint64) any { return int64(v) })}, "google.protobuf.UInt64Value": {"uint64", varint(func(v uint64) any { return v })},
	"google.protobuf.Int32Value": {"int32", varint(func(v uint64) any { return int32(v) })}, "google.protobuf.UInt32Value": {"uint32", varint(func(v uint64) any { return uint32(v) })},
	"google.protobuf.BoolValue": {"bool", varint(func(v uint64) any { return v != 0 })}, "google.protobuf.StringValue": {"string", text},
	"google.protobuf.BytesValue": {"bytes", func(b []byte) (any, error) { return firstBytes(b) }}, "google.protobuf.Timestamp": {"double", seconds}, "google.protobuf.Duration": {"double", seconds},
	"confluent.type.Decimal": {"string", scaled},
}

// each calls take for the fields of a small message.
func each(b []byte, take func(n protowire.Number, t protowire.Type, value []byte)) error {
	for len(b) > 0 {
		n, t, size := protowire.ConsumeTag(b)
		if size < 0 {
			return broken(size)
		}
		b = b[size:]
		if size = protowire.ConsumeFieldValue(n, t, b); size < 0 {
			return broken(size)
		}
		take(n, t, b[:size])
		b = b[size:]
	}
	return nil
}

func fixed64(b []byte) (any, error) {
	f := 0.0
	err := each(b, func(n protowire.Number, t protowire.Type, value []byte) {
		if v, _ := protowire.ConsumeFixed64(value); n == 1 && t == protowire.Fixed64Type {
			f = math.Float64frombits(v)
		}
	})
	return f, err
}

func fixed32(b []byte) (any, error) {
	f := float32(0)
	err := each(b, func(n protowire.Number, t protowire.Type, value []byte) {
		if v, _ := protowire.ConsumeFixed32(value); n == 1 && t == protowire.Fixed32Type {
			f = math.Float32frombits(v)
		}
	})
	return f, err
}

func varint(as func(uint64) any) func([]byte) (any, error) {
	return func(b []byte) (any, error) {
		whole := uint64(0)
		err := each(b, func(n protowire.Number, t protowire.Type, value []byte) {
			if n == 1 && t == protowire.VarintType {
				whole, _ = protowire.ConsumeVarint(value)
			}
		})
		return as(whole), err
	}
}

func firstBytes(b []byte) ([]byte, error) {
	out := []byte{}
	err := each(b, func(n protowire.Number, t protowire.Type, value []byte) {
		if n == 1 && t == protowire.BytesType {
			out, _ = protowire.ConsumeBytes(value)
		}
	})
	return out, err
}

func text(b []byte) (any, error) {
	v, err := firstBytes(b)
	if err == nil && !utf8.Valid(v) {
		err = wrong("", "a text is not in UTF-8")
	}
	return string(v), err
}

func seconds(b []byte) (any, error) {
	whole, nanos := int64(0), int64(0)
	err := each(b, func(n protowire.Number, t protowire.Type, value []byte) {
		if v, _ := protowire.ConsumeVarint(value); t == protowire.VarintType && n == 1 {
			whole = int64(v)
		} else if t == protowire.VarintType && n == 2 {
			nanos = int64(int32(v))
		}
	})
	return float64(whole) + float64(nanos)/1e9, err
}

// scaled is a decimal: a whole number in two's complement, the largest byte first, and how many of its places are behind the point.
func scaled(b []byte) (any, error) {
	var digits []byte
	scale := int32(0)
	err := each(b, func(n protowire.Number, t protowire.Type, value []byte) {
		if n == 1 && t == protowire.BytesType {
			digits, _ = protowire.ConsumeBytes(value)
		} else if v, _ := protowire.ConsumeVarint(value); n == 3 && t == protowire.VarintType {
			scale = int32(v)
		}
	})
	if err == nil && (len(digits) > 64 || scale < 0 || scale > 154) {
		err = wrong("", "a decimal has %d bytes and scale %d; at most 64 and 154 are taken", len(digits), scale)
	}
	if err != nil {
		return nil, err
	}
	n := new(big.Int).SetBytes(digits)
	if len(digits) > 0 && digits[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(digits))))
	}
	return new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)), nil
}

// appendProto appends a field; kind is as a .proto file names it.
func appendProto(b []byte, n protowire.Number, kind string, v any) []byte {
	wire := wireNamed(kind)
	return appendBare(protowire.AppendTag(b, n, wire), kind, v)
}

func wireNamed(kind string) protowire.Type {
	switch kind {
	case "string", "bytes":
		return protowire.BytesType
	case "float", "fixed32", "sfixed32":
		return protowire.Fixed32Type
	case "double", "fixed64", "sfixed64":
		return protowire.Fixed64Type
	}
	return protowire.VarintType
}

// appendRepeated appends a field of several values, packed where it can be.
func appendRepeated(b []byte, n protowire.Number, kind string, list []any) []byte {
	if len(list) == 0 {
		return b
	}
	if wireNamed(kind) == protowire.BytesType {
		for _, v := range list {
			b = appendProto(b, n, kind, v)
		}
		return b
	}
	var packed []byte
	for _, v := range list {
		packed = appendBare(packed, kind, v)
	}
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), packed)
}

func appendBare(b []byte, kind string, v any) []byte {
	if kind == "string" || kind == "bytes" {
		t, _ := textOf(v)
		return protowire.AppendBytes(b, t)
	}
	var whole int64
	switch v := v.(type) {
	case bool:
		if v {
			whole = 1
		}
	case int32:
		whole = int64(v)
	case int64:
		whole = v
	case uint32:
		whole = int64(v)
	case uint64:
		whole = int64(v)
	case float32:
		if kind == "double" {
			return protowire.AppendFixed64(b, math.Float64bits(float64(v)))
		}
		return protowire.AppendFixed32(b, math.Float32bits(v))
	case float64:
		return protowire.AppendFixed64(b, math.Float64bits(v))
	}
	switch {
	case wireNamed(kind) == protowire.Fixed32Type:
		return protowire.AppendFixed32(b, uint32(whole))
	case wireNamed(kind) == protowire.Fixed64Type:
		return protowire.AppendFixed64(b, uint64(whole))
	case kind == "sint32" || kind == "sint64":
		return protowire.AppendVarint(b, protowire.EncodeZigZag(whole))
	}
	return protowire.AppendVarint(b, uint64(whole))
}
