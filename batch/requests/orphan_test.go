package requests_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"serval/batch/requests"
)

// age makes everything below a folder three days old.
func age(t *testing.T, dir string) {
	t.Helper()
	old := time.Now().Add(-72 * time.Hour)
	if err := filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, old, old)
	}); err != nil {
		t.Fatal(err)
	}
}

// TestSharedFolder: two stores over one folder leave each other's files and batches alone, and each removes what its own kills left.
func TestSharedFolder(t *testing.T) {
	shared := t.TempDir()
	here := func(o *requests.Options, f *requests.FilesOptions) {
		o.Dir, f.Dir = filepath.Join(shared, "batches"), shared
	}
	one := newRig(t, t.TempDir(), 0, nil, here)
	file := one.upload("m")
	open := one.begin(file)
	owner, err := one.db.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string) string {
		path := filepath.Join(shared, name)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// What a kill leaves: bytes and a note; a note whose row came after all; a batch without a row.
	orphan, note, late := put("file-orphan"), put(".pending-"+owner+"-file-orphan"), put(".pending-"+owner+"-"+file.ID)
	half := filepath.Join(shared, "batches", "batch_half")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	put("batches/batch_half/owner")
	if err := os.WriteFile(filepath.Join(half, "owner"), []byte(owner), 0o600); err != nil {
		t.Fatal(err)
	}
	one.stop()
	age(t, shared)
	there := func(paths ...string) (n int) {
		for _, p := range paths {
			if _, err := os.Stat(p); err == nil {
				n++
			}
		}
		return n
	}
	mine := []string{filepath.Join(shared, file.ID), filepath.Join(shared, "batches", open.ID, "input")}
	rest := []string{orphan, note, late, half}
	stray := put(".upload-1") // it goes at the end of a sweep's pass over what begins with a dot: any server's
	age(t, shared)
	two := newRig(t, t.TempDir(), 0, nil, here)
	gone := func(paths ...string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); there(paths...) > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d of %v are still there", there(paths...), paths)
			}
		}
	}
	gone(stray)
	two.stop() // its sweep is whole
	if there(mine...) != 2 || there(rest...) != 4 {
		t.Errorf("another store's server left %d of 2 and %d of 4", there(mine...), there(rest...))
	}
	one = newRig(t, one.dir, 0, nil, here)
	gone(rest...)
	one.stop()
	if there(mine...) != 2 {
		t.Errorf("its own server left %d of 2", there(mine...))
	}
}
