package table

import "context"

// Identity is a word that is this store's alone, for as long as it lives: what lies in a folder beside it is known by that.
func (d *DB) Identity(ctx context.Context) (id string, err error) {
	err = d.row(ctx, d.SQL, "SELECT id FROM identity").Scan(&id)
	return id, err
}
