package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"serval"
	"serval/protocol"
)

var _ protocol.Responses = (*DB)(nil)

// keep is how long a response is kept that is not asked for to be deleted, in seconds: OpenAI's 30 days.
const keep = 30 * 24 * 60 * 60

// PutResponse adds one. It is on the disk when PutResponse returns. Those that are too old go on this occasion.
func (d *DB) PutResponse(ctx context.Context, r *protocol.Response) error {
	if _, err := d.db.ExecContext(ctx, "DELETE FROM response WHERE open = 0 AND created < ?", r.Created-keep); err != nil {
		return err
	}
	_, err := d.db.ExecContext(ctx, "INSERT INTO response (tenant, id, created, open, body, request) VALUES (?, ?, ?, ?, ?, ?)",
		r.Tenant, r.ID, r.Created, r.Open, r.Body, r.Request)
	return err
}

// UpdateResponse changes one that is open.
func (d *DB) UpdateResponse(ctx context.Context, r *protocol.Response) (bool, error) {
	res, err := d.db.ExecContext(ctx, "UPDATE response SET open = ?, body = ? WHERE tenant = ? AND id = ? AND open = 1", r.Open, r.Body, r.Tenant, r.ID)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// Response returns one, or a NotFound.
func (d *DB) Response(ctx context.Context, tenant, id string) (*protocol.Response, error) {
	r := &protocol.Response{Tenant: tenant, ID: id}
	err := d.db.QueryRowContext(ctx, "SELECT created, open, body, request FROM response WHERE tenant = ? AND id = ?", tenant, id).
		Scan(&r.Created, &r.Open, &r.Body, &r.Request)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, serval.Errorf(serval.NotFound, "there is no response '%s'", id).At("response_id").Named("response_not_found")
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
	return serval.Errorf(serval.NotFound, "there is no response '%s'", id).At("response_id").Named("response_not_found")
}

// OpenResponses are those that are to be answered in the background, the oldest first.
func (d *DB) OpenResponses(ctx context.Context) ([]*protocol.Response, error) {
	rows, err := d.db.QueryContext(ctx, "SELECT tenant, id, created FROM response WHERE open = 1 ORDER BY created, id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*protocol.Response
	for rows.Next() {
		r := &protocol.Response{Open: true}
		if err := rows.Scan(&r.Tenant, &r.ID, &r.Created); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}
