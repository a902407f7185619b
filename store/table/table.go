package table

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"serval/batch"
	"serval/batch/requests"
	"serval/protocol"
)

var (
	_ protocol.Responses = (*DB)(nil)
	_ batch.Jobs         = (*DB)(nil)
	_ batch.Leases       = (*DB)(nil)
	_ requests.Store     = (*DB)(nil)
)

// Dialect is what the databases have differently.
type Dialect struct {
	// Numbered says that parameters are $1, $2, … and not ?.
	Numbered bool
	// Lock is put behind a SELECT of one row in a transaction that will change the row.
	Lock string
	// Now asks the database for its time, so that all processes that share it have one clock; "": this process's clock.
	Now string
	// Retry says whether a transaction that failed so may be tried again: it was in another one's way. Nil: never.
	Retry func(error) bool
}

// DB is the state in one database. It is safe for concurrent use.
type DB struct {
	SQL *sql.DB
	Dialect
	// Clock is this process's clock, which counts where the database has none; nil: time.Now.
	Clock func() time.Time
	// Grace is for how long, by a clock that only runs forward, a worker must have been silent before its piece is taken: at most that and
	// half a lease. A jump of the wall clock takes no piece from a worker that lives.
	Grace time.Duration

	silence silence
}

// asks is a *sql.DB or a *sql.Tx.
type asks interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// q writes a query's parameters as the database wants them. No query here has a ? in a text.
func (d *DB) q(query string) string {
	if !d.Numbered {
		return query
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(query, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		query = after
	}
}

// exec runs a statement and says how many rows it changed.
func (d *DB) exec(ctx context.Context, on asks, query string, args ...any) (int64, error) {
	res, err := on.ExecContext(ctx, d.q(query), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (d *DB) row(ctx context.Context, on asks, query string, args ...any) *sql.Row {
	return on.QueryRowContext(ctx, d.q(query), args...)
}

// each calls scan for each row.
func (d *DB) each(ctx context.Context, on asks, scan func(*sql.Rows) error, query string, args ...any) error {
	rows, err := on.QueryContext(ctx, d.q(query), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// tries is how often a transaction is tried that others were in the way of.
const tries = 10

// within runs f in a transaction; now is the time in it, in microseconds.
func (d *DB) within(ctx context.Context, f func(tx *sql.Tx, now int64) error) error {
	for try := 1; ; try++ {
		err := d.once(ctx, f)
		if err == nil || try == tries || d.Retry == nil || !d.Retry(err) {
			return err
		}
	}
}

func (d *DB) once(ctx context.Context, f func(tx *sql.Tx, now int64) error) error {
	tx, err := d.SQL.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	now := d.clock()
	if d.Now != "" {
		if err := tx.QueryRowContext(ctx, d.Now).Scan(&now); err != nil {
			return err
		}
	}
	if err := f(tx, now); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		// Whatever it was, the database may have done so: only its answer is missing, or says less than it did.
		return fmt.Errorf("%w: %w", requests.ErrUnknown, err)
	}
	return nil
}

// clock is the time of this process, in microseconds.
func (d *DB) clock() int64 {
	if d.Clock != nil {
		return d.Clock().UnixMicro()
	}
	return time.Now().UnixMicro()
}

// at is a time of the database; 0 is none.
func at(micro int64) time.Time {
	if micro == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micro).UTC()
}

func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
