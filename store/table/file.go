package table

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"serval"
	"serval/protocol"
)

const fileColumns = "id, tenant, purpose, name, size, created, expires"

// PutFile adds one, and fills in when.
func (d *DB) PutFile(ctx context.Context, f *protocol.File) error {
	return d.within(ctx, func(tx *sql.Tx, now int64) error { return d.putFile(ctx, tx, f, now) })
}

func (d *DB) putFile(ctx context.Context, tx *sql.Tx, f *protocol.File, now int64) error {
	if f.Created.IsZero() {
		f.Created = at(now)
	}
	_, err := d.exec(ctx, tx, "INSERT INTO file ("+fileColumns+") VALUES (?, ?, ?, ?, ?, ?, ?)",
		f.ID, f.Tenant, f.Purpose, clean(f.Name), f.Size, micro(f.Created), micro(f.Expires))
	return err
}

// File returns one that has not expired; tenant "" may see all.
func (d *DB) File(ctx context.Context, tenant, id string) (*protocol.File, error) {
	if err := plain("file_id", id); err != nil {
		return nil, err
	}
	now, err := d.now(ctx)
	if err != nil {
		return nil, err
	}
	list, err := d.files(ctx, "WHERE id = ? AND (? = '' OR tenant = ?) AND (expires = 0 OR expires > ?)", id, tenant, tenant, now)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, noFile(id)
	}
	return list[0], nil
}

func noFile(id string) error {
	return serval.Errorf(serval.NotFound, "there is no file '%s'", id).At("file_id").Named("file_not_found")
}

func (d *DB) files(ctx context.Context, where string, args ...any) ([]*protocol.File, error) {
	var list []*protocol.File
	err := d.each(ctx, d.SQL, func(rows *sql.Rows) error {
		f := &protocol.File{}
		var created, expires int64
		err := rows.Scan(&f.ID, &f.Tenant, &f.Purpose, &f.Name, &f.Size, &created, &expires)
		f.Created, f.Expires = at(created), at(expires)
		list = append(list, f)
		return err
	}, "SELECT "+fileColumns+" FROM file "+where, args...)
	return list, err
}

// Files lists a tenant's that have not expired.
func (d *DB) Files(ctx context.Context, f protocol.FileFilter) ([]*protocol.File, error) {
	if err := plainAll("purpose", f.Purpose, "after", f.After); err != nil {
		return nil, err
	}
	now, err := d.now(ctx)
	if err != nil {
		return nil, err
	}
	where, args := []string{"tenant = ?", "(expires = 0 OR expires > ?)"}, []any{f.Tenant, now}
	if f.Purpose != "" {
		where, args = append(where, "purpose = ?"), append(args, f.Purpose)
	}
	order := "DESC"
	if f.Ascending {
		order = "ASC"
	}
	if f.After != "" {
		var created int64
		err := d.row(ctx, d.SQL, "SELECT created FROM file WHERE id = ? AND tenant = ?", f.After, f.Tenant).Scan(&created)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, serval.Errorf(serval.NotFound, "after: there is no file '%s'", f.After).At("after").Named("file_not_found")
		} else if err != nil {
			return nil, err
		}
		than := "<"
		if f.Ascending {
			than = ">"
		}
		where, args = append(where, "(created "+than+" ? OR created = ? AND id "+than+" ?)"), append(args, created, created, f.After)
	}
	return d.files(ctx, "WHERE "+strings.Join(where, " AND ")+" ORDER BY created "+order+", id "+order+" LIMIT ?", append(args, f.Limit)...)
}

// RemoveFile forgets one, or is a NotFound; tenant "" may remove any.
func (d *DB) RemoveFile(ctx context.Context, tenant, id string) error {
	if err := plain("file_id", id); err != nil {
		return err
	}
	n, err := d.exec(ctx, d.SQL, "DELETE FROM file WHERE id = ? AND (? = '' OR tenant = ?)", id, tenant, tenant)
	if err == nil && n == 0 {
		err = noFile(id)
	}
	return err
}

// ExpiredFiles are at most 100 whose time has passed.
func (d *DB) ExpiredFiles(ctx context.Context) ([]*protocol.File, error) {
	now, err := d.now(ctx)
	if err != nil {
		return nil, err
	}
	return d.files(ctx, "WHERE expires > 0 AND expires <= ? ORDER BY expires LIMIT 100", now)
}

// FileBytes is how large a tenant's files are together.
func (d *DB) FileBytes(ctx context.Context, tenant string) (n int64, err error) {
	err = d.row(ctx, d.SQL, "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM file WHERE tenant = ?", tenant).Scan(&n)
	return n, err
}
