package postgres

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"serval"
	"serval/batch"
)

// writer is a batch.Writer: a line of JSON with the columns, then lines as COPY takes them.
type writer struct {
	f    *batch.AppendFile
	head []field // nil: nothing was written
	rest [][]byte
}

// field is a column of such a file.
type field struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type writerMark struct {
	Offset int64   `json:"offset"`
	Head   []field `json:"head"`
}

func create(path string, from batch.Mark) (*writer, error) {
	m := writerMark{Offset: -1}
	if from != nil {
		if err := json.Unmarshal(from, &m); err != nil || m.Offset < 0 {
			return nil, fmt.Errorf("%s: the checkpoint's place %s is none of this file", path, from)
		}
	}
	f, err := batch.OpenAppend(path, m.Offset)
	if err != nil {
		return nil, err
	}
	return &writer{f: f, head: m.Head}, nil
}

// sqlType is the type of a table's column for a vector.
func sqlType(v *batch.Vector) string {
	t := map[serval.DType]string{
		serval.Bool: "boolean", serval.Int8: "smallint", serval.Uint8: "smallint", serval.Int16: "smallint", serval.Uint16: "integer",
		serval.Int32: "integer", serval.Uint32: "bigint", serval.Int64: "bigint", serval.Uint64: "numeric(20)", serval.FP16: "real",
		serval.BF16: "real", serval.FP32: "real", serval.FP64: "double precision", serval.Bytes: "text",
	}[v.DType]
	if v.Shape != nil {
		t += "[]"
	}
	return t
}

// Write appends rows, before the first ones the head.
func (w *writer) Write(vectors []batch.Vector, rows int) error {
	var head []field
	for i := range vectors {
		head = append(head, field{vectors[i].Name, sqlType(&vectors[i])})
	}
	buf := w.f.Buffer()
	switch {
	case w.head == nil:
		w.head = head
		line, err := json.Marshal(head)
		if err != nil {
			return err
		}
		buf = append(append(buf, line...), '\n')
	case !slices.Equal(head, w.head):
		return fmt.Errorf("columns %v after columns %v", head, w.head)
	}
	w.rest = w.rest[:0]
	for i := range vectors {
		w.rest = append(w.rest, vectors[i].Data)
	}
	for row := range rows {
		for i := range vectors {
			if i > 0 {
				buf = append(buf, '\t')
			}
			buf = w.value(buf, &vectors[i], i, row)
		}
		if buf = append(buf, '\n'); len(buf) > 128<<10 {
			if err := w.f.Took(buf); err != nil {
				return err
			}
			buf = w.f.Buffer()
		}
	}
	return w.f.Took(buf)
}

// value appends the value of a row, and takes it off w.rest.
func (w *writer) value(buf []byte, v *batch.Vector, i, row int) []byte {
	n := 1
	if v.Shape != nil {
		e, _ := serval.Elements(v.Shape)
		n = int(e)
	}
	null := v.Null != nil && v.Null[row]
	at := len(buf)
	if v.Shape != nil {
		buf = append(buf, '{')
	}
	for k := range n {
		if k > 0 {
			buf = append(buf, ',')
		}
		if v.DType != serval.Bytes {
			buf = appendNumber(buf, v.DType, w.rest[i])
			w.rest[i] = w.rest[i][v.DType.Size():]
			continue
		}
		var e []byte
		e, w.rest[i], _ = serval.NextBytes(w.rest[i])
		buf = appendText(buf, e, v.Shape != nil)
	}
	if v.Shape != nil {
		buf = append(buf, '}')
	}
	if null {
		return append(buf[:at], `\N`...)
	}
	return buf
}

func appendNumber(buf []byte, d serval.DType, data []byte) []byte {
	le := binary.LittleEndian
	float := func(f float64, bits int) []byte {
		switch {
		case math.IsInf(f, 1):
			return append(buf, "Infinity"...)
		case math.IsInf(f, -1):
			return append(buf, "-Infinity"...)
		}
		return strconv.AppendFloat(buf, f, 'g', -1, bits) // NaN too
	}
	switch d {
	case serval.Bool:
		return strconv.AppendBool(buf, data[0] != 0)
	case serval.Uint64:
		return strconv.AppendUint(buf, le.Uint64(data), 10)
	case serval.Int64:
		return strconv.AppendInt(buf, int64(le.Uint64(data)), 10)
	case serval.FP64:
		return float(math.Float64frombits(le.Uint64(data)), 64)
	case serval.FP32, serval.FP16, serval.BF16:
		return float(d.Numbers()(data, 0), 32)
	}
	return strconv.AppendInt(buf, int64(d.Numbers()(data, 0)), 10)
}

// appendText appends a text, as an item of an array in quotes. PostgreSQL has no zero bytes and no texts that are not UTF-8: both
// become U+FFFD.
func appendText(buf, text []byte, item bool) []byte {
	if bytes.IndexByte(text, 0) >= 0 {
		text = bytes.ReplaceAll(text, []byte{0}, []byte("\ufffd"))
	}
	text = bytes.ToValidUTF8(text, []byte("\ufffd"))
	if item {
		buf = append(buf, '"')
	}
	for _, c := range text {
		switch c {
		case '\\':
			if item {
				buf = append(buf, `\\`...) // once for the array, once for COPY
			}
			buf = append(buf, `\\`...)
		case '"':
			if item {
				buf = append(buf, `\\`...)
			}
			buf = append(buf, c)
		case '\n':
			buf = append(buf, `\n`...)
		case '\r':
			buf = append(buf, `\r`...)
		case '\t':
			buf = append(buf, `\t`...)
		default:
			buf = append(buf, c)
		}
	}
	if item {
		buf = append(buf, '"')
	}
	return buf
}

// Sync brings it to the disk.
func (w *writer) Sync() (batch.Mark, error) {
	n, err := w.f.Sync()
	if err != nil {
		return nil, err
	}
	return json.Marshal(writerMark{Offset: n, Head: w.head})
}

// Close completes the file.
func (w *writer) Close() error { return w.f.Close() }

// Abandon leaves it as the last Sync did.
func (w *writer) Abandon() error { return w.f.Abandon() }
