package postgres

import (
	"context"
	"time"

	"serval/protocol"
)

var _ protocol.Claims = (*DB)(nil)

// ClaimResponse takes an open response for a worker, or prolongs what it has of it; false: another one has it, or it is not open.
func (d *DB) ClaimResponse(ctx context.Context, tenant, id, worker string, lease time.Duration) (bool, error) {
	const now = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
	res, err := d.db.ExecContext(ctx, "UPDATE response SET worker = $1, until = "+now+" + $2 WHERE tenant = $3 AND id = $4 AND open AND (worker = $1 OR until <= "+now+")",
		worker, lease.Microseconds(), tenant, id)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
