package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"serval"
	"serval/stream"
)

// target writes through one connection, which is opened when it is needed. The worker's writer uses it.
type target struct {
	opt    *TargetOptions
	config *pgx.ConnConfig
	once   bool
	pos    *positions

	conn  *pgx.Conn // nil: none
	table *table    // nil: to be looked at
}

var _ stream.Target = (*target)(nil)

func newTarget(o *TargetOptions, c *pgx.ConnConfig, env stream.Env) *target {
	return &target{opt: o, config: c, once: env.Once, pos: newPositions(o, env)}
}

// Write implements stream.Target. With exactly-once, rows behind one that fails, in its partition, are not written, so that the
// position does not pass it before its dead letter is written.
func (t *target) Write(ctx context.Context, messages []*stream.Message) error {
	limited, cancel := context.WithTimeout(ctx, t.opt.Timeout)
	defer cancel()
	failed, err := t.write(limited, messages)
	if err != nil {
		if changed(err) {
			t.table = nil
		}
		if ctx.Err() == nil && limited.Err() != nil {
			return serval.Errorf(serval.DeadlineExceeded, "postgres: the transaction was not done within %v (timeout)", t.opt.Timeout).Because(err)
		}
		return fault(err)
	}
	if len(failed) > 0 {
		return &stream.WriteError{Failed: failed}
	}
	return nil
}

// open connects and looks at the tables, where that was not done.
func (t *target) open(ctx context.Context) (err error) {
	if t.conn == nil || t.conn.IsClosed() {
		t.table = nil
		if t.conn, err = pgx.ConnectConfig(ctx, t.config); err != nil {
			t.conn = nil
			return err
		}
		// A worker that hangs must not keep the positions locked: the server ends its transaction.
		if _, err := t.conn.Exec(ctx, "SET idle_in_transaction_session_timeout = "+strconv.FormatInt(t.opt.Timeout.Milliseconds(), 10)); err != nil {
			_ = t.conn.Close(ctx)
			return err
		}
	}
	if t.table == nil {
		if t.once {
			if err := t.pos.ready(ctx, t.conn); err != nil {
				return err
			}
		}
		if t.table, err = look(ctx, t.conn, t.opt); err != nil {
			return err
		}
	}
	if t.once {
		return t.pos.prune(ctx, t.conn)
	}
	return nil
}

// write writes all that can be, and says of the others why not.
func (t *target) write(ctx context.Context, messages []*stream.Message) (failed map[int]error, err error) {
	if err := t.open(ctx); err != nil {
		return nil, err
	}
	failed = map[int]error{}
	rows := make([]*row, 0, len(messages))
	for i, m := range messages {
		r, err := t.table.row(i, m)
		if err != nil {
			failed[i] = stream.Permanent(err)
			r = &row{at: i, m: m}
		}
		rows = append(rows, r)
	}
	for {
		before := len(failed)
		err := t.transaction(ctx, rows, failed)
		if errors.Is(err, errAgain) { // some failed: now without them and, in their partitions, what is behind
			if len(failed) == before {
				return nil, fmt.Errorf("postgres: rows fail and do not (this is a bug)")
			}
			continue
		}
		return failed, err
	}
}

// errAgain undoes a transaction that found rows which fail.
var errAgain = errors.New("again")

// transaction writes the rows that have not failed. Those that fail now are added to failed, with errAgain where the others must
// be written anew.
func (t *target) transaction(ctx context.Context, rows []*row, failed map[int]error) error {
	return pgx.BeginFunc(ctx, t.conn, func(tx pgx.Tx) error {
		var live []*row
		if t.once {
			var err error
			if live, err = t.fresh(ctx, tx, rows, failed); err != nil {
				return err
			}
		} else {
			for _, r := range rows {
				if failed[r.at] == nil {
					live = append(live, r)
				}
			}
		}
		found := false
		for _, c := range chunks(live) {
			more, err := t.insert(ctx, tx, c, failed)
			if err != nil {
				return err
			}
			found = found || more
		}
		if !t.once {
			return nil
		}
		if found {
			return errAgain
		}
		return t.pos.advance(ctx, tx, live)
	})
}

// fresh are the rows to be written with their positions: none that was written before, that failed, or that stands behind one
// that did, which is noted.
func (t *target) fresh(ctx context.Context, tx pgx.Tx, rows []*row, failed map[int]error) (live []*row, err error) {
	var messages []*stream.Message
	var open []*row
	stopped := map[place]bool{}
	for _, r := range rows {
		at, ordered := placeOf(r.m)
		switch e := failed[r.at]; {
		case e != nil && !errors.Is(e, stream.ErrBehind):
			stopped[at] = ordered
		case ordered && stopped[at]:
			failed[r.at] = stream.ErrBehind
		default:
			open, messages = append(open, r), append(messages, r.m)
		}
	}
	fresh, err := t.pos.fresh(ctx, tx, messages)
	for i, r := range open {
		if err == nil && fresh[i] {
			live = append(live, r)
		}
	}
	return live, err
}

// insert writes rows of one shape; where the server refuses one, halves are tried until it is found, and found is true.
func (t *target) insert(ctx context.Context, tx pgx.Tx, rows []*row, failed map[int]error) (found bool, err error) {
	err = pgx.BeginFunc(ctx, tx, func(point pgx.Tx) error { return t.table.insert(ctx, point, rows) }) // a savepoint
	switch {
	case err == nil:
		return false, nil
	case !ofRow(err):
		return false, err
	case len(rows) == 1:
		failed[rows[0].at] = stream.Permanent(fault(err))
		return true, nil
	}
	half := len(rows) / 2
	first, err := t.insert(ctx, tx, rows[:half], failed)
	if err != nil {
		return false, err
	}
	second, err := t.insert(ctx, tx, rows[half:], failed)
	return first || second, err
}

// closing is how long the server is waited for at the end.
const closing = 5 * time.Second

// Close implements stream.Target.
func (t *target) Close() error {
	if t.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	if err := t.conn.Close(ctx); err != nil {
		return fault(err)
	}
	return nil
}
