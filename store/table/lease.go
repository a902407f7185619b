package table

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"serval"
	"serval/batch"
)

// candidates is how many pieces Claim looks at: others may be faster with some of them.
const candidates = 16

// Claim takes the next piece that may run. On this occasion, jobs that are to be given up are.
func (d *DB) Claim(ctx context.Context, worker string, kinds []string, lease time.Duration) (*batch.Lease, error) {
	if len(kinds) == 0 {
		return nil, nil
	}
	if err := d.sweep(ctx); err != nil {
		return nil, err
	}
	var got *batch.Lease
	err := d.within(ctx, func(tx *sql.Tx, now int64) error {
		got = nil
		gone, err := d.silent(ctx, tx, lease, now)
		if err != nil {
			return err
		}
		if err := d.release(ctx, tx, gone, now); err != nil {
			return err
		}
		list, err := d.claimable(ctx, tx, kinds, gone, now)
		for i := 0; err == nil && got == nil && i < len(list); i++ {
			got, err = d.take(ctx, tx, &list[i], gone, &batch.Lease{Worker: worker, For: lease}, now)
		}
		return err
	})
	return got, err
}

type pieceID struct {
	job    string
	number int
}

// mayRun is a piece that nobody is at, or whose worker is gone, of a job that goes on. What waits for longer than anything does was put off
// before the clock went back.
func mayRun(gone map[pieceID]sighting, now int64) (where string, args []any) {
	where, args = "(piece.state = 'waiting' AND (piece.after <= ? OR piece.after > ?)", []any{now, now + mostAhead.Microseconds()}
	for id, s := range gone {
		where += " OR piece.state = 'running' AND piece.job = ? AND piece.number = ? AND piece.fence = ? AND piece.until = ?"
		args = append(args, id.job, id.number, s.fence, s.until)
	}
	return where + ")", args
}

func (d *DB) claimable(ctx context.Context, tx *sql.Tx, kinds []string, gone map[pieceID]sighting, now int64) (list []pieceID, err error) {
	where, args := mayRun(gone, now)
	for _, k := range kinds {
		args = append(args, k)
	}
	err = d.each(ctx, tx, func(rows *sql.Rows) error {
		var id pieceID
		err := rows.Scan(&id.job, &id.number)
		list = append(list, id)
		return err
	}, `SELECT piece.job, piece.number FROM piece JOIN job ON job.id = piece.job
		WHERE `+where+` AND job.state IN ('queued', 'running') AND job.stage = piece.stage AND job.kind IN (`+marks(len(kinds))+`)
		ORDER BY job.priority, job.created, job.id, piece.number LIMIT `+fmt.Sprint(candidates), args...)
	return list, err
}

// take takes a piece for a lease's worker, if it may still be taken once its job is locked: nobody else has, and its worker was not heard of.
func (d *DB) take(ctx context.Context, tx *sql.Tx, id *pieceID, gone map[pieceID]sighting, l *batch.Lease, now int64) (*batch.Lease, error) {
	h, err := d.hold(ctx, tx, "", id.job)
	if err != nil || h.state != batch.Queued && h.state != batch.Running {
		return nil, skipGone(err)
	}
	var p batch.Piece
	var stage, failures int
	var state string
	var spec []byte
	var base, rows, fence int64
	where, args := mayRun(gone, now)
	err = d.row(ctx, tx, "SELECT number, stage, spec, weight, attempts, state, failures, base, row_count, fence FROM piece WHERE job = ? AND number = ? AND "+where,
		append([]any{id.job, id.number}, args...)...).Scan(&p.Number, &stage, &spec, &p.Weight, &p.Attempts, &state, &failures, &base, &rows, &fence)
	if err != nil {
		return nil, skipGone(err)
	}
	if batch.Stage(stage) != h.stage {
		return nil, nil
	}
	p.Stage, p.Spec = h.stage, spec
	if state == "running" { // its worker was killed, or was silent for too long
		if failures++; rows > base {
			failures = 0
		}
		if failures >= batch.Patience {
			return nil, d.end(ctx, tx, h, batch.Failed, fmt.Sprintf("its workers ended or fell silent %d times in a row without a row more; their logs may say why", failures), now)
		}
	}
	p.Attempts++
	fence++
	if _, err := d.exec(ctx, tx, "UPDATE piece SET state = 'running', worker = ?, fence = ?, until = ?, attempts = ?, failures = ?, base = row_count, rate = 0 WHERE job = ? AND number = ?",
		l.Worker, fence, now+l.For.Microseconds(), p.Attempts, failures, id.job, id.number); err != nil {
		return nil, err
	}
	started := h.started
	if started == 0 {
		started = now
	}
	if _, err := d.exec(ctx, tx, "UPDATE job SET state = ?, started = ? WHERE id = ?", string(batch.Running), started, id.job); err != nil {
		return nil, err
	}
	job, err := d.job(ctx, tx, "", id.job)
	if err != nil {
		return nil, err
	}
	l.Job, l.Piece, l.Fence = *job, p, fence
	return l, nil
}

// skipGone is nil for what somebody else has removed or taken meanwhile.
func skipGone(err error) error {
	var e *serval.Error
	if errors.Is(err, sql.ErrNoRows) || errors.As(err, &e) && e.Code == serval.NotFound {
		return nil
	}
	return err
}

// sweep gives up jobs whose time is over, and ends those that are given up and that no worker is at any more.
func (d *DB) sweep(ctx context.Context) error {
	now, err := d.now(ctx)
	if err != nil {
		return err
	}
	var ids []string
	err = d.each(ctx, d.SQL, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, `SELECT id FROM job WHERE state IN ('queued', 'running', 'paused') AND expires > 0 AND expires <= ?
		OR state = 'cancelling' AND NOT EXISTS (SELECT 1 FROM piece WHERE piece.job = job.id AND piece.state = 'running' AND piece.until > ?)
		ORDER BY created LIMIT 100`, now, now)
	for i := 0; err == nil && i < len(ids); i++ {
		err = d.within(ctx, func(tx *sql.Tx, now int64) error {
			h, err := d.hold(ctx, tx, "", ids[i])
			if err != nil {
				return skipGone(err)
			}
			switch {
			case h.state.Ended():
				return nil
			case h.state == batch.Cancelling:
				return d.settle(ctx, tx, h, now)
			}
			return d.giveUp(ctx, tx, h, batch.Expire, now)
		})
	}
	return err
}

// release takes a piece of a job that is given up from a worker that is gone, so that the job ends: where the clock went back, its lease
// ends in hours. One at a time, since each locks its job; the next Claim has the next.
func (d *DB) release(ctx context.Context, tx *sql.Tx, gone map[pieceID]sighting, now int64) error {
	for id, s := range gone {
		if s.until <= now { // sweep sees that it is over
			continue
		}
		h, err := d.hold(ctx, tx, "", id.job)
		if err != nil {
			if err = skipGone(err); err != nil {
				return err
			}
			continue
		}
		if h.state != batch.Cancelling {
			continue
		}
		if _, err := d.exec(ctx, tx, "UPDATE piece SET state = 'waiting', fence = fence + 1 WHERE job = ? AND number = ? AND fence = ? AND until = ? AND state = 'running'",
			id.job, id.number, s.fence, s.until); err != nil {
			return err
		}
		return d.settle(ctx, tx, h, now)
	}
	return nil
}

// Renew prolongs a lease.
func (d *DB) Renew(ctx context.Context, l *batch.Lease, m batch.Measure) (o batch.Order, err error) {
	err = d.within(ctx, func(tx *sql.Tx, now int64) error {
		n, err := d.exec(ctx, tx, "UPDATE piece SET until = ?, row_count = ?, bad = ?, done = ?, rate = ? WHERE job = ? AND number = ? AND fence = ? AND state = 'running'",
			now+l.For.Microseconds(), m.Rows, m.Bad, m.Done, m.Rate, l.Job.ID, l.Piece.Number, l.Fence)
		if err != nil {
			return err
		}
		if n == 0 {
			return batch.ErrLost
		}
		var state, asked string
		var expires int64
		if err := d.row(ctx, tx, "SELECT state, asked, expires FROM job WHERE id = ?", l.Job.ID).Scan(&state, &asked, &expires); err != nil {
			return err
		}
		switch o = batch.GoOn; {
		case batch.State(state) == batch.Cancelling:
			o = batch.Order(asked)
		case expires > 0 && expires <= now:
			o = batch.Expire
		case batch.State(state) == batch.Paused:
			o = batch.Pause
		}
		return nil
	})
	return o, err
}

// Finish ends a lease.
func (d *DB) Finish(ctx context.Context, l *batch.Lease, out batch.Outcome) error {
	return d.within(ctx, func(tx *sql.Tx, now int64) error {
		h, err := d.hold(ctx, tx, "", l.Job.ID)
		if e := (*serval.Error)(nil); errors.As(err, &e) && e.Code == serval.NotFound {
			return batch.ErrLost
		} else if err != nil {
			return err
		}
		var base int64
		var failures int
		err = d.row(ctx, tx, "SELECT base, failures FROM piece WHERE job = ? AND number = ? AND fence = ? AND state = 'running'", l.Job.ID, l.Piece.Number, l.Fence).Scan(&base, &failures)
		if errors.Is(err, sql.ErrNoRows) {
			return batch.ErrLost
		} else if err != nil {
			return err
		}
		done := out.Err == "" && !out.Again
		state, until := "waiting", now+out.After.Microseconds()
		if done {
			state, until = "done", 0
			out.Measure.Done = 1
		}
		if out.Err != "" {
			failures++
		}
		if out.Measure.Rows > base {
			failures = 0
		}
		m := &out.Measure
		if _, err := d.exec(ctx, tx, "UPDATE piece SET state = ?, fence = fence + 1, after = ?, failures = ?, row_count = ?, bad = ?, done = ?, rate = 0, output = ? WHERE job = ? AND number = ?",
			state, until, failures, m.Rows, m.Bad, m.Done, []byte(out.Output), l.Job.ID, l.Piece.Number); err != nil {
			return err
		}
		switch {
		case done && l.Piece.Stage == batch.Close: // also of one that is being cancelled: its results are out
			if _, err := d.exec(ctx, tx, "UPDATE job SET result = ? WHERE id = ?", []byte(out.Output), h.id); err != nil {
				return err
			}
			return d.end(ctx, tx, h, batch.Succeeded, "", now)
		case h.state == batch.Cancelling:
			return d.settle(ctx, tx, h, now)
		case done:
			return d.advance(ctx, tx, h, out.Next)
		case !out.Again:
			return d.end(ctx, tx, h, batch.Failed, out.Err, now)
		case failures >= batch.Patience:
			return d.end(ctx, tx, h, batch.Failed, fmt.Sprintf("it failed %d times in a row without a row more: %s", failures, out.Err), now)
		}
		_, err = d.exec(ctx, tx, "UPDATE job SET reason = ? WHERE id = ?", clean(out.Err), h.id)
		return err
	})
}

// advance opens the next stage, if this one is done.
func (d *DB) advance(ctx context.Context, tx *sql.Tx, h *held, next []batch.Piece) error {
	for i := range next {
		next[i].Number = i + 1
		if err := d.addPiece(ctx, tx, h.id, batch.Work, next[i]); err != nil {
			return err
		}
	}
	var open int
	if err := d.row(ctx, tx, "SELECT COUNT(*) FROM piece WHERE job = ? AND stage = ? AND state <> 'done'", h.id, int(h.stage)).Scan(&open); err != nil {
		return err
	}
	stage := h.stage
	if open == 0 {
		stage = batch.Close
		if h.stage == batch.Plan && len(next) > 0 {
			stage = batch.Work
		}
	}
	if stage == batch.Close {
		var last int
		if err := d.row(ctx, tx, "SELECT MAX(number) FROM piece WHERE job = ?", h.id).Scan(&last); err != nil {
			return err
		}
		if err := d.addPiece(ctx, tx, h.id, batch.Close, batch.Piece{Number: last + 1}); err != nil {
			return err
		}
	}
	_, err := d.exec(ctx, tx, "UPDATE job SET stage = ?, reason = '' WHERE id = ?", int(stage), h.id)
	return err
}

// Pieces are a job's pieces of one stage, in order.
func (d *DB) Pieces(ctx context.Context, id string, stage batch.Stage) ([]batch.Piece, error) {
	var list []batch.Piece
	err := d.each(ctx, d.SQL, func(rows *sql.Rows) error {
		p := batch.Piece{Stage: stage}
		var spec, output []byte
		err := rows.Scan(&p.Number, &spec, &p.Weight, &p.Attempts, &output)
		p.Spec, p.Output = spec, output
		list = append(list, p)
		return err
	}, "SELECT number, spec, weight, attempts, output FROM piece WHERE job = ? AND stage = ? ORDER BY number", id, int(stage))
	return list, err
}

// lines is how many lines a job's log keeps, about.
const lines = 2000

// maxLine bounds a line and a reason, in bytes.
const maxLine = 4 << 10

// plain refuses a text of a client's that no database should be asked with: PostgreSQL takes neither, and SQLite is to say the same.
func plain(field, text string) error {
	if strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
		return serval.Errorf(serval.InvalidArgument, "%s %.100q has a NUL, or is not UTF-8", field, text).At(field)
	}
	return nil
}

// plainAll is plain for several: fields and texts in turns.
func plainAll(pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if err := plain(pairs[i], pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// clean makes a text that any database takes.
func clean(text string) string {
	if len(text) > maxLine {
		text = text[:maxLine]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?")
}

// Log adds a line.
func (d *DB) Log(ctx context.Context, l *batch.Lease, line string) error {
	return d.within(ctx, func(tx *sql.Tx, now int64) error {
		n, err := d.exec(ctx, tx, "INSERT INTO job_line (job, at, worker, line) SELECT id, CAST(? AS BIGINT), CAST(? AS TEXT), CAST(? AS TEXT) FROM job WHERE id = ?", now, l.Worker, clean(line), l.Job.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			return batch.ErrLost
		}
		_, err = d.exec(ctx, tx, "DELETE FROM job_line WHERE job = ? AND seq < (SELECT seq FROM job_line WHERE job = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)", l.Job.ID, l.Job.ID, lines)
		return err
	})
}
