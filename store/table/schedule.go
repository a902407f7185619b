package table

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"serval"
	"serval/batch"
)

var _ batch.Schedules = (*DB)(nil)

const scheduleColumns = "id, tenant, name, origin, plan, created, due, last, last_job, reason"

// AddSchedule adds one.
func (d *DB) AddSchedule(ctx context.Context, s *batch.Schedule) error {
	if err := plainAll("name", s.Name, "tenant", s.Tenant); err != nil {
		return err
	}
	return d.within(ctx, func(tx *sql.Tx, now int64) error {
		n, err := d.exec(ctx, tx, "INSERT INTO schedule ("+scheduleColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, 0, '', '') ON CONFLICT DO NOTHING",
			s.ID, s.Tenant, s.Name, s.Origin, []byte(s.Plan), now, micro(s.Due))
		if err == nil && n == 0 {
			err = serval.Errorf(serval.Conflict, "there is a schedule '%s' already; delete it first", s.Name).At("name")
		}
		s.Created = at(now)
		return err
	})
}

// Schedules lists them, by name.
func (d *DB) Schedules(ctx context.Context, tenant string) ([]*batch.Schedule, error) {
	return d.schedules(ctx, "WHERE (? = '' OR tenant = ?) ORDER BY tenant, name", tenant, tenant)
}

func (d *DB) schedules(ctx context.Context, where string, args ...any) (list []*batch.Schedule, err error) {
	err = d.each(ctx, d.SQL, func(rows *sql.Rows) error {
		s := &batch.Schedule{}
		var plan []byte
		var created, due, last int64
		if err := rows.Scan(&s.ID, &s.Tenant, &s.Name, &s.Origin, &plan, &created, &due, &last, &s.LastJob, &s.Reason); err != nil {
			return err
		}
		s.Plan, s.Created, s.Due, s.Last = plan, at(created), at(due), at(last)
		list = append(list, s)
		return nil
	}, "SELECT "+scheduleColumns+" FROM schedule "+where, args...)
	return list, err
}

// Schedule returns one, by its id or its name. A name that several tenants have is a Conflict.
func (d *DB) Schedule(ctx context.Context, tenant, id string) (*batch.Schedule, error) {
	if err := plain("schedule", id); err != nil {
		return nil, err
	}
	list, err := d.schedules(ctx, "WHERE (id = ? OR name = ?) AND (? = '' OR tenant = ?) ORDER BY tenant LIMIT 100", id, id, tenant, tenant)
	if err != nil {
		return nil, err
	}
	var named []string
	for _, s := range list {
		if s.ID == id {
			return s, nil
		}
		named = append(named, fmt.Sprintf("%s of '%s'", s.ID, s.Tenant))
	}
	switch len(list) {
	case 0:
		return nil, serval.Errorf(serval.NotFound, "there is no schedule '%s'", id).At("schedule").Named("schedule_not_found")
	case 1:
		return list[0], nil
	}
	return nil, serval.Errorf(serval.Conflict, "%d schedules are called '%s': %s; name one by its id", len(list), id, strings.Join(named, ", ")).At("schedule")
}

// DeleteSchedule removes one.
func (d *DB) DeleteSchedule(ctx context.Context, tenant, id string) error {
	s, err := d.Schedule(ctx, tenant, id)
	if err != nil {
		return err
	}
	_, err = d.exec(ctx, d.SQL, "DELETE FROM schedule WHERE id = ?", s.ID)
	return err
}

// UpdateSchedule changes what one does.
func (d *DB) UpdateSchedule(ctx context.Context, s *batch.Schedule) error {
	n, err := d.exec(ctx, d.SQL, "UPDATE schedule SET plan = ?, due = ?, reason = '' WHERE id = ?", []byte(s.Plan), micro(s.Due), s.ID)
	if err == nil && n == 0 {
		err = serval.Errorf(serval.NotFound, "there is no schedule '%s'", s.Name).At("schedule").Named("schedule_not_found")
	}
	return err
}

// Fired notes what a schedule did, unless another server did.
func (d *DB) Fired(ctx context.Context, s *batch.Schedule, due time.Time, job, reason string) error {
	if job == "" {
		_, err := d.exec(ctx, d.SQL, "UPDATE schedule SET due = ?, reason = ? WHERE id = ? AND due = ?", micro(due), clean(reason), s.ID, micro(s.Due))
		return err
	}
	return d.within(ctx, func(tx *sql.Tx, now int64) error {
		_, err := d.exec(ctx, tx, "UPDATE schedule SET due = ?, last = ?, last_job = ?, reason = ? WHERE id = ? AND due = ?",
			micro(due), now, job, clean(reason), s.ID, micro(s.Due))
		return err
	})
}

// keysAtOnce bounds a statement's parameters.
const keysAtOnce = 500

// UsedKeys says which of a tenant's keys stand for a job, or are to make none.
func (d *DB) UsedKeys(ctx context.Context, tenant string, keys []string) (map[string]bool, error) {
	used := map[string]bool{}
	for len(keys) > 0 {
		n := min(len(keys), keysAtOnce)
		args := []any{tenant}
		for _, k := range keys[:n] {
			args = append(args, k)
		}
		err := d.each(ctx, d.SQL, func(rows *sql.Rows) error {
			var k string
			err := rows.Scan(&k)
			used[k] = true
			return err
		}, "SELECT idem FROM job_key WHERE tenant = ? AND idem IN ("+marks(n)+")", args...)
		if err != nil {
			return nil, err
		}
		keys = keys[n:]
	}
	return used, nil
}

// UseKeys makes keys used, without a job, some at a time: nobody else waits for all of them. Done again, it does the rest.
func (d *DB) UseKeys(ctx context.Context, tenant string, keys []string) error {
	for part := range slices.Chunk(keys, keysAtOnce) {
		if err := d.within(ctx, func(tx *sql.Tx, now int64) error {
			args := make([]any, 0, 2*len(part)+2)
			for _, k := range part {
				args = append(args, tenant, k, now)
			}
			_, err := d.exec(ctx, tx, "INSERT INTO job_key (tenant, idem, job, spec, created) VALUES "+
				strings.TrimSuffix(strings.Repeat("(?, ?, '', '', ?), ", len(part)), ", ")+" ON CONFLICT DO NOTHING", args...)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}
