package batch_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"serval/batch"
)

// TestCompressed reads the same table plain and compressed, undisturbed and resumed.
func TestCompressed(t *testing.T) {
	text := read(t, table(t, "in.csv", 9000, nil))
	want := ""
	for _, ending := range []string{"", ".gz", ".zst"} {
		in := filepath.Join(t.TempDir(), "in.csv"+ending)
		f, err := os.Create(in)
		if err != nil {
			t.Fatal(err)
		}
		w := io.WriteCloser(f)
		switch ending {
		case ".gz":
			w = gzip.NewWriter(f)
		case ".zst":
			if w, err = zstd.NewWriter(f); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_ = f.Close() // of the plain one: a second time
		out := filepath.Join(t.TempDir(), "out.csv")
		set := func() batch.Options {
			o := options(t, sums(nil), out, in)
			o.Job.Rows, o.Job.Parallel, o.Checkpoint = 100, 1, 1
			return o
		}
		stopAfter(t, set(), 40)
		done := 0.0
		o := set()
		o.Progress = func(p batch.Progress) { done = max(done, p.Done) }
		report, err := batch.Run(t.Context(), o)
		if err != nil || report.Resumed == 0 || report.Rows != 9000 {
			t.Fatalf("%s: %+v, %v", ending, report, err)
		}
		if done != 1 {
			t.Errorf("%s: done is %v at the end", ending, done)
		}
		if got := read(t, out); want == "" {
			want = got
		} else if got != want {
			t.Errorf("%s: another output", ending)
		}
	}
	bad := filepath.Join(t.TempDir(), "in.csv.gz")
	if err := os.WriteFile(bad, []byte("id,a,b,c\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := batch.Run(t.Context(), options(t, sums(nil), filepath.Join(t.TempDir(), "out.csv"), bad))
	if err == nil || !strings.Contains(err.Error(), "in.csv.gz cannot be decompressed") {
		t.Errorf("no gzip: %v", err)
	}
}

// TestFiles finds files by path, glob and folder.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.csv", "a.csv", "c.jsonl", ".hidden", "sub/d.csv"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for location, want := range map[string]string{
		"a.csv": "a.csv", "*.csv": "a.csv b.csv", "": "a.csv b.csv c.jsonl", "x.csv": "error", "*.txt": "error", "s3://bucket/x": "error", "sub": "d.csv",
	} {
		at := filepath.Join(dir, location)
		if strings.Contains(location, "://") {
			at = location
		}
		found, err := (batch.Files{}).Locate(t.Context(), at)
		var names []string
		for _, o := range found {
			names = append(names, filepath.Base(o.Name()))
			if o.Version() == "" || o.Size() < 1 {
				t.Errorf("%s: version %q, size %d", o.Name(), o.Version(), o.Size())
			}
		}
		if got := strings.Join(names, " "); err == nil && got != want || err != nil && want != "error" {
			t.Errorf("%q: %s, %v", location, got, err)
		}
	}
	for _, location := range []string{dir, filepath.Join(dir, "none", "x.csv"), "gs://x/y"} {
		if _, err := (batch.Files{}).Target(t.Context(), location); err == nil {
			t.Errorf("%s was taken as an output", location)
		}
	}
}
