package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serval/store/storetest"
)

func open(t *testing.T, path string) *DB {
	t.Helper()
	d, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() storetest.Store {
		path := filepath.Join(t.TempDir(), "a folder", "state?.db")
		return func() storetest.Store {
			d := open(t, path)
			d.Grace = 0 // its tests have no worker who could be heard of
			if _, err := os.Stat(path); err != nil {
				t.Error("the file is not where it was asked for:", err)
			}
			return d
		}
	})
}

func TestClock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	var by atomic.Int64
	storetest.Clock(t, func() storetest.Store {
		d := open(t, path)
		d.Clock = func() time.Time { return time.Now().Add(time.Duration(by.Load())) }
		return d
	}, func(d time.Duration) { by.Add(int64(d)) })
}

func TestNewerFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	d := open(t, path)
	if _, err := d.db.ExecContext(t.Context(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	if _, err := Open(context.Background(), path); err == nil || !strings.Contains(err.Error(), "newer program") {
		t.Errorf("a file of a newer program: %v", err)
	}
}

func TestNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no database. ", 100)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is none: %v", err)
	}
}
