package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"serval"
	"serval/protocol"
)

var _ protocol.Responses = (*DB)(nil)

// PutResponse inserts or replaces one. It is on the disk when PutResponse returns.
func (d *DB) PutResponse(ctx context.Context, r *protocol.Response) error {
	_, err := d.db.ExecContext(ctx, `INSERT INTO response (tenant, id, created, open, body, request) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, id) DO UPDATE SET open = excluded.open, body = excluded.body`,
		r.Tenant, r.ID, r.Created, r.Open, r.Body, r.Request)
	return err
}

// Response returns one, or a NotFound.
func (d *DB) Response(ctx context.Context, tenant, id string) (*protocol.Response, error) {
	r := &protocol.Response{Tenant: tenant, ID: id}
	err := d.db.QueryRowContext(ctx, "SELECT created, open, body, request FROM response WHERE tenant = ? AND id = ?", tenant, id).
		Scan(&r.Created, &r.Open, &r.Body, &r.Request)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, serval.Errorf(serval.NotFound, "there is no response '%s'", id).At("response_id").As("response_not_found")
	}
	return r, err
}

// DeleteResponse removes one, or is a NotFound.
func (d *DB) DeleteResponse(ctx context.Context, tenant, id string) error {
	res, err := d.db.ExecContext(ctx, "DELETE FROM response WHERE tenant = ? AND id = ?", tenant, id)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return serval.Errorf(serval.NotFound, "there is no response '%s'", id).At("response_id").As("response_not_found")
}

// OpenResponses are those that are to be answered in the background, the oldest first.
func (d *DB) OpenResponses(ctx context.Context) ([]*protocol.Response, error) {
	rows, err := d.db.QueryContext(ctx, "SELECT tenant, id, created, open, body, request FROM response WHERE open = 1 ORDER BY created, id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*protocol.Response
	for rows.Next() {
		r := &protocol.Response{}
		if err := rows.Scan(&r.Tenant, &r.ID, &r.Created, &r.Open, &r.Body, &r.Request); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}
