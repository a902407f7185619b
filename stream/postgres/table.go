package postgres

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"serval"
	"serval/internal/jsontensor"
	"serval/stream"
)

// table is what is known of the table, until the server says that it changed.
type table struct {
	opt     *TargetOptions
	columns []column
	key     []int             // places in columns
	sql     map[string]string // statements, by which columns they have
	scan    jsontensor.Scanner
}

// column is one that may be written.
type column struct {
	name  string
	kind  string // its type, as a cast takes it
	array bool
	from  origin
}

const describe = `SELECT a.attname, format_type(a.atttypid, -1), t.typcategory = 'A', a.attgenerated <> '' OR a.attidentity = 'a'
	FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
	WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`

// look asks the server for the table's columns, and finds those that are written.
func look(ctx context.Context, c *pgx.Conn, o *TargetOptions) (*table, error) {
	rows, err := c.Query(ctx, describe, quote(o.Table, true))
	if err != nil {
		return nil, fault(err)
	}
	defer rows.Close()
	t := &table{opt: o, sql: map[string]string{}}
	there, made := map[string]column{}, map[string]bool{}
	var names []string
	for rows.Next() {
		var col column
		var own bool
		if err := rows.Scan(&col.name, &col.kind, &col.array, &own); err != nil {
			return nil, fault(err)
		}
		there[col.name], made[col.name] = col, own
		names = append(names, col.name)
	}
	if err := rows.Err(); err != nil {
		return nil, fault(err)
	}
	if len(names) == 0 {
		return nil, serval.Errorf(serval.NotFound, "postgres: there is no table %s; make it, and writing goes on", o.Table).At("table")
	}
	var missing []string
	for _, name := range names {
		text, chosen := o.Columns[name]
		if len(o.Columns) > 0 && !chosen || made[name] {
			continue
		}
		col := there[name]
		if col.from = usual(name); chosen {
			if col.from, err = parseOrigin(text); err != nil {
				return nil, err
			}
		}
		t.columns = append(t.columns, col)
	}
	for name := range o.Columns {
		if _, ok := there[name]; !ok || made[name] {
			missing = append(missing, name)
		}
	}
	for _, k := range o.Key {
		at := slices.IndexFunc(t.columns, func(c column) bool { return c.name == k })
		if at < 0 && !slices.Contains(missing, k) {
			missing = append(missing, k)
		}
		t.key = append(t.key, at)
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, serval.Errorf(serval.InvalidArgument, "postgres: the table %s has no column %s that can be written; it has %s; add what is missing, and writing goes on",
			o.Table, strings.Join(missing, ", "), strings.Join(names, ", ")).At("columns")
	}
	return t, nil
}

// row is a message's.
type row struct {
	at     int // in what Write was given
	m      *stream.Message
	values []value // one for each of the table's columns
	shape  string  // which of them were found
	key    string
	size   int
}

// row makes a message's row. Its error is for good.
func (t *table) row(at int, m *stream.Message) (*row, error) {
	r := &row{at: at, m: m, values: make([]value, len(t.columns))}
	shape := make([]byte, len(t.columns))
	found := 0
	for i := range t.columns {
		c := &t.columns[i]
		v, err := c.of(m, len(t.opt.Columns) == 0, &t.scan)
		if err != nil {
			return nil, serval.Errorf(serval.InvalidArgument, "postgres: the result has no place in table %s: column '%s': %v", t.opt.Table, c.name, err).At(c.name)
		}
		shape[i] = '-'
		if v.found {
			shape[i] = 'x'
			found++
		}
		r.values[i] = v
		r.size += len(v.text)
	}
	if found == 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "postgres: the result has nothing for any column of table %s; name its members in columns", t.opt.Table).At("columns")
	}
	r.shape = string(shape)
	for _, k := range t.key {
		v := r.values[k]
		if !v.found || v.null {
			return nil, serval.Errorf(serval.InvalidArgument, "postgres: the result has no value for '%s', which is of the key of table %s", t.columns[k].name, t.opt.Table).At(t.columns[k].name)
		}
		r.key += strconv.Itoa(len(v.text)) + ":" + v.text
	}
	return r, nil
}

const (
	rowsAtOnce  = 1000
	bytesAtOnce = 4 << 20
)

// chunks cuts rows into statements: of the same columns, and with each key once, since one statement changes no row twice.
func chunks(rows []*row) (list [][]*row) {
	from, size := 0, 0
	keys := map[string]bool{}
	for i, r := range rows {
		if i > from && (r.shape != rows[from].shape || i-from == rowsAtOnce || size+r.size > bytesAtOnce || r.key != "" && keys[r.key]) {
			list = append(list, rows[from:i])
			from, size = i, 0
			clear(keys)
		}
		keys[r.key] = true
		size += r.size
	}
	if from < len(rows) {
		list = append(list, rows[from:])
	}
	return list
}

// statement writes rows of a shape: texts in arrays, one for each column, which the server reads as the columns' types.
func (t *table) statement(shape string) string {
	if sql, ok := t.sql[shape]; ok {
		return sql
	}
	var names, casts, arrays, args, set []string
	for i := range t.columns {
		if shape[i] != 'x' {
			continue
		}
		c := &t.columns[i]
		n := strconv.Itoa(len(names) + 1)
		name := quote(c.name, false)
		names, casts = append(names, name), append(casts, "u.a"+n+"::"+c.kind)
		arrays, args = append(arrays, "$"+n+"::text[]"), append(args, "a"+n)
		if !slices.Contains(t.opt.Key, c.name) {
			set = append(set, name+" = EXCLUDED."+name)
		}
	}
	sql := "INSERT INTO " + quote(t.opt.Table, true) + " (" + strings.Join(names, ", ") + ") SELECT " + strings.Join(casts, ", ") +
		" FROM unnest(" + strings.Join(arrays, ", ") + ") WITH ORDINALITY AS u(" + strings.Join(args, ", ") + ", n) ORDER BY u.n"
	if len(t.opt.Key) > 0 {
		keys := make([]string, len(t.opt.Key))
		for i, k := range t.opt.Key {
			keys[i] = quote(k, false)
		}
		sql += " ON CONFLICT (" + strings.Join(keys, ", ") + ") DO "
		if len(set) > 0 {
			sql += "UPDATE SET " + strings.Join(set, ", ")
		} else {
			sql += "NOTHING"
		}
	}
	if len(t.sql) >= 1000 { // messages that never have the same members twice
		clear(t.sql)
	}
	t.sql[shape] = sql
	return sql
}

// insert writes rows of one shape.
func (t *table) insert(ctx context.Context, tx pgx.Tx, rows []*row) error {
	shape := rows[0].shape
	var args []any
	for i := range t.columns {
		if shape[i] != 'x' {
			continue
		}
		texts := make([]*string, len(rows))
		for k, r := range rows {
			if v := &r.values[i]; !v.null {
				texts[k] = &v.text
			}
		}
		args = append(args, texts)
	}
	_, err := tx.Exec(ctx, t.statement(shape), args...)
	return err
}

// ofRow says whether an error of the server is a row's own fault, which comes again whenever it is written: its values, a
// constraint, what a trigger says, its size.
func ofRow(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code[:2] {
	case "21", "22", "23", "44", "54", "P0":
		return true
	}
	return false
}

// changed says whether the table may be another one than it was.
func changed(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code[:2] == "42" || e.Code[:2] == "3F" || e.Code[:2] == "0A")
}

// fault is an error of the server as one of ours.
func fault(err error) error {
	var own *serval.Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		text := err.Error()
		if c := (*pgconn.ConnectError)(nil); errors.As(err, &c) && errors.Unwrap(c) != nil { // its own text is long
			text = "the server cannot be reached: " + errors.Unwrap(c).Error()
		}
		return serval.Errorf(serval.Unavailable, "postgres: %s", text).Because(err)
	}
	text := e.Message
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	code := serval.Unavailable
	switch {
	case e.Code == "42P10":
		text += "; the columns of key need a unique index"
		code = serval.InvalidArgument
	case e.Code == "42501", e.Code[:2] == "28":
		code = serval.PermissionDenied
	case ofRow(err), changed(err):
		code = serval.InvalidArgument
	}
	out := serval.Errorf(code, "postgres says: %s [%s]", text, e.Code).Because(err)
	if e.ColumnName != "" {
		out = out.At(e.ColumnName)
	}
	return out
}
