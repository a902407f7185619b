package table

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"serval"
	"serval/batch"
)

const jobColumns = "id, tenant, kind, name, priority, idem, spec, state, reason, created, started, ended, expires, keep, remove, result"

// Submit adds a job with its first piece.
func (d *DB) Submit(ctx context.Context, r *batch.Record) (added bool, err error) {
	if err := plainAll("id", r.ID, "tenant", r.Tenant, "name", r.Name, "key", r.Key); err != nil {
		return false, err
	}
	id := r.ID
	if id == "" {
		id = newID()
	}
	err = d.within(ctx, func(tx *sql.Tx, now int64) (err error) {
		added, err = d.submit(ctx, tx, id, r, now)
		return err
	})
	return added, err
}

// submit is Submit within a transaction.
func (d *DB) submit(ctx context.Context, tx *sql.Tx, id string, r *batch.Record, now int64) (added bool, err error) {
	if r.Key != "" {
		n, err := d.exec(ctx, tx, "INSERT INTO job_key (tenant, idem, job, spec, created) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
			r.Tenant, r.Key, id, []byte(r.Spec), now)
		if err != nil {
			return false, err
		}
		if n == 0 {
			return false, d.known(ctx, tx, r)
		}
	}
	n, err := d.exec(ctx, tx, "INSERT INTO job ("+jobColumns+", stage, asked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', ?, 0, 0, ?, ?, 0, NULL, ?, '') ON CONFLICT DO NOTHING",
		id, r.Tenant, r.Kind, r.Name, r.Priority, r.Key, []byte(r.Spec), string(batch.Queued), now, micro(r.Expires), r.Keep.Microseconds(), int(batch.Plan))
	if err != nil {
		return false, err
	}
	if n == 0 {
		return false, serval.Errorf(serval.Conflict, "there is a job '%s' already", id).At("id")
	}
	r.ID, r.State, r.Created = id, batch.Queued, at(now)
	return true, d.addPiece(ctx, tx, id, batch.Plan, batch.Piece{Spec: r.Spec})
}

// known fills in the job that a key stands for.
func (d *DB) known(ctx context.Context, tx *sql.Tx, r *batch.Record) error {
	var id string
	var spec []byte
	if err := d.row(ctx, tx, "SELECT job, spec FROM job_key WHERE tenant = ? AND idem = ?", r.Tenant, r.Key).Scan(&id, &spec); err != nil {
		return err
	}
	if !bytes.Equal(spec, r.Spec) {
		return serval.Errorf(serval.Conflict, "the key '%s' was used for another job (%s); use another one", r.Key, id).At("key")
	}
	old, err := d.job(ctx, tx, r.Tenant, id)
	if err == nil {
		*r = *old
		return nil
	}
	if serval.AsError(err).Code != serval.NotFound {
		return err
	}
	r.ID = id // it is deleted
	return nil
}

func newID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // it never fails
	return "job_" + hex.EncodeToString(b[:])
}

func (d *DB) addPiece(ctx context.Context, tx *sql.Tx, job string, stage batch.Stage, p batch.Piece) error {
	_, err := d.exec(ctx, tx, `INSERT INTO piece (job, number, stage, spec, weight, state, worker, fence, until, after, attempts, failures, base, row_count, bad, done, rate, output)
		VALUES (?, ?, ?, ?, ?, 'waiting', '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL)`, job, p.Number, int(stage), []byte(p.Spec), p.Weight)
	return err
}

// Job returns one.
func (d *DB) Job(ctx context.Context, tenant, id string) (*batch.Record, error) {
	return d.job(ctx, d.SQL, tenant, id)
}

func (d *DB) job(ctx context.Context, on asks, tenant, id string) (*batch.Record, error) {
	if err := plain("job", id); err != nil {
		return nil, err
	}
	list, err := d.records(ctx, on, "WHERE id = ? AND (? = '' OR tenant = ?)", id, tenant, tenant)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, noJob(id)
	}
	return list[0], nil
}

func noJob(id string) error {
	return serval.Errorf(serval.NotFound, "there is no job '%s'", id).At("job").Named("job_not_found")
}

// Jobs lists jobs, the newest first.
func (d *DB) Jobs(ctx context.Context, f batch.Filter) ([]*batch.Record, error) {
	if err := plainAll("tenant", f.Tenant, "before", f.Before); err != nil {
		return nil, err
	}
	where, args := []string{"(? = '' OR tenant = ?)"}, []any{f.Tenant, f.Tenant}
	if len(f.States) > 0 {
		where = append(where, "state IN ("+marks(len(f.States))+")")
		for _, s := range f.States {
			args = append(args, string(s))
		}
	}
	if f.Before != "" {
		j, err := d.Job(ctx, f.Tenant, f.Before)
		if err != nil {
			return nil, err
		}
		where, args = append(where, "(created < ? OR created = ? AND id < ?)"), append(args, micro(j.Created), micro(j.Created), j.ID)
	}
	if f.Removable {
		now, err := d.now(ctx)
		if err != nil {
			return nil, err
		}
		where, args = append(where, "remove > 0 AND remove <= ?"), append(args, now)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	return d.records(ctx, d.SQL, "WHERE "+strings.Join(where, " AND ")+" ORDER BY created DESC, id DESC LIMIT ?", append(args, limit)...)
}

// marks is that many parameters.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func (d *DB) now(ctx context.Context) (int64, error) {
	if d.Now == "" {
		return d.clock(), nil
	}
	var now int64
	err := d.SQL.QueryRowContext(ctx, d.Now).Scan(&now)
	return now, err
}

// records reads jobs with their tallies.
func (d *DB) records(ctx context.Context, on asks, where string, args ...any) ([]*batch.Record, error) {
	var list []*batch.Record
	byID := map[string]*batch.Record{}
	err := d.each(ctx, on, func(rows *sql.Rows) error {
		r := &batch.Record{}
		var state string
		var created, started, ended, expires, keep, remove int64
		var spec, result []byte
		if err := rows.Scan(&r.ID, &r.Tenant, &r.Kind, &r.Name, &r.Priority, &r.Key, &spec, &state, &r.Reason, &created, &started, &ended, &expires, &keep, &remove, &result); err != nil {
			return err
		}
		r.Spec, r.Result, r.State = spec, result, batch.State(state)
		r.Created, r.Started, r.Ended, r.Expires, r.Remove = at(created), at(started), at(ended), at(expires), at(remove)
		r.Keep = time.Duration(keep) * time.Microsecond
		list, byID[r.ID] = append(list, r), r
		return nil
	}, "SELECT "+jobColumns+" FROM job "+where, args...)
	if err != nil || len(list) == 0 {
		return list, err
	}
	return list, d.tallies(ctx, on, byID)
}

func (d *DB) tallies(ctx context.Context, on asks, jobs map[string]*batch.Record) error {
	ids := make([]any, 0, len(jobs)+1)
	now := time.Now().UnixMicro() // a rate that is shown a moment too long harms nobody
	ids = append(ids, now)
	for id := range jobs {
		ids = append(ids, id)
	}
	return d.each(ctx, on, func(rows *sql.Rows) error {
		var id string
		var t batch.Tally
		var weighted, weight, least float64
		if err := rows.Scan(&id, &t.Pieces, &t.Finished, &t.Rows, &t.Bad, &t.Rate, &weighted, &weight, &least, &t.Attempts); err != nil {
			return err
		}
		switch {
		case jobs[id].State == batch.Succeeded:
			t.Done = 1
		case t.Pieces == 0:
			t.Done = 0
		case least < 0 || weight <= 0 && t.Pieces > 1:
			t.Done = -1
		case weight <= 0:
			t.Done = least
		default:
			t.Done = weighted / weight
		}
		jobs[id].Tally = t
		return nil
	}, `SELECT job, CAST(SUM(CASE WHEN stage = 1 THEN 1 ELSE 0 END) AS BIGINT), CAST(SUM(CASE WHEN stage = 1 AND state = 'done' THEN 1 ELSE 0 END) AS BIGINT),
		CAST(SUM(row_count) AS BIGINT), CAST(SUM(bad) AS BIGINT), SUM(CASE WHEN state = 'running' AND until > ? THEN rate ELSE 0.0 END),
		SUM(CASE WHEN stage = 1 THEN weight * done ELSE 0.0 END), SUM(CASE WHEN stage = 1 THEN weight ELSE 0.0 END),
		MIN(CASE WHEN stage = 1 THEN done ELSE 1.0 END), CAST(SUM(attempts) AS BIGINT)
		FROM piece WHERE job IN (`+marks(len(jobs))+`) GROUP BY job`, ids...)
}

// held is a job's row, locked.
type held struct {
	id, asked     string
	state         batch.State
	stage         batch.Stage
	started, keep int64
}

// hold locks a job's row for the rest of the transaction.
func (d *DB) hold(ctx context.Context, tx *sql.Tx, tenant, id string) (*held, error) {
	if err := plain("job", id); err != nil {
		return nil, err
	}
	h := &held{id: id}
	var state string
	var stage int
	err := d.row(ctx, tx, "SELECT state, asked, stage, started, keep FROM job WHERE id = ? AND (? = '' OR tenant = ?)"+d.Lock, id, tenant, tenant).
		Scan(&state, &h.asked, &stage, &h.started, &h.keep)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noJob(id)
	}
	h.state, h.stage = batch.State(state), batch.Stage(stage)
	return h, err
}

// Change pauses, resumes or cancels.
func (d *DB) Change(ctx context.Context, tenant, id string, o batch.Order) (*batch.Record, error) {
	var after *batch.Record
	err := d.within(ctx, func(tx *sql.Tx, now int64) error {
		h, err := d.hold(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		if err := d.change(ctx, tx, h, o, now); err != nil {
			return err
		}
		after, err = d.job(ctx, tx, tenant, id)
		return err
	})
	return after, err
}

func (d *DB) change(ctx context.Context, tx *sql.Tx, h *held, o batch.Order, now int64) error {
	open := h.state == batch.Queued || h.state == batch.Running || h.state == batch.Paused
	set := func(s batch.State) error {
		_, err := d.exec(ctx, tx, "UPDATE job SET state = ? WHERE id = ?", string(s), h.id)
		return err
	}
	switch {
	case o == batch.Pause && open:
		return set(batch.Paused)
	case o == batch.GoOn && open:
		switch {
		case h.state != batch.Paused:
			return nil
		case h.started > 0:
			return set(batch.Running)
		}
		return set(batch.Queued)
	case o == batch.Cancel && (open || h.state == batch.Cancelling || h.state == batch.Cancelled):
		if !open {
			return nil
		}
		return d.giveUp(ctx, tx, h, batch.Cancel, now)
	}
	word := map[batch.Order]string{batch.Pause: "paused", batch.GoOn: "resumed", batch.Cancel: "cancelled"}[o]
	if word == "" {
		return serval.Errorf(serval.InvalidArgument, "a job cannot be asked to %q", string(o))
	}
	return serval.Errorf(serval.Conflict, "job '%s' is %s and cannot be %s any more", h.id, h.state, word).At("job")
}

// giveUp asks the workers of a job to stop, and ends it where there are none.
func (d *DB) giveUp(ctx context.Context, tx *sql.Tx, h *held, why batch.Order, now int64) error {
	h.state, h.asked = batch.Cancelling, string(why)
	if _, err := d.exec(ctx, tx, "UPDATE job SET state = ?, asked = ? WHERE id = ?", string(h.state), h.asked, h.id); err != nil {
		return err
	}
	return d.settle(ctx, tx, h, now)
}

// settle ends a job that is given up, if no worker is at it.
func (d *DB) settle(ctx context.Context, tx *sql.Tx, h *held, now int64) error {
	var live int
	if err := d.row(ctx, tx, "SELECT COUNT(*) FROM piece WHERE job = ? AND state = 'running' AND until > ?", h.id, now).Scan(&live); err != nil || live > 0 {
		return err
	}
	if h.asked == string(batch.Expire) {
		return d.end(ctx, tx, h, batch.Expired, "it was not done in time", now)
	}
	return d.end(ctx, tx, h, batch.Cancelled, "", now)
}

// end ends a job; what workers still do for it is void.
func (d *DB) end(ctx context.Context, tx *sql.Tx, h *held, s batch.State, reason string, now int64) error {
	remove := int64(0)
	if h.keep > 0 {
		remove = now + h.keep
	}
	h.state = s
	if _, err := d.exec(ctx, tx, "UPDATE job SET state = ?, reason = ?, ended = ?, remove = ?, asked = '' WHERE id = ?", string(s), clean(reason), now, remove, h.id); err != nil {
		return err
	}
	_, err := d.exec(ctx, tx, "UPDATE piece SET state = 'void', fence = fence + 1 WHERE job = ? AND state <> 'done'", h.id)
	return err
}

// Delete removes a job that has ended. Its Key stays known.
func (d *DB) Delete(ctx context.Context, tenant, id string) error {
	return d.within(ctx, func(tx *sql.Tx, _ int64) error {
		h, err := d.hold(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		if !h.state.Ended() {
			return serval.Errorf(serval.Conflict, "job '%s' is %s; cancel it first", id, h.state).At("job")
		}
		for _, table := range []string{"job_line", "piece"} {
			if _, err := d.exec(ctx, tx, "DELETE FROM "+table+" WHERE job = ?", id); err != nil {
				return err
			}
		}
		_, err = d.exec(ctx, tx, "DELETE FROM job WHERE id = ?", id)
		return err
	})
}

// Lines are a job's log.
func (d *DB) Lines(ctx context.Context, tenant, id string, after int64) ([]batch.Line, error) {
	if _, err := d.Job(ctx, tenant, id); err != nil {
		return nil, err
	}
	var list []batch.Line
	err := d.each(ctx, d.SQL, func(rows *sql.Rows) error {
		var l batch.Line
		var micro int64
		err := rows.Scan(&l.Seq, &micro, &l.Worker, &l.Text)
		l.Time = at(micro)
		list = append(list, l)
		return err
	}, "SELECT seq, at, worker, line FROM job_line WHERE job = ? AND seq > ? ORDER BY seq LIMIT 1000", id, after)
	return list, err
}
