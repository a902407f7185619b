package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serval/internal/testkit"
	"serval/protocol"
	"serval/store/storetest"
)

// of is a server's URL with a schema of one's own.
func of(t *testing.T, base, schema string) string {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func open(t *testing.T, url string) *DB {
	t.Helper()
	d, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestStore(t *testing.T) {
	server := testkit.Postgres(t)
	var n atomic.Int64
	storetest.Run(t, func(t *testing.T) func() storetest.Store {
		url := of(t, server.URL, fmt.Sprint("s", n.Add(1)))
		return func() storetest.Store {
			d := open(t, url)
			d.Grace = 0 // its tests have no worker who could be heard of
			return d
		}
	})
	t.Run("clock", func(t *testing.T) { clock(t, server.URL) })
	t.Run("together", func(t *testing.T) { together(t, server.URL) })
	t.Run("newer", func(t *testing.T) { newer(t, server.URL) })
	t.Run("claims", func(t *testing.T) { claims(t, server.URL) })
	t.Run("crash", func(t *testing.T) { crash(t, server) })
}

// clock: the server's own clock jumps.
func clock(t *testing.T, base string) {
	url, jump := jumping(t, base, "jumping")
	storetest.Clock(t, func() storetest.Store { return open(t, url) }, jump)
}

// jumping makes a schema in which the server's clock jumps, as far as anybody in it sees.
func jumping(t *testing.T, base, schema string) (url string, jump func(time.Duration)) {
	t.Helper()
	url = of(t, base, schema+",pg_catalog")
	d := open(t, url)
	for _, sql := range []string{"CREATE TABLE %[1]s.jump (by INTERVAL NOT NULL)", "INSERT INTO %[1]s.jump VALUES ('0')",
		"CREATE FUNCTION %[1]s.clock_timestamp() RETURNS TIMESTAMPTZ LANGUAGE sql VOLATILE AS 'SELECT pg_catalog.clock_timestamp() + by FROM %[1]s.jump'"} {
		if _, err := d.db.ExecContext(t.Context(), fmt.Sprintf(sql, schema)); err != nil {
			t.Fatal(err)
		}
	}
	return url, func(by time.Duration) {
		t.Helper()
		if _, err := d.db.ExecContext(t.Context(), "UPDATE "+schema+".jump SET by = by + make_interval(secs => $1)", by.Seconds()); err != nil {
			t.Fatal(err)
		}
	}
}

// together: programs that start at the same time make the tables once.
func together(t *testing.T, url string) {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			d, err := Open(t.Context(), url)
			if err != nil {
				t.Error(err)
				return
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var version int
	if err := open(t, url).db.QueryRowContext(t.Context(), "SELECT version FROM serval.serval_version").Scan(&version); err != nil || version < 2 {
		t.Errorf("version %d %v", version, err)
	}
}

func newer(t *testing.T, base string) {
	url := of(t, base, "newer")
	d := open(t, url)
	if _, err := d.db.ExecContext(t.Context(), "UPDATE serval_version SET version = 99"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), url); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "99") {
		t.Errorf("tables of a newer program: %v", err)
	}
}

// crash: what was acknowledged is there when PostgreSQL was killed and started again, and the connections are made anew.
func crash(t *testing.T, server *testkit.Database) {
	d := open(t, server.URL)
	id := storetest.Submitted(t, d)
	server.Kill()
	if _, err := d.Job(t.Context(), "", id); err == nil {
		t.Error("an answer without a server")
	}
	server.Start()
	j, err := d.Job(t.Context(), "", id)
	for try := 0; err != nil && try < 32; try++ { // connections that are dead are found one by one
		j, err = d.Job(t.Context(), "", id)
	}
	if err != nil || j.ID != id {
		t.Errorf("%+v %v", j, err)
	}
}

func TestURL(t *testing.T) {
	for _, url := range []string{"postgres://user:s3cret@[::1", "postgres://user:s3cret@127.0.0.1:1/x?sslmode=disable&connect_timeout=1"} {
		_, err := Open(context.Background(), url)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v", err)
		}
	}
}

// claims: one worker at a time has an open response, until its time is over and nothing was heard of it, or it lets go.
func claims(t *testing.T, base string) {
	url, jump := jumping(t, base, "claims")
	db := open(t, url)
	ctx := t.Context()
	if err := db.PutResponse(ctx, &protocol.Response{Tenant: "a", ID: "r", Created: time.Now().Unix(), Open: true, Body: []byte("{}"), Request: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	claim := func(id, worker string, lease time.Duration, want bool) {
		t.Helper()
		if ok, err := db.ClaimResponse(ctx, "a", id, worker, lease); err != nil || ok != want {
			t.Errorf("%s claims %s: %v %v", worker, id, ok, err)
		}
	}
	claim("none", "one", time.Hour, false)
	claim("r", "one", time.Hour, true)
	claim("r", "two", time.Hour, false)
	claim("r", "one", time.Hour, true)
	claim("r", "one", 0, true) // lets go
	claim("r", "two", time.Hour, true)
	claim("r", "one", time.Hour, false)

	// A worker that lives keeps it though the clock jumps; one that fell silent loses it, also where its claim ends in hours.
	const short = 400 * time.Millisecond
	claim("r", "two", 5*time.Minute, true)
	for _, by := range []time.Duration{2 * time.Hour, -3 * time.Hour} {
		jump(by)
		claim("r", "one", short, false)
		claim("r", "two", 5*time.Minute, true)
		jump(by)
		claim("r", "one", short, false)
		time.Sleep(short)
		claim("r", "one", short, true)
		claim("r", "two", short, false)
		claim("r", "one", 0, true)
		claim("r", "two", 5*time.Minute, true)
	}
	if ok, err := db.UpdateResponse(ctx, &protocol.Response{Tenant: "a", ID: "r", Body: []byte("{}")}); err != nil || !ok {
		t.Fatal(ok, err)
	}
	claim("r", "two", time.Hour, false)
}
