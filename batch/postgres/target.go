package postgres

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"serval"
)

// target is a table, a batch.Target.
type target struct{ *place }

// Name is the database and the table, without secrets.
func (t *target) Name() string { return t.name() }

// Format is this package's.
func (t *target) Format() string { return Format{}.Name() }

// Path is "": it is no file.
func (t *target) Path() string { return "" }

const exists = "SELECT to_regclass($1) IS NOT NULL"

// Exists says whether the table is there and would be replaced. With a key it would not.
func (t *target) Exists(ctx context.Context) (there bool, err error) {
	if t.key != "" {
		return false, nil
	}
	c, err := t.connect(ctx, "output")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	err = c.QueryRow(ctx, exists, quote(t.table, true)).Scan(&there)
	return there, t.fault(err, "output")
}

// sideTable is the name of the table for bad rows.
func (t *target) sideTable() string { return t.table + "_errors" }

// Publish puts a file's rows into the table, in one transaction; the side file's lines become a table of their own, its name with
// _errors behind it.
func (t *target) Publish(ctx context.Context, path, suffix string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	c, err := t.connect(ctx, "output")
	if err != nil {
		return err
	}
	defer func() {
		if closed := c.Close(context.WithoutCancel(ctx)); err == nil {
			err = closed
		}
	}()
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		if suffix != "" {
			return t.side(ctx, tx, f)
		}
		return t.load(ctx, tx, bufio.NewReaderSize(f, 1<<20))
	})
	return t.fault(err, "output")
}

// load makes the table if there is none, and puts the rows there.
func (t *target) load(ctx context.Context, tx pgx.Tx, r *bufio.Reader) error {
	head, err := readHead(r)
	if err != nil {
		return err
	}
	if t.key != "" && head != nil && !slices.ContainsFunc(head, func(f field) bool { return f.Name == t.key }) {
		return serval.Errorf(serval.InvalidArgument, "%s: the output has no column '%s' to find rows by; keep it with --passthrough", t.name(), t.key).At("key")
	}
	table := quote(t.table, true)
	var there bool
	if err := tx.QueryRow(ctx, exists, table).Scan(&there); err != nil {
		return err
	}
	var names, defined []string
	for _, f := range head {
		names = append(names, quote(f.Name, false))
		d := quote(f.Name, false) + " " + f.Type
		if f.Name == t.key {
			d += " PRIMARY KEY"
		}
		defined = append(defined, d)
	}
	columns := strings.Join(names, ", ")
	if !there {
		if _, err := tx.Exec(ctx, "CREATE TABLE "+table+" ("+strings.Join(defined, ", ")+")"); err != nil {
			return err
		}
	} else if t.key == "" {
		if _, err := tx.Exec(ctx, "TRUNCATE "+table); err != nil {
			return err
		}
	}
	if head == nil {
		return nil
	}
	if !there || t.key == "" {
		_, err := tx.Conn().PgConn().CopyFrom(ctx, r, "COPY "+table+" ("+columns+") FROM STDIN")
		return err
	}
	return t.merge(ctx, tx, r, head, names)
}

// merge puts rows into a table that is there: those whose key it has take the place of its own.
func (t *target) merge(ctx context.Context, tx pgx.Tx, r io.Reader, head []field, names []string) error {
	table, columns := quote(t.table, true), strings.Join(names, ", ")
	if _, err := tx.Exec(ctx, "CREATE TEMPORARY TABLE serval_rows ON COMMIT DROP AS SELECT "+columns+" FROM "+table+" WITH NO DATA"); err != nil {
		return err
	}
	if _, err := tx.Conn().PgConn().CopyFrom(ctx, r, "COPY serval_rows ("+columns+") FROM STDIN"); err != nil {
		return err
	}
	var set []string
	for i, f := range head {
		if f.Name != t.key {
			set = append(set, names[i]+" = EXCLUDED."+names[i])
		}
	}
	do := "DO NOTHING"
	if len(set) > 0 {
		do = "DO UPDATE SET " + strings.Join(set, ", ")
	}
	_, err := tx.Exec(ctx, "INSERT INTO "+table+" ("+columns+") SELECT "+columns+" FROM serval_rows ON CONFLICT ("+quote(t.key, false)+") "+do)
	return err
}

// readHead reads the columns; none of an empty file.
func readHead(r *bufio.Reader) ([]field, error) {
	line, err := r.ReadBytes('\n')
	if err == io.EOF && len(line) == 0 {
		return nil, nil
	}
	var head []field
	if err == nil {
		err = json.Unmarshal(line, &head)
	}
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "a table is written with --output-format postgres, and the rows that wait are of another one").At("output_format").Because(err)
	}
	return head, nil
}

// sideComment marks a table of bad rows as one that may be replaced.
const sideComment = "bad rows of a batch job of serval"

// ours says whether the table of bad rows may be dropped, or is not there.
func (t *target) ours(ctx context.Context, q interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}) (ok bool, err error) {
	err = q.QueryRow(ctx, "SELECT to_regclass($1) IS NULL OR obj_description(to_regclass($1), 'pg_class') IS NOT DISTINCT FROM $2",
		quote(t.sideTable(), true), sideComment).Scan(&ok)
	return ok, err
}

// side makes the table of bad rows anew.
func (t *target) side(ctx context.Context, tx pgx.Tx, f io.Reader) error {
	table := quote(t.sideTable(), true)
	if ours, err := t.ours(ctx, tx); err != nil {
		return err
	} else if !ours {
		return serval.Errorf(serval.Conflict, "%s: the table %s, which bad rows would go to, is somebody else's; rename it", t.name(), t.sideTable()).At("output")
	}
	for _, sql := range []string{"DROP TABLE IF EXISTS " + table, "CREATE TABLE " + table + " (bad jsonb NOT NULL)", "COMMENT ON TABLE " + table + " IS '" + sideComment + "'"} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	lines, pipe := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pipe.CloseWithError(copyLines(pipe, f))
	}()
	_, err := tx.Conn().PgConn().CopyFrom(ctx, lines, "COPY "+table+" FROM STDIN")
	_ = lines.Close() // so that copyLines ends
	<-done
	return err
}

// copyLines escapes lines of JSON for COPY.
func copyLines(w io.Writer, f io.Reader) error {
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 1 {
			line = []byte(strings.ReplaceAll(strings.ReplaceAll(strings.TrimSuffix(string(line), "\n"), `\u0000`, `\ufffd`), `\`, `\\`))
			if _, err := w.Write(append(line, '\n')); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("the side file: %w", err)
		}
	}
}

// Remove drops the table of bad rows of an earlier job.
func (t *target) Remove(ctx context.Context, suffix string) (err error) {
	if suffix == "" {
		return nil // Publish replaces what is there
	}
	c, err := t.connect(ctx, "output")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	if ours, err := t.ours(ctx, c); err != nil || !ours {
		return t.fault(err, "output")
	}
	_, err = c.Exec(ctx, "DROP TABLE IF EXISTS "+quote(t.sideTable(), true))
	return t.fault(err, "output")
}
