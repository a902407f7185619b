package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"serval/store/table"
)

//go:embed migration/*.sql
var migrations embed.FS

// ErrNewer says that a newer program has changed the tables.
var ErrNewer = errors.New("a newer program has written it")

// DB is the state in one database. It is safe for concurrent use, by many processes.
type DB struct {
	*table.DB
	db      *sql.DB
	silence silence
}

const (
	schema      = "serval"
	connections = 16              // of one process
	grace       = 3 * time.Second // how long a worker must have been silent before its piece is taken; see table.DB
	// migrating is the advisory lock that keeps programs that start together from making the tables twice: any number, but
	// always the same.
	migrating = 0x5e77a1
)

// Open connects to the database of a postgres:// URL, makes the schema and the tables if they are missing, and brings them up
// to what this program knows. Tables that a newer program has changed are refused. No error shows the URL, which may hold a
// password.
func Open(ctx context.Context, url string) (*DB, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("store: the URL is not one that PostgreSQL's clients take; write postgres://user:password@host:5432/database")
	}
	where := fmt.Sprintf("store %s:%d/%s", cfg.Host, cfg.Port, cfg.Database)
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	own := schema
	if given := cfg.RuntimeParams["search_path"]; given != "" {
		own, _, _ = strings.Cut(given, ",")
		own = strings.TrimSpace(own)
	} else {
		cfg.RuntimeParams["search_path"] = schema
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "serval"
	}
	// What is acknowledged is on the disk, whatever the database's default is.
	cfg.RuntimeParams["synchronous_commit"] = "on"
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	if err := migrate(ctx, db, own); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return &DB{DB: &table.DB{SQL: db, Grace: grace, Dialect: table.Dialect{
		Numbered: true, Lock: " FOR UPDATE", Now: "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)", Retry: inTheWay,
	}}, db: db}, nil
}

// Close gives the connections back.
func (d *DB) Close() error { return d.db.Close() }

// inTheWay says whether a transaction failed only because of others.
func inTheWay(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01") // serialization_failure, deadlock_detected
}

// migrate applies the migrations that the database has not seen, in the order of their numbers, in one transaction: the tables
// are as before, or as this program knows them.
func migrate(ctx context.Context, db *sql.DB, schema string) error {
	files, err := fs.Glob(migrations, "migration/*.sql")
	if err != nil {
		return err
	}
	slices.Sort(files)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", migrating); err != nil {
		return err
	}
	have, err := version(ctx, tx, schema)
	if err != nil {
		return err
	}
	if have > len(files) {
		return fmt.Errorf("%w (version %d, this one knows %d): start that program, or use another database", ErrNewer, have, len(files))
	}
	for i, f := range files {
		number, _, _ := strings.Cut(strings.TrimPrefix(f, "migration/"), "-")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			return fmt.Errorf("migration %s is out of order (this is a bug)", f)
		}
		if i < have {
			continue
		}
		text, err := migrations.ReadFile(f)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, string(text)); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	if have == len(files) {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "UPDATE serval_version SET version = $1", len(files)); err != nil {
		return err
	}
	return tx.Commit()
}

// version says how many migrations the database has seen.
func version(ctx context.Context, tx *sql.Tx, schema string) (have int, err error) {
	var there bool
	if err := tx.QueryRowContext(ctx, "SELECT to_regclass('serval_version') IS NOT NULL").Scan(&there); err != nil {
		return 0, err
	}
	if there {
		err := tx.QueryRowContext(ctx, "SELECT version FROM serval_version").Scan(&have)
		return have, err
	}
	// A role that may not make schemas may use one that is there.
	if err := tx.QueryRowContext(ctx, "SELECT to_regnamespace($1) IS NOT NULL", pgx.Identifier{schema}.Sanitize()).Scan(&there); err != nil {
		return 0, err
	}
	if !there {
		if _, err := tx.ExecContext(ctx, "CREATE SCHEMA "+pgx.Identifier{schema}.Sanitize()); err != nil {
			return 0, err
		}
	}
	if _, err := tx.ExecContext(ctx, "CREATE TABLE serval_version (version INTEGER NOT NULL)"); err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO serval_version (version) VALUES (0)")
	return 0, err
}
