package table

import (
	"context"
	"database/sql"
	"errors"

	"serval"
	"serval/protocol"
)

// keepResponse is how long a response is kept that is not asked for to be deleted, in seconds: OpenAI's 30 days.
const keepResponse = 30 * 24 * 60 * 60

// PutResponse adds one. It is on the disk when PutResponse returns. Those that are too old go on this occasion.
func (d *DB) PutResponse(ctx context.Context, r *protocol.Response) error {
	if _, err := d.exec(ctx, d.SQL, "DELETE FROM response WHERE open = ? AND created < ?", false, r.Created-keepResponse); err != nil {
		return err
	}
	_, err := d.exec(ctx, d.SQL, "INSERT INTO response (tenant, id, created, open, body, request) VALUES (?, ?, ?, ?, ?, ?)",
		r.Tenant, r.ID, r.Created, r.Open, r.Body, r.Request)
	return err
}

// UpdateResponse changes one that is open.
func (d *DB) UpdateResponse(ctx context.Context, r *protocol.Response) (bool, error) {
	n, err := d.exec(ctx, d.SQL, "UPDATE response SET open = ?, body = ? WHERE tenant = ? AND id = ? AND open = ?", r.Open, r.Body, r.Tenant, r.ID, true)
	return n > 0, err
}

// Response returns one, or a NotFound.
func (d *DB) Response(ctx context.Context, tenant, id string) (*protocol.Response, error) {
	if err := plain("response_id", id); err != nil {
		return nil, err
	}
	r := &protocol.Response{Tenant: tenant, ID: id}
	err := d.row(ctx, d.SQL, "SELECT created, open, body, request FROM response WHERE tenant = ? AND id = ?", tenant, id).
		Scan(&r.Created, &r.Open, &r.Body, &r.Request)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noResponse(id)
	}
	return r, err
}

// DeleteResponse removes one, or is a NotFound.
func (d *DB) DeleteResponse(ctx context.Context, tenant, id string) error {
	if err := plain("response_id", id); err != nil {
		return err
	}
	n, err := d.exec(ctx, d.SQL, "DELETE FROM response WHERE tenant = ? AND id = ?", tenant, id)
	if err != nil || n > 0 {
		return err
	}
	return noResponse(id)
}

func noResponse(id string) error {
	return serval.Errorf(serval.NotFound, "there is no response '%s'", id).At("response_id").Named("response_not_found")
}

// OpenResponses are those that are to be answered in the background, the oldest first.
func (d *DB) OpenResponses(ctx context.Context) ([]*protocol.Response, error) {
	var list []*protocol.Response
	err := d.each(ctx, d.SQL, func(rows *sql.Rows) error {
		r := &protocol.Response{Open: true}
		list = append(list, r)
		return rows.Scan(&r.Tenant, &r.ID, &r.Created)
	}, "SELECT tenant, id, created FROM response WHERE open = ? ORDER BY created, id", true)
	return list, err
}
