package table

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"serval"
	"serval/batch"
	"serval/protocol"
)

// AddBatch adds a batch of requests and its job, which has the same id, or neither. With a job's Key that the tenant has used it
// reports false, and r.ID is that of the batch before. Of calls at the same moment a few more than most may be let in.
func (d *DB) AddBatch(ctx context.Context, b *protocol.Batch, r *batch.Record, most int) (added bool, err error) {
	if err := plainAll("endpoint", r.Name, "idempotency_key", r.Key); err != nil {
		return false, err
	}
	id := r.ID
	err = d.within(ctx, func(tx *sql.Tx, now int64) error {
		if added, err = d.submit(ctx, tx, id, r, now); err != nil || !added {
			return err
		}
		var open int
		if err := d.row(ctx, tx, "SELECT COUNT(*) FROM request_batch WHERE tenant = ? AND ended = 0", b.Tenant).Scan(&open); err != nil {
			return err
		}
		if most > 0 && open >= most {
			return serval.Errorf(serval.ResourceExhausted, "%d of your batches have not ended, and no more may be open at a time (files.max_open); wait for one, or cancel one", open).
				Named("too_many_batches").After(time.Minute)
		}
		b.ID, b.Created, b.Revision = id, at(now), 1
		body, err := json.Marshal(b)
		if err != nil {
			return err
		}
		_, err = d.exec(ctx, tx, "INSERT INTO request_batch (id, tenant, created, ended, revision, body) VALUES (?, ?, ?, 0, 1, ?)", id, b.Tenant, now, body)
		return err
	})
	return added, err
}

// Batch returns one; tenant "" may see all.
func (d *DB) Batch(ctx context.Context, tenant, id string) (*protocol.Batch, error) {
	if err := plain("batch_id", id); err != nil {
		return nil, err
	}
	list, err := d.batches(ctx, "WHERE id = ? AND (? = '' OR tenant = ?)", id, tenant, tenant)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, serval.Errorf(serval.NotFound, "there is no batch '%s'", id).At("batch_id").Named("batch_not_found")
	}
	return list[0], nil
}

func (d *DB) batches(ctx context.Context, where string, args ...any) ([]*protocol.Batch, error) {
	var list []*protocol.Batch
	err := d.each(ctx, d.SQL, func(rows *sql.Rows) error {
		b := &protocol.Batch{}
		var body []byte
		var revision int64
		if err := rows.Scan(&body, &revision); err != nil {
			return err
		}
		err := json.Unmarshal(body, b)
		b.Revision = revision
		list = append(list, b)
		return err
	}, "SELECT body, revision FROM request_batch "+where, args...)
	return list, err
}

// Batches lists a tenant's, the newest first.
func (d *DB) Batches(ctx context.Context, f protocol.BatchFilter) ([]*protocol.Batch, error) {
	if err := plain("after", f.After); err != nil {
		return nil, err
	}
	if f.After == "" {
		return d.batches(ctx, "WHERE tenant = ? ORDER BY created DESC, id DESC LIMIT ?", f.Tenant, f.Limit)
	}
	var created int64
	err := d.row(ctx, d.SQL, "SELECT created FROM request_batch WHERE id = ? AND tenant = ?", f.After, f.Tenant).Scan(&created)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, serval.Errorf(serval.NotFound, "after: there is no batch '%s'", f.After).At("after").Named("batch_not_found")
	} else if err != nil {
		return nil, err
	}
	return d.batches(ctx, "WHERE tenant = ? AND (created < ? OR created = ? AND id < ?) ORDER BY created DESC, id DESC LIMIT ?", f.Tenant, created, created, f.After, f.Limit)
}

// OpenBatches are a tenant's that have not ended.
func (d *DB) OpenBatches(ctx context.Context, tenant string) ([]*protocol.Batch, error) {
	return d.batches(ctx, "WHERE tenant = ? AND ended = 0", tenant)
}

// ChangeBatch stores a batch that has not ended, if nobody has changed it since it was read; it reports whether.
func (d *DB) ChangeBatch(ctx context.Context, b *protocol.Batch) (done bool, err error) {
	err = d.within(ctx, func(tx *sql.Tx, now int64) error {
		done, err = d.changeBatch(ctx, tx, b, 0)
		return err
	})
	if done {
		b.Revision++
	}
	return done, err
}

func (d *DB) changeBatch(ctx context.Context, tx *sql.Tx, b *protocol.Batch, ended int64) (bool, error) {
	body, err := json.Marshal(b)
	if err != nil {
		return false, err
	}
	n, err := d.exec(ctx, tx, "UPDATE request_batch SET body = ?, ended = ?, revision = revision + 1 WHERE id = ? AND revision = ? AND ended = 0", body, ended, b.ID, b.Revision)
	return n > 0, err
}

// EndBatch is ChangeBatch for the last change: with it, its files are there and its events are to be delivered.
func (d *DB) EndBatch(ctx context.Context, b *protocol.Batch, files []*protocol.File, events []*protocol.Event) (done bool, err error) {
	err = d.within(ctx, func(tx *sql.Tx, now int64) error {
		if done, err = d.changeBatch(ctx, tx, b, now); err != nil || !done {
			return err
		}
		for _, f := range files {
			if err := d.putFile(ctx, tx, f, now); err != nil {
				return err
			}
		}
		for _, e := range events {
			if _, err := d.exec(ctx, tx, "INSERT INTO event (id, hook, tenant, type, subject, created, due, attempts) VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
				e.ID, e.Hook, e.Tenant, e.Type, e.Subject, now, now); err != nil {
				return err
			}
		}
		return nil
	})
	if done {
		b.Revision++
	}
	return done, err
}

// UnsettledBatches are at most 100 that have not ended though their jobs have, or are gone.
func (d *DB) UnsettledBatches(ctx context.Context) ([]*protocol.Batch, error) {
	return d.batches(ctx, `WHERE ended = 0 AND NOT EXISTS (SELECT 1 FROM job WHERE job.id = request_batch.id AND job.state IN ('queued', 'running', 'paused', 'cancelling'))
		ORDER BY created LIMIT 100`)
}

// ForgetBatches removes those that ended so long ago, and says which.
func (d *DB) ForgetBatches(ctx context.Context, keep time.Duration) (ids []string, err error) {
	now, err := d.now(ctx)
	if err != nil {
		return nil, err
	}
	err = d.each(ctx, d.SQL, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT id FROM request_batch WHERE ended > 0 AND ended <= ? ORDER BY ended LIMIT 100", now-keep.Microseconds())
	for i := 0; err == nil && i < len(ids); i++ {
		_, err = d.exec(ctx, d.SQL, "DELETE FROM request_batch WHERE id = ?", ids[i])
	}
	return ids, err
}

// eventAhead is longer than an event is ever put off for.
const eventAhead = 61 * time.Minute

// ClaimEvents takes events that are due; nobody else does for so long. Each has made an attempt more. What would be due later than anything
// is was put off before the clock went back.
func (d *DB) ClaimEvents(ctx context.Context, lease time.Duration) ([]*protocol.Event, error) {
	var list []*protocol.Event
	err := d.within(ctx, func(tx *sql.Tx, now int64) error {
		list = nil
		err := d.each(ctx, tx, func(rows *sql.Rows) error {
			e := &protocol.Event{}
			var created int64
			err := rows.Scan(&e.ID, &e.Hook, &e.Tenant, &e.Type, &e.Subject, &created, &e.Attempts)
			e.Created = at(created)
			list = append(list, e)
			return err
		}, "SELECT id, hook, tenant, type, subject, created, attempts FROM event WHERE due <= ? OR due > ? ORDER BY due LIMIT 16"+d.Lock, now, now+eventAhead.Microseconds())
		for i := 0; err == nil && i < len(list); i++ {
			list[i].Attempts++
			_, err = d.exec(ctx, tx, "UPDATE event SET due = ?, attempts = attempts + 1 WHERE id = ? AND hook = ?", now+lease.Microseconds(), list[i].ID, list[i].Hook)
		}
		return err
	})
	return list, err
}

// DelayEvent has one delivered again, after so long.
func (d *DB) DelayEvent(ctx context.Context, e *protocol.Event, after time.Duration) error {
	return d.within(ctx, func(tx *sql.Tx, now int64) error {
		_, err := d.exec(ctx, tx, "UPDATE event SET due = ? WHERE id = ? AND hook = ?", now+after.Microseconds(), e.ID, e.Hook)
		return err
	})
}

// EndEvent forgets one.
func (d *DB) EndEvent(ctx context.Context, e *protocol.Event) error {
	_, err := d.exec(ctx, d.SQL, "DELETE FROM event WHERE id = ? AND hook = ?", e.ID, e.Hook)
	return err
}
