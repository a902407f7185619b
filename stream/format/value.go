package format

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"unicode/utf8"

	"serval"
	"serval/internal/jsontensor"
)

// The values of records are nil (none), bool, int32, int64, uint32, uint64, float32, float64, string, []byte, *big.Rat (a
// decimal), [16]byte (a UUID), symbol, []any and map[string]any.

// symbol is a value of an enumeration that has a number too.
type symbol struct {
	name   string
	number int32
}

// value takes a field's value from a record.
func (r *row) value(v any, at place, field string) error {
	if err := r.mark(at, field); err != nil {
		return err
	}
	if v == nil {
		return r.null(at, field)
	}
	in := &r.plan.inputs[at.input]
	t := &r.tensors.List[at.input]
	d := in.info.DType
	items, many := v.([]any)
	switch {
	case many && at.column >= 0:
		return wrong(field, "field '%s' must be a single value, not a list", field)
	case many:
		return r.list(items, at, field)
	case at.column < 0 && !in.single:
		return wrong(field, "field '%s' is %s; input '%s' takes a list of shape %s", field, kindOfValue(v), in.info.Name, serval.ShapeString(in.info.Shape))
	case d == serval.Bytes:
		text, ok := textOf(v)
		if !ok {
			return wrong(field, "field '%s' is %s; input '%s' takes text", field, kindOfValue(v), in.info.Name)
		}
		t.Data = serval.AppendBytes(nil, text)
		return nil
	}
	to := r.data[in.offset+max(0, at.column)*d.Size():][:d.Size()]
	return putNumber(to, d, v, field)
}

// list takes a list's values for a whole input.
func (r *row) list(items []any, at place, field string) error {
	in := &r.plan.inputs[at.input]
	t := &r.tensors.List[at.input]
	d := in.info.DType
	var shape []int64
	measure := items
	for level := 0; ; level++ {
		shape = append(shape, int64(len(measure)))
		if len(measure) == 0 {
			break
		}
		inner, ok := measure[0].([]any)
		if !ok {
			break
		}
		if measure = inner; level == maxNesting {
			return wrong(field, "field '%s' has lists more than %d deep", field, maxNesting)
		}
	}
	n, _ := serval.Elements(shape)
	if want, ok := serval.Elements(in.shape); ok && n != want {
		return wrong(field, "field '%s' has %d values; input '%s' takes %d for a row", field, n, in.info.Name, want)
	}
	var data []byte
	if d != serval.Bytes {
		if in.fixed {
			data = r.data[in.offset : in.offset : in.offset+in.size]
		} else {
			data = make([]byte, 0, int(n)*d.Size())
		}
	}
	data, err := flatten(data, items, shape, d, field)
	if err != nil {
		return err
	}
	if !in.fixed {
		t.Data = data
		if slices.Contains(in.shape, -1) {
			if len(shape) == len(in.shape)-1 {
				shape = append([]int64{1}, shape...)
			}
			t.Shape = shape
		}
	}
	return nil
}

// flatten appends the values of a list of that shape.
func flatten(data []byte, items []any, shape []int64, d serval.DType, field string) ([]byte, error) {
	if int64(len(items)) != shape[0] {
		return data, wrong(field, "field '%s' has lists of different lengths (%d and %d) at one level", field, shape[0], len(items))
	}
	for _, v := range items {
		inner, ok := v.([]any)
		switch {
		case ok != (len(shape) > 1):
			return data, wrong(field, "field '%s' has values and lists at one level", field)
		case ok:
			var err error
			if data, err = flatten(data, inner, shape[1:], d, field); err != nil {
				return data, err
			}
		case d == serval.Bytes:
			text, ok := textOf(v)
			if !ok {
				return data, wrong(field, "field '%s' has %s in its list; its input takes text", field, kindOfValue(v))
			}
			data = serval.AppendBytes(data, text)
		default:
			var one [8]byte
			if err := putNumber(one[:d.Size()], d, v, field); err != nil {
				return data, err
			}
			data = append(data, one[:d.Size()]...)
		}
	}
	return data, nil
}

// textOf is a value as text, where it is one.
func textOf(v any) ([]byte, bool) {
	switch v := v.(type) {
	case string:
		return []byte(v), true
	case []byte:
		return v, true
	case symbol:
		return []byte(v.name), true
	case [16]byte:
		return uuid(v), true
	case *big.Rat:
		return decimal(v), true
	}
	return nil, false
}

func uuid(u [16]byte) []byte {
	h := hex.EncodeToString(u[:])
	return []byte(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:])
}

// decimal is a number with all of its places; those of decimals end.
func decimal(r *big.Rat) []byte {
	places, _ := r.FloatPrec()
	return []byte(r.FloatString(places))
}

// kindOfValue names what a value is, for people.
func kindOfValue(v any) string {
	switch v := v.(type) {
	case nil:
		return "without a value"
	case bool:
		return "a boolean"
	case int32, int64, uint32, uint64:
		return fmt.Sprintf("the whole number %d", v)
	case float32, float64:
		return fmt.Sprintf("the number %v", v)
	case string:
		return "the text " + quoted(v)
	case symbol:
		return "the symbol " + quoted(v.name)
	case []byte:
		return "bytes"
	case [16]byte:
		return "a UUID"
	case *big.Rat:
		return "the decimal " + quoted(string(decimal(v)))
	case []any:
		return "a list"
	}
	return "a record"
}

// putNumber writes a value as d holds it. Whole numbers must fit; floating-point types round.
func putNumber(to []byte, d serval.DType, v any, field string) error {
	misfit := func() error {
		return wrong(field, "field '%s' is %s, which %s cannot hold", field, kindOfValue(v), d)
	}
	var whole int64
	var big64 uint64 // beyond it
	var float float64
	isWhole := true
	switch v := v.(type) {
	case bool:
		if v {
			whole = 1
		}
		float = float64(whole)
	case int32:
		whole, float = int64(v), float64(v)
	case int64:
		whole, float = v, float64(v)
	case uint32:
		whole, float = int64(v), float64(v)
	case uint64:
		if float = float64(v); v > math.MaxInt64 {
			big64 = v
		}
		whole = int64(v)
	case symbol:
		whole, float = int64(v.number), float64(v.number)
	case float32:
		float, isWhole = float64(v), false
	case float64:
		float, isWhole = v, false
	case interface{ Float64() (float64, bool) }: // *big.Rat
		float, _ = v.Float64()
		isWhole = false
	default:
		return misfit()
	}
	switch d {
	case serval.FP32:
		f := float32(float)
		if math.IsInf(float64(f), 0) && !math.IsInf(float, 0) {
			return misfit()
		}
		binary.LittleEndian.PutUint32(to, math.Float32bits(f))
		return nil
	case serval.FP64:
		binary.LittleEndian.PutUint64(to, math.Float64bits(float))
		return nil
	}
	if !isWhole {
		if float != math.Trunc(float) || math.Abs(float) >= 1<<63 {
			return misfit()
		}
		whole = int64(float)
	}
	bits := 8 * d.Size()
	switch d {
	case serval.Bool:
		if big64 != 0 || whole != 0 && whole != 1 {
			return misfit()
		}
	case serval.Uint8, serval.Uint16, serval.Uint32, serval.Uint64:
		if big64 != 0 && bits < 64 || big64 == 0 && (whole < 0 || bits < 64 && whole >= 1<<bits) {
			return misfit()
		}
	default:
		if big64 != 0 || bits < 64 && (whole < -1<<(bits-1) || whole >= 1<<(bits-1)) {
			return misfit()
		}
	}
	putInt(to, uint64(whole))
	return nil
}

// appendValue appends a value as JSON; a decimal is a number, bytes are Base64.
func appendValue(b []byte, v any) ([]byte, error) {
	one := func(d serval.DType, n uint64) ([]byte, error) {
		t := serval.Tensor{DType: d, Shape: []int64{}, Data: make([]byte, d.Size())}
		putInt(t.Data, n)
		return jsontensor.AppendNested(b, &t)
	}
	var err error
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return fmt.Appendf(b, "%t", v), nil
	case int32, int64, uint32, uint64:
		return fmt.Appendf(b, "%d", v), nil
	case float32:
		return one(serval.FP32, uint64(math.Float32bits(v)))
	case float64:
		return one(serval.FP64, math.Float64bits(v))
	case string:
		return jsontensor.AppendString(b, v), nil
	case symbol:
		return jsontensor.AppendString(b, v.name), nil
	case []byte:
		return jsontensor.AppendString(b, base64.StdEncoding.EncodeToString(v)), nil
	case [16]byte:
		return jsontensor.AppendString(b, uuid(v)), nil
	case *big.Rat:
		return append(b, decimal(v)...), nil
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendValue(b, e); err != nil {
				return b, err
			}
		}
		return append(b, ']'), nil
	case map[string]any:
		b = append(b, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendValue(append(jsontensor.AppendString(b, key), ':'), v[key]); err != nil {
				return b, err
			}
		}
		return append(b, '}'), nil
	}
	return b, serval.Errorf(serval.Unimplemented, "a value of type %T has no place in a JSON result", v)
}

// elements are a tensor's values, one after the other, as a record has them: int64 for whole numbers.
func elements(t *serval.Tensor) ([]any, error) {
	n, ok := serval.Elements(t.Shape)
	if !ok || t.Check() != nil {
		return nil, serval.Errorf(serval.Internal, "output '%s' does not hold what its shape %s says", t.Name, serval.ShapeString(t.Shape))
	}
	list := make([]any, 0, n)
	le := binary.LittleEndian
	rest := t.Data
	for range n {
		if t.DType == serval.Bytes {
			var one []byte
			if one, rest, ok = serval.NextBytes(rest); !ok || !utf8.Valid(one) {
				return nil, serval.Errorf(serval.Unimplemented, "output '%s' is not text in UTF-8, which results hold", t.Name).At(t.Name)
			}
			list = append(list, string(one))
			continue
		}
		one := rest[:t.DType.Size()]
		rest = rest[len(one):]
		var v any
		switch t.DType {
		case serval.Bool:
			v = one[0] != 0
		case serval.Int8:
			v = int64(int8(one[0]))
		case serval.Uint8:
			v = int64(one[0])
		case serval.Int16:
			v = int64(int16(le.Uint16(one)))
		case serval.Uint16:
			v = int64(le.Uint16(one))
		case serval.Int32:
			v = int64(int32(le.Uint32(one)))
		case serval.Uint32:
			v = int64(le.Uint32(one))
		case serval.Int64:
			v = int64(le.Uint64(one))
		case serval.Uint64:
			v = le.Uint64(one)
		case serval.FP32:
			v = math.Float32frombits(le.Uint32(one))
		case serval.FP64:
			v = math.Float64frombits(le.Uint64(one))
		default:
			return nil, serval.Errorf(serval.Unimplemented, "output '%s' is %s, which results do not hold", t.Name, t.DType).At(t.Name)
		}
		list = append(list, v)
	}
	return list, nil
}

// nested makes a list of values one of lists, as deep as c says; the first dimension, of rows, is left out.
func (c *column) nested(t *serval.Tensor) (any, error) {
	list, err := elements(t)
	if err != nil {
		return nil, err
	}
	shape := t.Shape
	if len(shape) > c.depth && len(shape) > 0 && shape[0] == 1 {
		shape = shape[1:]
	}
	switch {
	case c.depth == 0 && len(list) == 1:
		return list[0], nil
	case c.depth == 0 || len(shape) != c.depth:
		return nil, misfit("output '%s' has the shape %s, of which the results' schema makes %d levels of lists", t.Name, serval.ShapeString(t.Shape), c.depth)
	}
	for level := len(shape) - 1; level > 0; level-- {
		n := int(shape[level])
		if n == 0 {
			return nil, misfit("output '%s' has the shape %s, which has no values", t.Name, serval.ShapeString(t.Shape))
		}
		outer := make([]any, 0, len(list)/n)
		for group := range slices.Chunk(list, n) {
			outer = append(outer, any([]any(group)))
		}
		list = outer
	}
	return list, nil
}
