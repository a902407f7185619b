package table

import (
	"context"
	"database/sql"
	"sync"
	"time"
)

// silence is since when workers have said nothing, by this process's monotonic clock. The times in the tables are the wall clock's, which may
// jump: forward, and every lease looks over; back, and that of a killed worker looks as if it would last for hours. A worker that
// lives renews its lease each second or more often, and that is seen whatever the clock says.
type silence struct {
	mu   sync.Mutex
	last map[pieceID]sighting
}

// sighting is a lease as it was first seen.
type sighting struct {
	fence, until int64
	since        time.Time
}

// mostAhead is farther away than any lease ends and than any piece waits.
const mostAhead = 10 * time.Minute

// silent are at most candidates pieces whose workers are gone: their leases are over and nothing was heard of them for a while, or,
// where the clock went back, nothing was heard for a whole lease.
func (d *DB) silent(ctx context.Context, tx *sql.Tx, lease time.Duration, now int64) (list map[pieceID]sighting, err error) {
	grace := max(0, min(lease/2, d.Grace))
	d.silence.mu.Lock()
	defer d.silence.mu.Unlock()
	seen := map[pieceID]sighting{}
	list = map[pieceID]sighting{}
	err = d.each(ctx, tx, func(rows *sql.Rows) error {
		var id pieceID
		var s sighting
		if err := rows.Scan(&id.job, &id.number, &s.fence, &s.until); err != nil {
			return err
		}
		s.since = time.Now()
		if old, ok := d.silence.last[id]; ok && old.fence == s.fence && old.until == s.until {
			s.since = old.since
		}
		seen[id] = s
		quiet := time.Since(s.since)
		over := s.until <= now && quiet >= grace
		ahead := s.until > now+mostAhead.Microseconds() && quiet >= max(lease, d.Grace)
		if (over || ahead) && len(list) < candidates {
			list[id] = s
		}
		return nil
	}, "SELECT job, number, fence, until FROM piece WHERE state = 'running' ORDER BY until")
	if err == nil {
		d.silence.last = seen
	}
	return list, err
}
