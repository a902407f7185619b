package csv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"serval"
	"serval/batch"
)

// reader is a batch.Reader. Its window stands at the beginning of a row between two calls.
type reader struct {
	batch.Lines
	opt     Options
	columns []batch.Column
	// Of Select: what each column of the file is read into.
	vectors []batch.Vector
	fields  [][]int  // column → vectors
	floats  []int    // column → the vector of floats that alone it is read into, or -1
	rooms   [][]byte // column → that vector's memory, with room for some rows more
	good    int      // rows of the block that are in the vectors
	begin   []int    // length of each vector's data before the row
	cells   [][]byte
	scratch []byte // cells of rows with quotes, unquoted
	begins  []int  // where each begins in scratch
	bad     []batch.Bad
}

// maxColumns bounds what a hostile header takes.
const maxColumns = 1 << 16

func open(ctx context.Context, o batch.Object, opt Options) (*reader, error) {
	lines, err := batch.OpenLines(ctx, o)
	if err != nil {
		return nil, err
	}
	r := &reader{Lines: lines, opt: opt}
	if err := r.head(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// head reads the names of the columns.
func (r *reader) head() error {
	for len(r.Window.Buf) < 3 || bytes.IndexByte(r.Window.Buf, '\n') < 0 && len(r.Window.Buf) < r.opt.MaxRecord {
		if err := r.Window.More(); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	if bytes.HasPrefix(r.Window.Buf, []byte("\xef\xbb\xbf")) {
		r.skip(3)
	}
	if r.opt.Delimiter == 0 {
		r.opt.Delimiter = guess(r.Window.Buf)
	}
	rec, err := r.record()
	if err == io.EOF {
		return serval.Errorf(serval.InvalidArgument, "%s: empty; the first line must name the columns", r.Object.Name()).At("input")
	} else if err != nil {
		return err
	}
	if rec.fault != "" || len(r.cells) > maxColumns {
		if rec.fault == "" {
			rec.fault = fmt.Sprintf("%d columns, over the limit of %d", len(r.cells), maxColumns)
		}
		return serval.Errorf(serval.InvalidArgument, "%s, line %d: %s", r.Object.Name(), r.At.Line, rec.fault).At("input")
	}
	headless := r.opt.Header == "no" || r.opt.Header == "auto" && allNumbers(r.cells)
	for i, cell := range r.cells {
		name := strings.TrimSpace(string(cell))
		if headless {
			name = strconv.Itoa(i + 1)
		}
		r.columns = append(r.columns, batch.Column{Name: name, Type: serval.Bytes})
	}
	if !headless {
		r.skip(rec.size)
		r.At.Line += rec.lines
	}
	r.Start = r.At
	return nil
}

func (r *reader) skip(n int) {
	r.Window.Skip(n)
	r.At.Offset += int64(n)
}

func guess(head []byte) byte {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	for _, c := range []byte(",;\t") {
		if bytes.IndexByte(line, c) >= 0 {
			return c
		}
	}
	return ','
}

func allNumbers(cells [][]byte) bool {
	for _, c := range cells {
		if _, err := batch.AppendText(nil, serval.FP64, c); err != nil {
			return false
		}
	}
	return true
}

// Columns are all texts.
func (r *reader) Columns() []batch.Column { return r.columns }

// Select lays the vectors out.
func (r *reader) Select(columns []batch.Column, from batch.Mark) error {
	r.fields = make([][]int, len(r.columns))
	for i, c := range columns {
		at := slices.IndexFunc(r.columns, func(have batch.Column) bool { return have.Name == c.Name })
		if at < 0 {
			return serval.Errorf(serval.InvalidArgument, "%s has no column '%s'", r.Object.Name(), c.Name).At(c.Name)
		}
		if n, ok := serval.Elements(c.Shape); !ok || n != 1 {
			return serval.Errorf(serval.InvalidArgument, "column '%s' of %s is one value, where %s values a row are needed; map several columns to that input, or use JSONL or Parquet",
				c.Name, r.Object.Name(), serval.ShapeString(c.Shape)).At(c.Name)
		}
		r.fields[at] = append(r.fields[at], i)
		r.vectors = append(r.vectors, batch.Vector{Name: c.Name, DType: c.Type, Shape: c.Shape})
	}
	r.floats, r.rooms = make([]int, len(r.fields)), make([][]byte, len(r.fields))
	for c, into := range r.fields {
		r.floats[c] = -1
		if len(into) == 1 && (r.vectors[into[0]].DType == serval.FP32 || r.vectors[into[0]].DType == serval.FP64) {
			r.floats[c] = into[0]
		}
	}
	r.begin = make([]int, len(r.vectors))
	return r.Resume(from, "CSV")
}

// Read fills a block.
func (r *reader) Read(ctx context.Context, b *batch.Block, n int) error {
	b.First, b.Rows, r.good = r.At.Row, 0, 0
	r.bad = r.bad[:0]
	for i := range r.vectors {
		r.vectors[i].Data = r.vectors[i].Data[:0]
	}
	from, room := r.At.Offset, 0
	for b.Rows < n && (b.Rows == 0 || r.At.Offset-from < batch.MaxBlock) {
		if b.Rows&1023 == 1023 && ctx.Err() != nil {
			return ctx.Err()
		}
		if r.good == room {
			room += min(n-b.Rows, 4096)
			r.settle(room)
		}
		if !r.fast() {
			r.settle(room)
			rec, err := r.record()
			if err == io.EOF {
				break
			} else if err != nil {
				return err
			}
			r.row(&rec)
			r.skip(rec.size)
			r.At.Line += rec.lines
		}
		r.At.Row++
		b.Rows++
	}
	r.settle(0)
	b.Vectors, b.Bad = r.vectors, r.bad
	if b.Rows == 0 {
		return io.EOF
	}
	return nil
}

// settle tells the vectors of floats how many rows they have, which fast leaves to the end, and gives them room for rows in all.
func (r *reader) settle(rows int) {
	for c, i := range r.floats {
		if i < 0 {
			continue
		}
		v := &r.vectors[i]
		size := v.DType.Size()
		v.Data = v.Data[:r.good*size]
		if rows*size > cap(v.Data) {
			v.Data = slices.Grow(v.Data, rows*size-len(v.Data))
		}
		r.rooms[c] = v.Data[:cap(v.Data)]
	}
}

// row puts the cells of a record into the vectors, or the row among the bad ones.
func (r *reader) row(rec *record) {
	if rec.fault != "" {
		r.fail(rec, "", rec.fault)
		return
	}
	if len(r.cells) != len(r.columns) {
		r.fail(rec, "", fmt.Sprintf("%d fields, where the file has %d columns", len(r.cells), len(r.columns)))
		return
	}
	for i := range r.vectors {
		r.begin[i] = len(r.vectors[i].Data)
	}
	for c, into := range r.fields {
		for _, i := range into {
			v := &r.vectors[i]
			var err error
			if v.Data, err = batch.AppendText(v.Data, v.DType, r.cells[c]); err != nil {
				for i := range r.vectors {
					r.vectors[i].Data = r.vectors[i].Data[:r.begin[i]]
				}
				r.fail(rec, r.columns[c].Name, err.Error())
				return
			}
		}
	}
	r.good++
}

// maxRaw is how much of a bad row is kept.
const maxRaw = 4 << 10

func (r *reader) fail(rec *record, column, reason string) {
	raw := bytes.TrimRight(r.Window.Buf[:rec.size], "\r\n")
	r.bad = append(r.bad, batch.Bad{
		Row: r.At.Row, Column: column, Reason: fmt.Sprintf("line %d: %s", r.At.Line, reason), Raw: bytes.Clone(raw[:min(len(raw), maxRaw)]),
	})
}
