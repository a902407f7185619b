package files

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"serval"
	"serval/batch"
	"serval/batch/parquet"
	"serval/internal/jsontensor"
)

const rowsAtOnce = 8192

// parquetFile writes a group's rows to a new file at path, and completes it.
func (t *target) parquetFile(g *group, path string) (err error) {
	w, err := parquet.Format{}.Create(path, nil, t.parquet)
	if err != nil {
		return err
	}
	columns := t.schema.kept()
	for from := 0; from < len(g.rows); from += rowsAtOnce {
		rows := g.rows[from:min(len(g.rows), from+rowsAtOnce)]
		vectors := t.vectors(columns, rows)
		if t.opt.Metadata {
			vectors = append(vectors, g.origins(rows)...)
		}
		if err := w.Write(vectors, len(rows)); err != nil {
			_ = w.Abandon()
			return err
		}
	}
	return w.Close()
}

// shape is a column as a file has it.
type shape struct {
	column
	at int // in the schema
}

// kept are the columns of a file: those of which a value was seen.
func (s *schema) kept() (list []shape) {
	for i, c := range s.columns {
		if c.kind != nothing {
			list = append(list, shape{c, i})
		}
	}
	return list
}

// vectors turns rows into columns.
func (t *target) vectors(columns []shape, rows []row) []batch.Vector {
	list := make([]batch.Vector, len(columns))
	place := make(map[int]int, len(columns)) // of a schema's column in list
	for i, c := range columns {
		list[i] = batch.Vector{Name: c.name, DType: c.dtype()}
		if c.kind == vector {
			list[i].Shape = []int64{int64(c.size)}
		}
		place[c.at] = i
	}
	filled := make([]int, len(columns)) // rows so far
	missing := func(i, row int) {
		for ; filled[i] < row; filled[i]++ {
			v := &list[i]
			if v.Null == nil {
				v.Null = make([]bool, len(rows))
			}
			v.Null[filled[i]] = true
			v.Data = append(v.Data, columns[i].empty()...)
		}
	}
	for n := range rows {
		for k := range rows[n].cells {
			c := &rows[n].cells[k]
			i, ok := place[c.column]
			if !ok || c.kind == nothing {
				continue
			}
			missing(i, n)
			list[i].Data = c.append(list[i].Data, columns[i].kind)
			filled[i]++
		}
	}
	for i := range list {
		missing(i, len(rows))
	}
	return list
}

// dtype is how the column is kept.
func (c *column) dtype() serval.DType {
	switch c.kind {
	case boolean:
		return serval.Bool
	case integer:
		return serval.Int64
	case float, vector:
		return serval.FP64
	}
	return serval.Bytes
}

// empty is the data of a value that is missing.
func (c *column) empty() []byte {
	switch c.kind {
	case boolean:
		return make([]byte, 1)
	case vector:
		return make([]byte, 8*c.size)
	case integer, float:
		return make([]byte, 8)
	}
	return make([]byte, 4)
}

// append appends a value as a column of that kind keeps it.
func (c *cell) append(dst []byte, as kind) []byte {
	le := binary.LittleEndian
	switch as {
	case boolean:
		if c.raw[0] == 't' {
			return append(dst, 1)
		}
		return append(dst, 0)
	case integer:
		n, _ := strconv.ParseInt(string(c.raw), 10, 64) // numberKind has tried
		return le.AppendUint64(dst, uint64(n))
	case float:
		return le.AppendUint64(dst, math.Float64bits(number(c.raw)))
	case vector:
		var s jsontensor.Scanner
		s.Reset(c.raw)
		_ = s.Enter('[', "") // numbers has walked it
		for n := range c.size {
			_, _ = s.More(n == 0, ']')
			raw, _ := s.Number()
			dst = le.AppendUint64(dst, math.Float64bits(number(raw)))
		}
		return dst
	case text:
		if !c.plain && c.kind == text && c.raw[0] == '"' {
			var s jsontensor.Scanner
			s.Reset(c.raw)
			if plain, err := s.String(); err == nil {
				return serval.AppendBytes(dst, plain)
			}
		}
	}
	return serval.AppendBytes(dst, c.raw)
}

func number(raw []byte) float64 {
	f, _ := strconv.ParseFloat(string(raw), 64) // numberKind has tried
	return f
}

// origins are the columns of the metadata.
func (g *group) origins(rows []row) []batch.Vector {
	le := binary.LittleEndian
	key := batch.Vector{Name: "_key", DType: serval.Bytes}
	topic := batch.Vector{Name: "_topic", DType: serval.Bytes}
	partition := batch.Vector{Name: "_partition", DType: serval.Int32}
	offset := batch.Vector{Name: "_offset", DType: serval.Int64}
	id := batch.Vector{Name: "_id", DType: serval.Bytes}
	made := batch.Vector{Name: "_time", DType: serval.Bytes}
	headers := batch.Vector{Name: "_headers", DType: serval.Bytes, JSON: true}
	key.Null, made.Null = make([]bool, len(rows)), make([]bool, len(rows))
	var buf []byte
	for n := range rows {
		m := rows[n].m
		key.Null[n], made.Null[n] = m.Key == nil, m.Time.IsZero()
		key.Data = serval.AppendBytes(key.Data, m.Key)
		topic.Data = serval.AppendString(topic.Data, m.Position.Topic)
		partition.Data = le.AppendUint32(partition.Data, uint32(m.Position.Partition))
		offset.Data = le.AppendUint64(offset.Data, uint64(m.Position.Offset))
		id.Data = serval.AppendString(id.Data, m.Position.ID)
		stamp := ""
		if !made.Null[n] {
			stamp = m.Time.UTC().Format(time.RFC3339Nano)
		}
		made.Data = serval.AppendString(made.Data, stamp)
		buf = appendHeaders(buf[:0], m)
		headers.Data = serval.AppendBytes(headers.Data, buf)
	}
	if g.rows[0].m.Position.ID != "" {
		return []batch.Vector{key, topic, id, made, headers}
	}
	return []batch.Vector{key, topic, partition, offset, made, headers}
}
