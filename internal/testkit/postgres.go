package testkit

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

// Database is a PostgreSQL server of one test.
type Database struct {
	Component
	URL  string // postgres://… of an empty database, for pgx and psql
	Port int
}

// Postgres makes a database in a folder of its own and starts the machine's PostgreSQL with it, on 127.0.0.1 and a free port;
// about a second. Kill and Start are a crash of the server: what was committed is there again.
func Postgres(t testing.TB) *Database {
	t.Helper()
	bin := postgresBin(t)
	dir, err := os.MkdirTemp("", "serval-postgres-") // not t.TempDir, which only root may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	as := unprivileged(t, dir)
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "serval", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions")
	initdb.SysProcAttr, initdb.Dir = as(), dir
	if said, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, said)
	}
	d := &Database{Port: Port(t)}
	d.URL = fmt.Sprintf("postgres://serval@127.0.0.1:%d/postgres?sslmode=disable", d.Port)
	d.Component = Component{t: t, name: "PostgreSQL", stop: syscall.SIGINT,
		line: func() *exec.Cmd {
			cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-h", "127.0.0.1", "-p", strconv.Itoa(d.Port),
				"-c", "wal_level=logical", "-c", "max_prepared_transactions=16")
			cmd.SysProcAttr, cmd.Dir = as(), dir
			return cmd
		},
		up: func() error { return d.ready(bin) },
	}
	d.keep()
	return d
}

// ready asks as pg_isready does; a server that recovers from a crash listens before it answers.
func (d *Database) ready(bin string) error {
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(d.Port)))
	if err != nil {
		return err
	}
	_ = c.Close()
	if err := exec.Command(filepath.Join(bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(d.Port), "-U", "serval", "-d", "postgres").Run(); err != nil {
		return fmt.Errorf("pg_isready: %w", err)
	}
	return nil
}

// postgresBin is the folder with initdb and postgres, which Debian keeps out of PATH.
func postgresBin(t testing.TB) string {
	t.Helper()
	if p, err := exec.LookPath("initdb"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			return filepath.Dir(p)
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		t.Fatal("there is no PostgreSQL server on this machine; test/setup.sh installs it, on Debian: apt-get install postgresql")
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1])
}

// unprivileged returns what to run PostgreSQL as, which refuses to run as root, and gives that user the folder.
func unprivileged(t testing.TB, dir string) func() *syscall.SysProcAttr {
	t.Helper()
	if os.Getuid() != 0 {
		return func() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			t.Fatal(err)
		}
	}
	uid, errU := strconv.ParseUint(u.Uid, 10, 32)
	gid, errG := strconv.ParseUint(u.Gid, 10, 32)
	if errU != nil || errG != nil {
		t.Fatalf("user %s has the ids %s:%s", u.Username, u.Uid, u.Gid)
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	return func() *syscall.SysProcAttr {
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
}
