package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"serval"
	"serval/stream"
)

// Broker is the plug-in. It is safe for concurrent use.
type Broker struct{}

var _ stream.Keeper = Broker{}

// New makes it.
func New() Broker { return Broker{} }

// Name is "postgres".
func (Broker) Name() string { return "postgres" }

// Keeps implements stream.Keeper.
func (Broker) Keeps() bool { return true }

// SourceOptions are none.
func (Broker) SourceOptions() any { return nil }

// TargetOptions are the defaults of what is written.
func (Broker) TargetOptions() any { return defaults() }

// TargetOptions say what is written, and where.
type TargetOptions struct {
	URL       string            `yaml:"url" doc:"the database, as postgres://user@host/database; the password also from PGPASSWORD or ~/.pgpass, or as ${NAME}"`
	Table     string            `yaml:"table" doc:"the table, which must exist; perhaps with its schema before a dot"`
	Columns   map[string]string `yaml:"columns" doc:"column → where its value is: a member of the result (score, or outputs.0.data.0), or $key, $value, $topic, $partition, $offset, $id, $time, $headers or $header.NAME; default: each column takes the member of its name, at the top or inside prediction; _key, _topic and so on are what $key and $topic are"`
	Key       []string          `yaml:"key" doc:"columns of a unique index: a row whose key is in the table takes its place; default: rows are only added"`
	Timeout   time.Duration     `yaml:"timeout" doc:"of one transaction"`
	Positions string            `yaml:"positions" doc:"with exactly-once: the table of positions, made where it is missing; that of ids has _ids behind its name"`
	Remember  time.Duration     `yaml:"remember" doc:"with exactly-once, where messages stand in no order: how long their ids are remembered"`
}

func defaults() *TargetOptions {
	return &TargetOptions{Timeout: time.Minute, Positions: "serval_positions", Remember: 7 * 24 * time.Hour}
}

func bad(field, format string, args ...any) error {
	return serval.Errorf(serval.InvalidArgument, "postgres: "+field+" "+format, args...).At(field)
}

// Check implements stream.Broker.
func (Broker) Check(options any) error {
	o, ok := options.(*TargetOptions)
	if !ok {
		return wrong(options)
	}
	if _, err := o.config(); err != nil {
		return err
	}
	switch {
	case o.Table == "":
		return bad("table", "is missing; name the table that rows are written to")
	case o.Positions == "":
		return bad("positions", "is empty; leave it out for serval_positions")
	case o.Timeout <= 0:
		return bad("timeout", "is %v; it must be above 0", o.Timeout)
	case o.Remember <= 0:
		return bad("remember", "is %v; it must be above 0", o.Remember)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Columns)) {
		if _, err := parseOrigin(o.Columns[name]); err != nil || name == "" {
			return bad("columns", "has %q: %q; %s", name, o.Columns[name], originHelp)
		}
	}
	for _, k := range o.Key {
		if _, ok := o.Columns[k]; len(o.Columns) > 0 && !ok {
			return bad("key", "names %q, which columns do not write", k)
		}
	}
	return nil
}

func (o *TargetOptions) config() (*pgx.ConnConfig, error) {
	if !strings.HasPrefix(o.URL, "postgres://") && !strings.HasPrefix(o.URL, "postgresql://") {
		return nil, bad("url", "must be like postgres://user@host/database")
	}
	c, err := pgx.ParseConfig(o.URL)
	if err != nil {
		text := "it cannot be read"
		if e := (*pgconn.ParseConfigError)(nil); errors.As(err, &e) { // its text quotes the URL, which may hold a password
			e.ConnString = ""
			text = strings.TrimPrefix(e.Error(), "cannot parse ``: ")
		}
		return nil, bad("url", "is wrong: %s", text)
	}
	c.RuntimeParams["application_name"] = "serval"
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 10 * time.Second
	}
	return c, nil
}

// Say names a place.
func (Broker) Say(options any) string {
	o, ok := options.(*TargetOptions)
	if !ok {
		return "postgres"
	}
	c, err := o.config()
	if err != nil {
		return "postgres " + o.Table
	}
	return fmt.Sprintf("postgres %s:%d/%s table %s", c.Host, c.Port, c.Database, o.Table)
}

// Source implements stream.Broker: there is none.
func (Broker) Source(context.Context, any, stream.Env) (stream.Source, error) {
	return nil, serval.Errorf(serval.Unimplemented, "tables are read by batch jobs, not by streams")
}

// Target writes to a table. That the server cannot be reached, or the table is not there, is no error yet: Write says so.
func (b Broker) Target(_ context.Context, options any, env stream.Env) (stream.Target, error) {
	if err := b.Check(options); err != nil {
		return nil, err
	}
	o := options.(*TargetOptions)
	c, err := o.config()
	if err != nil {
		return nil, err
	}
	return newTarget(o, c, env), nil
}

func wrong(options any) error {
	return fmt.Errorf("postgres: %T are not its options (this is a bug)", options)
}

// quote writes a name as SQL; a dot in a table's name is behind its schema.
func quote(name string, dotted bool) string {
	if schema, table, ok := strings.Cut(name, "."); ok && dotted {
		return pgx.Identifier{schema, table}.Sanitize()
	}
	return pgx.Identifier{name}.Sanitize()
}
