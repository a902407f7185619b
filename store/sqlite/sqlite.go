package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver" // registers the driver "sqlite3", as database/sql wants it

	"serval/store/table"
)

//go:embed migration/*.sql
var migrations embed.FS

// ErrNewer says that a newer program has changed the file.
var ErrNewer = errors.New("a newer program has written it")

// DB is the state in one file. It is safe for concurrent use; one process at a time writes, others wait.
type DB struct {
	*table.DB
	db *sql.DB
}

// Open opens the file, makes it if it is missing, and brings its tables up to what this program knows. A file that a newer
// program has changed is refused.
func Open(ctx context.Context, path string) (*DB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	query := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(on)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+query.Encode())
	if err != nil {
		return nil, fmt.Errorf("state %s: %w", path, err)
	}
	db.SetMaxOpenConns(4) // each has its own memory
	d := &DB{DB: &table.DB{SQL: db, Grace: grace}, db: db}
	if err := d.migrate(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("state %s: %w", path, err)
	}
	return d, nil
}

// grace is how long a worker must have been silent before its piece is taken; see table.DB.
const grace = 3 * time.Second

// Close closes the file.
func (d *DB) Close() error { return d.db.Close() }

// migrate applies the migrations that the file has not seen, each in one transaction, in the order of their numbers.
func (d *DB) migrate(ctx context.Context) error {
	files, err := migrations.ReadDir("migration")
	if err != nil {
		return err
	}
	slices.SortFunc(files, func(a, b os.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var have int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	if have > len(files) {
		return fmt.Errorf("%w (version %d, this one knows %d): start that program, or use another data folder", ErrNewer, have, len(files))
	}
	for i, f := range files {
		number, _, _ := strings.Cut(f.Name(), "-")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			return fmt.Errorf("migration %s is out of order (this is a bug)", f.Name())
		}
		if i < have {
			continue
		}
		text, err := migrations.ReadFile("migration/" + f.Name())
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, string(text)); err != nil {
			return fmt.Errorf("migration %s: %w", f.Name(), err)
		}
	}
	if _, err := tx.ExecContext(ctx, "PRAGMA user_version = "+strconv.Itoa(len(files))); err != nil {
		return err
	}
	return tx.Commit()
}
