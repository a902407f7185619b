package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval"
	"serval/protocol"
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

func TestResponses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a folder", "state?.db")
	d := open(t, path)
	ctx := t.Context()
	put := func(tenant, id string, open bool, body string) {
		t.Helper()
		if err := d.PutResponse(ctx, &protocol.Response{Tenant: tenant, ID: id, Created: 7, Open: open, Body: []byte(body), Request: []byte(`{"q":1}`)}); err != nil {
			t.Fatal(err)
		}
	}
	put("a", "old", false, "old")
	put("a", "r1", true, "one")
	change := func(id string, open bool, body string) bool {
		t.Helper()
		ok, err := d.UpdateResponse(ctx, &protocol.Response{Tenant: "a", ID: id, Open: open, Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !change("r1", true, "begun") || !change("r1", false, "two") || change("r1", false, "three") || change("none", false, "x") {
		t.Error("only what is open can be changed")
	}
	put("a", "r2", true, "open")
	put("b", "r1", false, "other")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("the file is not where it was asked for:", err)
	}
	d = open(t, path) // as after a restart
	r, err := d.Response(ctx, "a", "r1")
	if err != nil || string(r.Body) != "two" || r.Open || string(r.Request) != `{"q":1}` || r.Created != 7 {
		t.Errorf("%+v %v", r, err)
	}
	if err := d.PutResponse(ctx, &protocol.Response{Tenant: "a", ID: "new", Created: 7 + keep + 1, Open: true, Body: []byte("x"), Request: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Response(ctx, "a", "old"); err == nil {
		t.Error("what is too old is still there")
	}
	if err := d.DeleteResponse(ctx, "a", "new"); err != nil {
		t.Error(err)
	}
	list, err := d.OpenResponses(ctx)
	if err != nil || len(list) != 1 || list[0].ID != "r2" || list[0].Tenant != "a" {
		t.Errorf("open: %v %v", list, err)
	}
	var e *serval.Error
	if _, err := d.Response(ctx, "b", "r2"); !errors.As(err, &e) || e.Code != serval.NotFound {
		t.Errorf("another tenant's: %v", err)
	}
	if err := d.DeleteResponse(ctx, "b", "r1"); !errors.As(err, &e) || e.Code != serval.NotFound {
		t.Errorf("twice: %v", err)
	}
	if err := d.DeleteResponse(ctx, "a", "r2"); err != nil {
		t.Error(err)
	}
	if list, err := d.OpenResponses(ctx); err != nil || len(list) != 0 {
		t.Errorf("open: %v %v", list, err)
	}
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
