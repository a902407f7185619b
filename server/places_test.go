package server

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval"
	"serval/config"
	"serval/store/blob"
)

func code(err error) serval.Code {
	if err == nil {
		return 0
	}
	return serval.AsError(err).Code
}

// TestPlaces: who may read and write where, and nothing of what is refused shows a secret.
func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"in", "other", "alice"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "other"), filepath.Join(dir, "in", "link")); err != nil {
		t.Fatal(err)
	}
	p := newPlaces(&config.Batch{
		Files: []string{filepath.Join(dir, "in")},
		Places: []config.Place{
			{At: filepath.Join(dir, "alice"), Tenants: []string{"alice"}},
			{At: filepath.Join(dir, "in", "fixed")}, {At: filepath.Join(dir, "in", "own"), Tenants: []string{"alice"}, Write: true},
			{At: "s3://deep", Write: true}, {At: "s3://deep/er", AccessKey: "AK"}, {At: "s3://deep/er", Tenants: []string{"alice"}, Write: true},
			{At: "https://*/a/long/path/that/is/everybodys/wherever/it/may/be", Tenants: []string{"nobody"}},
			{At: "gs://rows/in"}, {At: "azblob://rows/out", Write: true, Tenants: []string{"alice"}, Account: "me", AccountKey: "hidden"},
			{At: "s3://rows/in/"}, {At: "s3://rows/out", Write: true, Tenants: []string{"alice"}, AccessKey: "AK", SecretKey: "hidden"},
			{At: "https://data.example.org/sets"}, {At: "http://*/", Tenants: []string{"bob"}},
			{At: "postgres://warehouse", URL: "postgres://u:hidden@db:5432/w?sslmode=disable", Tables: []string{"raw.*", "scores"}, Write: true},
			{At: "postgres://free", URL: "postgres://u:hidden@db:5432/f", Queries: true},
		},
	})
	defer p.close()
	const ok, denied, wrong = serval.Code(0), serval.PermissionDenied, serval.InvalidArgument
	for _, c := range []struct {
		tenant, at  string
		read, write serval.Code
	}{
		{"bob", dir + "/in/a.csv", ok, ok},
		{"bob", dir + "/in/../other/a.csv", wrong, wrong},
		{"bob", dir + "/in/link/a.csv", denied, denied},
		{"bob", dir + "/alice/a.csv", denied, denied},
		{"bob", dir + "/in/fixed/a.csv", ok, denied},
		{"bob", dir + "/in/own/a.csv", denied, denied},
		{"alice", dir + "/in/own/a.csv", ok, ok},
		{"bob", "s3://deep/a.csv", ok, ok},
		{"bob", "s3://deep/er/a.csv", ok, denied},
		{"alice", "s3://deep/er/a.csv", ok, ok},
		{"alice", "https://data.example.org/a/long/path/that/is/everybodys/wherever/it/may/be", denied, denied},
		{"alice", dir + "/alice/a.csv", ok, denied},
		{"alice", "in/a.csv", wrong, wrong},
		{"bob", "s3://rows/in/a.csv", ok, denied},
		{"bob", "s3://rows/in/*.csv", ok, denied},
		{"bob", "s3://rows/in*", denied, denied},
		{"bob", "s3://rows/in/../secret", wrong, wrong},
		{"bob", "gs://rows/in/a.csv", ok, denied},
		{"bob", "gs://rows/out/a.csv", denied, denied},
		{"bob", "gs://rows/in/a.csv?endpoint=http://169.254.169.254", wrong, wrong},
		{"bob", "azblob://rows/in/a.csv", denied, denied},
		{"bob", "azblob://rows/out/a.csv", denied, denied},
		{"alice", "AZBLOB://rows/out/a.csv", ok, ok},
		{"alice", "azblob://rows/out/../in/a.csv", wrong, wrong},
		{"alice", "azblob://rows/out/a.csv?account=other", wrong, wrong},
		{"alice", "azblob://rows/out/a.csv?a=b&anonymous=true", wrong, wrong},
		{"bob", "s3://rows/inside/a.csv", denied, denied},
		{"bob", "s3://rowsmore/in/a.csv", denied, denied},
		{"bob", "s3://rows/out/a.csv", denied, denied},
		{"alice", "s3://rows/out/a.csv", ok, ok},
		{"alice", "s3://rows/in/a.csv?endpoint=http://169.254.169.254", wrong, wrong},
		{"alice", "s3://rows/in/a.csv?anonymous=true", wrong, wrong},
		{"alice", "https://data.example.org/sets/a.csv?signature=x", ok, denied},
		{"alice", "https://DATA.example.org:443/sets/a.csv", ok, denied},
		{"alice", "https://data.example.org:8443/sets/a.csv", denied, denied},
		{"alice", "http://data.example.org/sets/a.csv", denied, denied},
		{"alice", "https://data.example.org/setsmore", denied, denied},
		{"alice", "https://data.example.org/sets/../x", wrong, wrong},
		{"alice", "https://data.example.org/sets/%2e%2e/x", wrong, wrong},
		{"alice", "https://data.example.org/sets%2fx", wrong, wrong},
		{"alice", "https://u:p@data.example.org/sets/x", wrong, wrong},
		{"alice", "https://data.example.org@evil.example/sets/x", wrong, wrong},
		{"bob", "http://any.example/x", ok, denied},
		{"alice", "ftp://data.example.org/sets/x", wrong, wrong},
		{"alice", "file:///etc/passwd", wrong, wrong},
		{"alice", "postgres://warehouse?table=scores", ok, ok},
		{"alice", "postgres://warehouse2?table=scores", denied, denied},
		{"alice", "postgres://u:p@warehouse/w?table=scores", wrong, wrong},
	} {
		r := &reach{p, c.tenant}
		_, read := r.rule(c.at, false)
		_, write := r.rule(c.at, true)
		if code(read) != c.read || code(write) != c.write {
			t.Errorf("%s %s: read %v, write %v", c.tenant, c.at, read, write)
		}
		if s := serval.AsError(read); read != nil && strings.Contains(s.Message, "hidden") {
			t.Error(s.Message)
		}
	}
}

// TestPlaceDatabase: a job names a database by its name, and what it must not say is refused.
func TestPlaceDatabase(t *testing.T) {
	r := &rule{rest: "warehouse", Place: config.Place{URL: "postgres://u:hidden@db:5432/w?sslmode=disable", Tables: []string{"raw.*", "scores"}}}
	at, err := r.database("postgres://warehouse?table=raw.rows&key=id", "input")
	if u, _ := url.Parse(at); err != nil || u.Host != "db:5432" || u.Query().Get("sslmode") != "disable" || u.Query().Get("table") != "raw.rows" || u.Query().Get("key") != "id" {
		t.Error(at, err)
	}
	for _, bad := range []string{"?table=users", "?query=SELECT+1", "?table=scores&sslmode=require", "?table=scores&host=10.0.0.1", "?table=scores&options=-c%20role%3Dx"} {
		if _, err := r.database("postgres://warehouse"+bad, "input"); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	r.Queries = true
	if _, err := r.database("postgres://warehouse?query=SELECT+1", "input"); err != nil {
		t.Error(err)
	}
}

// TestAllowedAddresses: what a job's request may reach, whatever name led there.
func TestAllowedAddresses(t *testing.T) {
	for address, want := range map[string][2]bool{ // public, private
		"93.184.216.34:443": {true, true}, "[2606:4700::1]:443": {true, true}, "[64:ff9b::5db8:d822]:443": {true, true},
		"127.0.0.1:80": {false, true}, "[::1]:80": {false, true}, "10.1.2.3:80": {false, true}, "192.168.1.1:80": {false, true}, "[fd12::1]:80": {false, true},
		"100.64.1.1:80": {false, true}, "[::ffff:10.0.0.1]:80": {false, true}, "[64:ff9b::a00:1]:80": {false, true},
		"169.254.169.254:80": {false, false}, "[::ffff:169.254.169.254]:80": {false, false}, "[fd00:ec2::254]:80": {false, false}, "[fe80::1%eth0]:80": {false, false},
		"100.100.100.200:80": {false, false}, "[64:ff9b::a9fe:a9fe]:80": {false, false}, "0.0.0.0:80": {false, false}, "[::]:80": {false, false}, "224.0.0.1:80": {false, false},
	} {
		if got := [2]bool{allowed(address, false) == nil, allowed(address, true) == nil}; got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

// TestPlaceRedirects: a web server that may be asked cannot send a job to one that may not.
func TestPlaceRedirects(t *testing.T) {
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("secret")) }))
	defer inner.Close()
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/sets/inner":
			http.Redirect(w, r, inner.URL+"/x", http.StatusFound)
		case "/sets/up":
			http.Redirect(w, r, "/private", http.StatusFound)
		case "/sets/on":
			http.Redirect(w, r, "/sets/rows.csv", http.StatusFound)
		default:
			_, _ = w.Write([]byte("a\n1\n"))
		}
	}))
	defer outer.Close()
	p := newPlaces(&config.Batch{Places: []config.Place{{At: outer.URL + "/sets", Private: true}}})
	defer p.close()
	for path, want := range map[string]serval.Code{"rows.csv": 0, "on": 0, "inner": serval.PermissionDenied, "up": serval.PermissionDenied} {
		if _, err := p.of("a").Locate(t.Context(), outer.URL+"/sets/"+path); code(err) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	closed := newPlaces(&config.Batch{Places: []config.Place{{At: outer.URL + "/sets"}}})
	defer closed.close()
	if _, err := closed.of("a").Locate(t.Context(), outer.URL+"/sets/rows.csv"); code(err) != serval.PermissionDenied || !strings.Contains(err.Error(), "private: true") {
		t.Errorf("a server of this machine: %v", err)
	}
}

// FuzzPlaces: whatever a job names, what is let through lies below a rule, as the stores and clients behind it will read it.
func FuzzPlaces(f *testing.F) {
	p := newPlaces(&config.Batch{Places: []config.Place{{At: "s3://rows/in/"}, {At: "gs://rows/in"}, {At: "azblob://rows/in"}, {At: "https://data.example.org/sets"},
		{At: "postgres://warehouse", URL: "postgres://u:hidden@db:5432/w", Tables: []string{"raw.*"}}}})
	f.Cleanup(func() { _ = p.close() })
	for _, s := range []string{"s3://rows/in/a*/[b].csv", "s3://rows/in/../x", "https://data.example.org/sets/a?x=/../y", "https://data.example.org:443/sets/%2e%2e/x", "https://data.example.org\\@evil/sets/x",
		"postgres://warehouse?table=raw.x&table=users", "postgres://warehouse/?table=raw.x;options=x", "HTTPS://DATA.example.org/sets/x", "S3://rows/in/x", "gs://rows/in/x?anonymous=true", "azblob://rows/in/x?account=o"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, location string) {
		r := &reach{p, "a"}
		in, err := r.rule(location, false)
		if err != nil || in.kind == "" {
			return
		}
		switch in.kind {
		case "s3", "gs", "azblob":
			bucket, key, _ := strings.Cut(location[len(in.kind+"://"):], "/")
			if _, at := blob.Settings(location); at >= 0 {
				t.Errorf("%q was taken, with settings", location)
			}
			if bucket != "rows" || key != "in" && !strings.HasPrefix(key, "in/") || strings.Contains(key+"/", "../") {
				t.Errorf("%q was taken", location)
			}
		case "https":
			req, err := http.NewRequest(http.MethodGet, location, nil)
			if err != nil {
				return
			}
			if host := strings.ToLower(req.URL.Hostname()); host != "data.example.org" || req.URL.Port() != "" && req.URL.Port() != "443" || !strings.HasPrefix(req.URL.RequestURI()+"/", "/sets/") && !strings.HasPrefix(req.URL.RequestURI(), "/sets?") {
				t.Errorf("%q was taken: %s %s", location, host, req.URL.RequestURI())
			}
		case "postgres":
			at, err := in.database(location, "input")
			if err != nil {
				if strings.Contains(err.Error(), "hidden") {
					t.Error(err)
				}
				return
			}
			u, err := url.Parse(at)
			if err != nil || u.Host != "db:5432" || u.Path != "/w" {
				t.Fatalf("%q leads to %q", location, at)
			}
			if table := u.Query().Get("table"); table != "" && !strings.HasPrefix(table, "raw.") || u.Query().Get("query") != "" || len(u.Query()["table"]) > 1 {
				t.Errorf("%q reads %v", location, u.Query())
			}
		}
	})
}
