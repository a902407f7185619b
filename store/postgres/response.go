package postgres

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"serval/protocol"
)

var _ protocol.Claims = (*DB)(nil)

// silence is since when the claims of other workers are as they are, by this process's monotonic clock. The database's clock may jump: forward,
// and every claim looks over; back, and that of a killed worker looks as if it would last for hours. As table's silence is of jobs'.
type silence struct {
	mu   sync.Mutex
	seen map[response]sighting
}

type response struct{ tenant, id string }

// sighting is a claim as it was first seen.
type sighting struct {
	worker string
	until  int64
	since  time.Time
}

const (
	farAhead  = 10 * time.Minute // later than any claim ends
	sightings = 1024             // after so many, those that are old are forgotten
)

// silent says whether nothing was heard of a claim's worker for long enough: half a lease once the claim is over, a whole one where the
// clock went back.
func (c *silence) silent(r response, s sighting, now int64, lease time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.seen[r]; ok && old.worker == s.worker && old.until == s.until {
		s.since = old.since
	} else if len(c.seen) >= sightings {
		for k, old := range c.seen {
			if s.since.Sub(old.since) > farAhead {
				delete(c.seen, k)
			}
		}
	}
	if c.seen == nil {
		c.seen = map[response]sighting{}
	}
	c.seen[r] = s
	quiet := time.Since(s.since)
	return s.until <= now && quiet >= lease/2 || s.until > now+farAhead.Microseconds() && quiet >= lease
}

func (c *silence) forget(r response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.seen, r)
}

const micros = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"

// ClaimResponse takes an open response for a worker, or prolongs what it has of it; false: another one has it, or it is not open. What a
// worker that fell silent had is taken by whoever asks again later: what the wall clock says is not enough.
func (d *DB) ClaimResponse(ctx context.Context, tenant, id, worker string, lease time.Duration) (bool, error) {
	r := response{tenant, id}
	take := func(where string, more ...any) (bool, error) {
		res, err := d.db.ExecContext(ctx, "UPDATE response SET worker = $1, until = CASE WHEN CAST($2 AS BIGINT) = 0 THEN 0 ELSE "+micros+" + CAST($2 AS BIGINT) END WHERE tenant = $3 AND id = $4 AND open AND "+where,
			append([]any{worker, lease.Microseconds(), tenant, id}, more...)...)
		if err != nil {
			return false, err
		}
		n, err := res.RowsAffected()
		if n > 0 {
			d.silence.forget(r)
		}
		return n > 0, err
	}
	if ok, err := take("(worker = $1 OR until = 0)"); ok || err != nil || lease == 0 {
		return ok, err
	}
	s, now := sighting{since: time.Now()}, int64(0)
	err := d.db.QueryRowContext(ctx, "SELECT worker, until, "+micros+" FROM response WHERE tenant = $1 AND id = $2 AND open", tenant, id).Scan(&s.worker, &s.until, &now)
	if errors.Is(err, sql.ErrNoRows) {
		d.silence.forget(r)
		return false, nil
	}
	if err != nil || !d.silence.silent(r, s, now, lease) {
		return false, err
	}
	return take("worker = $5 AND until = $6", s.worker, s.until)
}
