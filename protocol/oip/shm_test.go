package oip

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"serval"
)

// testRegions has its shared memory in a folder of the test.
func testRegions(t *testing.T) (*regions, string) {
	t.Helper()
	r := newRegions()
	r.folder = t.TempDir()
	t.Cleanup(r.close)
	return r, r.folder
}

func writeObject(t *testing.T, folder, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRegionReadWrite(t *testing.T) {
	r, folder := testRegions(t)
	writeObject(t, folder, "in", []byte("0123456789"))
	if err := r.register("a", "/in", 2, 6); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 3)
	if err := r.read(got, "a", 1); err != nil || string(got) != "345" {
		t.Fatalf("read %q, %v", got, err)
	}
	if err := r.write([]byte("xy"), "a", 0, 4); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(filepath.Join(folder, "in")); string(data) != "01xy456789" {
		t.Fatalf("file holds %q", data)
	}
	list, err := r.status("")
	if err != nil || len(list) != 1 || list[0] != (regionStatus{"a", "/in", 2, 6}) {
		t.Fatalf("status %v, %v", list, err)
	}
	r.unregister("nobody")
	r.unregister("a")
	if _, err := r.status("a"); serval.AsError(err).Code != serval.NotFound {
		t.Fatalf("status after unregister: %v", err)
	}
}

func TestRegionRefusals(t *testing.T) {
	r, folder := testRegions(t)
	writeObject(t, folder, "in", make([]byte, 10))
	if err := os.Symlink("in", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, key    string
		offset, size uint64
		want         string
	}{
		{"a", "in", 0, 11, "which has 10 bytes"},
		{"a", "in", 11, 1, "which has 10 bytes"},
		{"a", "in", 5, math.MaxUint64, "which has 10 bytes"},
		{"a", "in", math.MaxUint64, 2, "which has 10 bytes"},
		{"a", "in", 0, 0, "at least 1"},
		{"", "in", 0, 1, "needs a name"},
		{"a", "", 0, 1, "shm_open"},
		{"a", "/", 0, 1, "shm_open"},
		{"a", "..", 0, 1, "shm_open"},
		{"a", "/../etc/passwd", 0, 1, "shm_open"},
		{"a", "//in", 0, 1, "shm_open"},
		{"a", "in\x00", 0, 1, "shm_open"},
		{"a", "link", 0, 1, "not a shared memory object"},
		{"a", "folder", 0, 1, "not a shared memory object"},
		{"a", "absent", 0, 1, "no object has the key"},
	} {
		err := r.register(c.name, c.key, c.offset, c.size)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("register(%q, %q, %d, %d) = %v, want %q", c.name, c.key, c.offset, c.size, err, c.want)
		}
	}
	if err := r.register("a", "in", 2, 8); err != nil {
		t.Fatal(err)
	}
	if err := r.register("a", "in", 0, 1); serval.AsError(err).Code != serval.Conflict {
		t.Errorf("second register: %v", err)
	}
	for _, c := range []struct{ offset, size uint64 }{{0, 9}, {9, 0}, {8, 1}, {math.MaxUint64, 1}, {1, math.MaxUint64}} {
		if err := r.check("a", c.offset, c.size); err == nil || !strings.Contains(err.Error(), "Invalid offset") {
			t.Errorf("check(%d, %d) = %v", c.offset, c.size, err)
		}
	}
	if err := r.write(make([]byte, 5), "a", 0, 4); err == nil || !strings.Contains(err.Error(), "takes 5 bytes") {
		t.Errorf("write of too much: %v", err)
	}
}

// A client that shrinks the object gets an error; a mapping would have ended the process.
func TestRegionShrunk(t *testing.T) {
	r, folder := testRegions(t)
	writeObject(t, folder, "in", make([]byte, 1<<20))
	if err := r.register("a", "in", 0, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(folder, "in"), 100); err != nil {
		t.Fatal(err)
	}
	if err := r.read(make([]byte, 1<<20), "a", 0); err == nil || !strings.Contains(err.Error(), "smaller") {
		t.Errorf("read: %v", err)
	}
	if err := r.write(make([]byte, 8), "a", 200, 8); err == nil {
		t.Error("write outside the object was taken")
	}
	if err := r.check("a", 0, 1<<20); err == nil {
		t.Error("check passed")
	}
}

func TestRegionUnregisterDuringReads(t *testing.T) {
	r, folder := testRegions(t)
	content := bytes.Repeat([]byte{7}, 1<<16)
	writeObject(t, folder, "in", content)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			buf := make([]byte, 1<<16)
			for range 200 {
				err := r.read(buf, "a", 0)
				if err != nil && serval.AsError(err).Code != serval.NotFound {
					t.Errorf("read: %v", err)
				}
				if err == nil && !bytes.Equal(buf, content) {
					t.Error("read other bytes")
				}
			}
		})
	}
	for range 100 {
		if err := r.register("a", "in", 0, 1<<16); err != nil {
			t.Error(err)
		}
		r.unregister("a")
	}
	wg.Wait()
}
