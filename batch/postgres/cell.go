package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/jackc/pgx/v5/pgtype"

	"serval"
	"serval/batch"
	"serval/client/element"
	"serval/internal/jsontensor"
)

// types are those that are no texts for us.
var types = map[uint32]struct {
	dtype serval.DType
	array bool
}{
	pgtype.BoolOID: {serval.Bool, false}, pgtype.Int2OID: {serval.Int16, false}, pgtype.Int4OID: {serval.Int32, false},
	pgtype.Int8OID: {serval.Int64, false}, pgtype.Float4OID: {serval.FP32, false}, pgtype.Float8OID: {serval.FP64, false},
	pgtype.BoolArrayOID: {serval.Bool, true}, pgtype.Int2ArrayOID: {serval.Int16, true}, pgtype.Int4ArrayOID: {serval.Int32, true},
	pgtype.Int8ArrayOID: {serval.Int64, true}, pgtype.Float4ArrayOID: {serval.FP32, true}, pgtype.Float8ArrayOID: {serval.FP64, true},
	pgtype.TextArrayOID: {serval.Bytes, true}, pgtype.VarcharArrayOID: {serval.Bytes, true}, pgtype.NumericArrayOID: {serval.FP64, true},
}

// cell turns a value as the server sends it into an element.
type cell struct {
	have   column
	want   batch.Column
	binary bool // it is sent so
	list   bool
	each   int // elements of a row; -1: a list as JSON
	items  [][]byte
}

func newCell(have column, want batch.Column) (cell, error) {
	c := cell{have: have, want: want, each: 1, list: have.Shape != nil}
	n, ok := serval.Elements(want.Shape)
	switch {
	case !c.list && want.Shape != nil && (!ok || n != 1):
		return c, fmt.Errorf("holds single values, where %s are needed", serval.ShapeString(want.Shape))
	case c.list && want.Shape == nil && want.Type != serval.Bytes:
		return c, fmt.Errorf("holds arrays, where single values are needed")
	case c.list && (want.Shape == nil || !ok):
		c.each = -1
	case c.list && n > batch.MaxBlock/8:
		return c, fmt.Errorf("a row of %s is too large", serval.ShapeString(want.Shape))
	case c.list:
		c.each = int(n)
	}
	switch have.oid {
	case pgtype.BoolOID, pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.Float4OID, pgtype.Float8OID:
		c.binary = true
	case pgtype.DateOID, pgtype.TimestampOID, pgtype.TimestamptzOID, pgtype.TimeOID, pgtype.IntervalOID, pgtype.UUIDOID, pgtype.ByteaOID:
		if want.Type != serval.Bytes {
			return c, fmt.Errorf("holds values of type %s, which are no numbers", have.kind)
		}
	}
	return c, nil
}

func (c *cell) vector() batch.Vector {
	v := batch.Vector{Name: c.want.Name, DType: c.want.Type, Shape: c.want.Shape}
	if c.each < 0 {
		v.DType, v.Shape = serval.Bytes, nil
	}
	return v
}

// missing appends a value that is not there.
func (c *cell) missing(dst []byte) []byte {
	size := c.want.Type.Size()
	if size == 0 || c.each < 0 {
		size = 4
	}
	return append(dst, make([]byte, size*max(1, c.each))...)
}

// append appends a value.
func (c *cell) append(dst, raw []byte) ([]byte, error) {
	if len(raw) > batch.MaxBlock {
		return dst, fmt.Errorf("a value of %d bytes; there may be %d", len(raw), batch.MaxBlock)
	}
	if c.list {
		return c.appendList(dst, raw)
	}
	if !c.binary {
		return batch.AppendText(dst, c.want.Type, raw)
	}
	return c.appendNumber(dst, raw)
}

func (c *cell) appendNumber(dst, raw []byte) ([]byte, error) {
	be := binary.BigEndian
	var whole int64
	var float float64
	is := false
	switch c.have.Type.Size() {
	case 1:
		if len(raw) == 1 {
			whole = int64(raw[0])
		}
		if c.want.Type == serval.Bytes {
			return serval.AppendString(dst, strconv.FormatBool(whole != 0)), nil
		}
	case 2:
		if len(raw) == 2 {
			whole = int64(int16(be.Uint16(raw)))
		}
	case 4:
		if len(raw) == 4 {
			whole, float = int64(int32(be.Uint32(raw))), float64(math.Float32frombits(be.Uint32(raw)))
		}
		is = c.have.Type == serval.FP32
	default:
		if len(raw) == 8 {
			whole, float = int64(be.Uint64(raw)), math.Float64frombits(be.Uint64(raw))
		}
		is = c.have.Type == serval.FP64
	}
	switch {
	case c.want.Type == serval.Bytes && is:
		return serval.AppendString(dst, strconv.FormatFloat(float, 'g', -1, 8*c.have.Type.Size())), nil
	case c.want.Type == serval.Bytes:
		return serval.AppendString(dst, strconv.FormatInt(whole, 10)), nil
	}
	var longer []byte
	var err error
	if is {
		if c.want.Type == serval.FP32 && !math.IsInf(float, 0) && math.IsInf(float64(float32(float)), 0) {
			return dst, fmt.Errorf("%v is too large for FP32", float)
		}
		longer, err = element.AppendFloat(dst, c.want.Type, float)
	} else {
		longer, err = element.AppendInt(dst, c.want.Type, whole)
	}
	if err != nil {
		return dst, err
	}
	return longer, nil
}

// appendList appends an array's elements, or its JSON.
func (c *cell) appendList(dst, raw []byte) ([]byte, error) {
	var err error
	if c.items, err = items(c.items[:0], raw); err != nil {
		return dst, err
	}
	at := len(dst)
	if c.each < 0 {
		dst = append(dst, 0, 0, 0, 0, '[')
		for i, item := range c.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			switch {
			case item == nil:
				dst = append(dst, "null"...)
			case c.have.Type == serval.Bool:
				dst = strconv.AppendBool(dst, item[0] == 't')
			case c.have.Type == serval.Bytes || item[0] == 'N' || item[0] == 'I' || len(item) > 1 && item[1] == 'I':
				dst = jsontensor.AppendString(dst, item)
			default:
				dst = append(dst, item...)
			}
		}
		dst = append(dst, ']')
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
		return dst, nil
	}
	if len(c.items) != c.each {
		return dst, fmt.Errorf("a list of %d values, where %s are needed", len(c.items), serval.ShapeString(c.want.Shape))
	}
	for i, item := range c.items {
		if item == nil {
			item = []byte("nan")
		} else if c.have.Type == serval.Bool && c.want.Type != serval.Bytes {
			item = map[byte][]byte{'t': []byte("1"), 'f': []byte("0")}[item[0]]
		}
		if dst, err = batch.AppendText(dst, c.want.Type, item); err != nil {
			return dst[:at], fmt.Errorf("value %d of the list: %w", i+1, err)
		}
	}
	return dst, nil
}

// items takes an array's text apart: {1,NULL,"a b"}, in row-major order where there are more dimensions, or pgvector's [1,2].
// One that is missing is nil.
func items(dst [][]byte, raw []byte) ([][]byte, error) {
	if at := bytes.Index(raw, []byte("={")); at > 0 && raw[0] == '[' { // bounds that do not begin at 1
		raw = raw[at+1:]
	}
	for i := 0; i < len(raw); {
		switch raw[i] {
		case '{', '}', ',', '[', ']':
			i++
		case '"':
			var word []byte
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					if i++; i == len(raw) {
						break
					}
				}
				word = append(word, raw[i])
			}
			if i >= len(raw) {
				return dst, fmt.Errorf("an array that is cut off")
			}
			i++
			if word == nil {
				word = []byte{}
			}
			dst = append(dst, word)
		default:
			from := i
			for i < len(raw) && raw[i] != ',' && raw[i] != '}' && raw[i] != ']' {
				i++
			}
			word := raw[from:i]
			if raw[0] == '{' && string(word) == "NULL" {
				word = nil
			}
			dst = append(dst, word)
		}
	}
	return dst, nil
}
