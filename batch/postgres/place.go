package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"serval"
	"serval/batch"
)

// Is says whether a location is one of a PostgreSQL database.
func Is(location string) bool {
	return strings.HasPrefix(location, "postgres://") || strings.HasPrefix(location, "postgresql://")
}

// Places is the batch.Locator of PostgreSQL's tables and queries. It keeps nothing, and is safe for concurrent use.
type Places struct {
	// Fixed says that options of the format must not name another table or query than the location does.
	Fixed bool
}

// place is a location, taken apart.
type place struct {
	config *pgx.ConnConfig
	table  string // perhaps with its schema before a dot
	query  string
	key    string
}

func parse(location, param string) (*place, error) {
	u, err := url.Parse(location)
	if err != nil || !Is(location) {
		return nil, serval.Errorf(serval.InvalidArgument, "write postgres://user@host/database?table=name, with & for what follows").At(param)
	}
	q := u.Query()
	p := &place{table: q.Get("table"), query: q.Get("query"), key: q.Get("key")}
	q.Del("table")
	q.Del("query")
	q.Del("key")
	u.RawQuery = q.Encode()
	if p.config, err = pgx.ParseConfig(u.String()); err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: its settings are wrong: %v", p.nameOf(u), hideSecrets(err)).At(param)
	}
	p.config.RuntimeParams["application_name"] = "serval"
	return p, nil
}

// hideSecrets keeps what pgx says of a setting, and leaves out the text of the location that it quotes.
func hideSecrets(err error) string {
	if e := (*pgconn.ParseConfigError)(nil); errors.As(err, &e) {
		e.ConnString = ""
		return strings.TrimPrefix(e.Error(), "cannot parse ``: ")
	}
	return "it cannot be read"
}

func (p *place) nameOf(u *url.URL) string { return "postgres://" + u.Host + u.Path }

// name is the database without secrets, and the table.
func (p *place) name() string {
	n := fmt.Sprintf("postgres://%s:%d/%s", p.config.Host, p.config.Port, p.config.Database)
	if p.table != "" {
		n += "/" + p.table
	}
	return n
}

// connect opens a connection.
func (p *place) connect(ctx context.Context, param string) (*pgx.Conn, error) {
	c, err := pgx.ConnectConfig(ctx, p.config)
	if err != nil {
		return nil, p.fault(err, param)
	}
	return c, nil
}

// fault says what the server refused.
func (p *place) fault(err error, param string) error {
	var own *serval.Error
	if err == nil || errors.As(err, &own) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return serval.Errorf(serval.Unavailable, "%s: the server cannot be reached, or the connection dropped", p.name()).At(param).Because(err)
	}
	code := serval.InvalidArgument
	switch e.Code[:2] {
	case "28", "42":
		if e.Code == "42501" || e.Code[:2] == "28" {
			code = serval.PermissionDenied
		}
	case "08", "53", "57", "58", "XX":
		code = serval.Unavailable
	}
	text := e.Message
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return serval.Errorf(code, "%s: PostgreSQL says: %s [%s]", p.name(), text, e.Code).At(param).Because(err)
}

// quote writes a table's or column's name as SQL; a dot in a table's name is behind its schema.
func quote(name string, dotted bool) string {
	if schema, table, ok := strings.Cut(name, "."); ok && dotted {
		return pgx.Identifier{schema, table}.Sanitize()
	}
	return pgx.Identifier{name}.Sanitize()
}

// Locate makes one Object of a table or a query. Nothing is asked of the server yet.
func (l Places) Locate(_ context.Context, location string) ([]batch.Object, error) {
	p, err := parse(location, "input")
	if err != nil {
		return nil, err
	}
	return []batch.Object{&Source{p, l.Fixed}}, nil
}

// Target is a table.
func (Places) Target(_ context.Context, location string) (batch.Target, error) {
	p, err := parse(location, "output")
	if err != nil {
		return nil, err
	}
	if p.table == "" || p.query != "" {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: name the table to write with table=", p.name()).At("output")
	}
	return &target{p}, nil
}

// Source is the rows of a table or a query, a batch.Object that only this package's Format reads.
type Source struct {
	*place
	fixed bool
}

// Name is the database without secrets.
func (s *Source) Name() string { return s.name() }

// Size is not known.
func (s *Source) Size() int64 { return -1 }

// Version is that of the question, not of the answer: rows that change between two runs of a job are read as they are then.
func (s *Source) Version() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{s.config.Host, strconv.Itoa(int(s.config.Port)), s.config.Database, s.table, s.query, s.key}, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// Open fails: there are no bytes.
func (s *Source) Open(context.Context, int64) (io.ReadCloser, error) {
	return nil, serval.Errorf(serval.InvalidArgument, "%s has rows, not bytes; use --input-format postgres", s.Name()).At("input_format")
}

// Format is this package's.
func (s *Source) Format() string { return Format{}.Name() }

// At is nil.
func (s *Source) At() io.ReaderAt { return nil }
