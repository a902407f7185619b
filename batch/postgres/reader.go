package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"serval"
	"serval/batch"
)

// reader is a batch.Reader.
type reader struct {
	p       *place
	from    string // the relation, in SQL
	columns []column
	key     column

	conn     *pgx.Conn
	rows     *pgconn.ResultReader
	sql      string
	formats  []int16
	selected []cell
	vectors  []batch.Vector
	begin    []int
	bad      []batch.Bad
	at       mark
	failures int
	ended    bool
}

// column is one of the relation.
type column struct {
	batch.Column
	oid  uint32
	kind string // the type's name in SQL
}

// mark is a reader's Mark: how many rows were read, and the last one's key as a text.
type mark struct {
	Row int64   `json:"row"`
	Key *string `json:"key,omitempty"`
}

const mostFailures = 5 // of the connection, without a row between

func open(ctx context.Context, p *place) (_ *reader, err error) {
	if (p.table == "") == (p.query == "") {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: name either table= or query=", p.name()).At("query")
	}
	r := &reader{p: p}
	if err = r.connect(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = r.Close() // the reason is known already
		}
	}()
	r.from = quote(p.table, true) + " AS q"
	if p.query != "" {
		r.from = "(" + strings.TrimRight(strings.TrimSpace(p.query), ";") + "\n) AS q"
	}
	if err := r.describe(ctx); err != nil {
		return nil, err
	}
	return r, r.findKey(ctx)
}

// begin is one transaction for all that is asked, which changes nothing. What is set is set for it alone, since a pool may give
// the connection to others.
const begin = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'iso_8601';
	SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1`

// connect opens a connection and a transaction on it.
func (r *reader) connect(ctx context.Context) (err error) {
	if r.conn, err = r.p.connect(ctx, "input"); err != nil {
		return err
	}
	if _, err = r.conn.Exec(ctx, begin); err != nil {
		return errors.Join(r.p.fault(err, "input"), r.conn.Close(ctx))
	}
	return nil
}

// describe asks for the columns.
func (r *reader) describe(ctx context.Context) error {
	d, err := r.conn.Prepare(ctx, "", "SELECT * FROM "+r.from)
	if err != nil {
		return r.p.fault(err, "query")
	}
	if len(d.ParamOIDs) > 0 {
		return serval.Errorf(serval.InvalidArgument, "%s: the query has parameters ($1), which nobody gives", r.p.name()).At("query")
	}
	for _, f := range d.Fields {
		c := column{Column: batch.Column{Name: f.Name, Type: serval.Bytes}, oid: f.DataTypeOID}
		if slices.ContainsFunc(r.columns, func(o column) bool { return o.Name == c.Name }) {
			return serval.Errorf(serval.InvalidArgument, "%s: two columns are called '%s'; name one of them otherwise with AS", r.p.name(), c.Name).At("query")
		}
		if t, ok := types[f.DataTypeOID]; ok {
			c.Type = t.dtype
			if t.array {
				c.Shape = []int64{-1}
			}
		}
		if err := r.conn.QueryRow(ctx, "SELECT format_type($1, $2)", f.DataTypeOID, f.TypeModifier).Scan(&c.kind); err != nil {
			return r.p.fault(err, "query")
		}
		if strings.HasPrefix(c.kind, "vector") || strings.HasPrefix(c.kind, "halfvec") { // of pgvector
			c.Type, c.Shape = serval.FP32, []int64{-1}
		}
		r.columns = append(r.columns, c)
	}
	return nil
}

// findKey takes the key that was named, or a table's primary key.
func (r *reader) findKey(ctx context.Context) error {
	if r.p.key == "" && r.p.table != "" {
		rows, err := r.conn.Query(ctx, `SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
			WHERE i.indrelid = $1::regclass AND i.indisprimary`, quote(r.p.table, true))
		if err != nil {
			return r.p.fault(err, "input")
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return r.p.fault(err, "input")
		}
		if len(names) == 1 {
			r.p.key = names[0]
		}
	}
	if r.p.key == "" {
		return serval.Errorf(serval.InvalidArgument, "%s: name a unique column to order the rows by with key=, such as key=id; without one a job could not go on where it stopped", r.p.name()).At("key")
	}
	at := slices.IndexFunc(r.columns, func(c column) bool { return c.Name == r.p.key })
	if at < 0 {
		return serval.Errorf(serval.InvalidArgument, "%s has no column '%s' to order by; there are %s", r.p.name(), r.p.key, r.names()).At("key")
	}
	r.key = r.columns[at]
	return nil
}

func (r *reader) names() string {
	var names []string
	for _, c := range r.columns {
		names = append(names, "'"+c.Name+"'")
	}
	return strings.Join(names, ", ")
}

// Columns are those of the table or query.
func (r *reader) Columns() []batch.Column {
	var out []batch.Column
	for _, c := range r.columns {
		out = append(out, c.Column)
	}
	return out
}

// Select settles the columns.
func (r *reader) Select(columns []batch.Column, from batch.Mark) error {
	if from != nil {
		if err := json.Unmarshal(from, &r.at); err != nil || r.at.Row < 0 || r.at.Row > 0 && r.at.Key == nil {
			return fmt.Errorf("%s: the checkpoint's place %s is none of a query", r.p.name(), from)
		}
	}
	var list []string
	for _, want := range columns {
		at := slices.IndexFunc(r.columns, func(c column) bool { return c.Name == want.Name })
		if at < 0 {
			return serval.Errorf(serval.InvalidArgument, "%s has no column '%s'; there are %s", r.p.name(), want.Name, r.names()).At(want.Name)
		}
		have := r.columns[at]
		c, err := newCell(have, want)
		if err != nil {
			return serval.Errorf(serval.InvalidArgument, "column '%s' of %s %w", want.Name, r.p.name(), err).At(want.Name)
		}
		r.selected = append(r.selected, c)
		r.vectors = append(r.vectors, c.vector())
		list = append(list, "q."+quote(have.Name, false))
		format := int16(pgtype.TextFormatCode)
		if c.binary {
			format = pgtype.BinaryFormatCode
		}
		r.formats = append(r.formats, format)
	}
	key := "q." + quote(r.key.Name, false)
	list = append(list, key+"::text")
	r.formats = append(r.formats, pgtype.TextFormatCode)
	r.sql = "SELECT " + strings.Join(list, ", ") + " FROM " + r.from
	r.begin = make([]int, len(r.vectors))
	return nil
}

// ask begins to read behind the last row. The server sends rows as they are read.
func (r *reader) ask(ctx context.Context) error {
	if r.conn == nil || r.conn.IsClosed() {
		if err := r.connect(ctx); err != nil {
			return err
		}
	}
	key := "q." + quote(r.key.Name, false)
	sql, args := r.sql, [][]byte(nil)
	if r.at.Key != nil {
		sql += " WHERE " + key + " > $1::text::" + r.key.kind
		args = append(args, []byte(*r.at.Key))
	}
	r.rows = r.conn.PgConn().ExecParams(ctx, sql+" ORDER BY "+key, args, nil, nil, r.formats)
	return nil
}

// Read fills a block. A connection that drops is opened again, behind the last row.
func (r *reader) Read(ctx context.Context, b *batch.Block, n int) error {
	b.First, b.Rows = r.at.Row+1, 0
	r.bad = r.bad[:0]
	for i := range r.vectors {
		r.vectors[i].Data, r.vectors[i].Null = r.vectors[i].Data[:0], nil
	}
	size := 0
	for b.Rows < n && size < batch.MaxBlock {
		ok, err := r.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		values := r.rows.Values()
		if err := r.take(values, b.Rows-len(r.bad)); err != nil {
			return err
		}
		for _, v := range values {
			size += len(v)
		}
		r.at.Row++
		b.Rows++
		r.failures = 0
	}
	b.Vectors, b.Bad = r.vectors, r.bad
	if b.Rows == 0 {
		return io.EOF
	}
	return nil
}

// next goes to the next row; false: there is none.
func (r *reader) next(ctx context.Context) (bool, error) {
	for !r.ended {
		var err error
		if r.rows == nil {
			err = r.ask(ctx)
		}
		if err == nil {
			if r.rows.NextRow() {
				return true, nil
			}
			if _, err = r.rows.Close(); err == nil {
				r.ended = true
				return false, nil
			}
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		again := r.conn == nil || r.conn.IsClosed()
		r.rows = nil
		if r.failures++; !again || r.failures > mostFailures {
			return false, r.p.fault(err, "input")
		}
		select {
		case <-time.After(time.Duration(r.failures) * 300 * time.Millisecond):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return false, nil
}

// take puts a row into the vectors as number row of them, or among the bad ones, and remembers its key.
func (r *reader) take(values [][]byte, row int) error {
	last := values[len(values)-1]
	if last == nil {
		return serval.Errorf(serval.InvalidArgument, "%s: the key '%s' is null in a row; name a column that never is, or leave such rows out of the query", r.p.name(), r.key.Name).At("key")
	}
	key := string(last)
	if r.at.Key != nil && *r.at.Key == key {
		return serval.Errorf(serval.InvalidArgument, "%s: two rows have the key '%s' = %.60q; name a column that is unique", r.p.name(), r.key.Name, key).At("key")
	}
	for i := range r.selected {
		r.begin[i] = len(r.vectors[i].Data)
	}
	for i := range r.selected {
		c, v := &r.selected[i], &r.vectors[i]
		null := values[i] == nil
		var err error
		if null {
			v.Data = c.missing(v.Data)
		} else {
			v.Data, err = c.append(v.Data, values[i])
		}
		if err == nil {
			v.Null = mark1(v.Null, row, null)
			continue
		}
		r.bad = append(r.bad, batch.Bad{Row: r.at.Row + 1, Column: c.want.Name, Reason: err.Error()})
		for k := range r.selected[:i+1] {
			r.vectors[k].Data = r.vectors[k].Data[:r.begin[k]]
			if r.vectors[k].Null != nil {
				r.vectors[k].Null = r.vectors[k].Null[:min(row, len(r.vectors[k].Null))]
			}
		}
		break
	}
	r.at.Key = &key
	return nil
}

// mark1 notes whether value row is missing.
func mark1(flags []bool, row int, null bool) []bool {
	if flags == nil && !null {
		return nil
	}
	for len(flags) < row {
		flags = append(flags, false)
	}
	return append(flags, null)
}

// Mark is behind the last row.
func (r *reader) Mark() batch.Mark {
	m, _ := json.Marshal(r.at) // a number and a text
	return m
}

// Close ends the query and the connection.
func (r *reader) Close() error {
	if r.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return r.conn.Close(ctx)
}
