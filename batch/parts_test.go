package batch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serval"
	"serval/batch"
	formats "serval/batch/all"
	"serval/store/sqlite"
)

// worker is a queue and a worker for it, as a server has them.
func worker(t *testing.T, h serval.Handler) (db *sqlite.DB) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	data := batch.NewData(batch.DataOptions{
		Places: func(string) batch.Locator { return batch.Files{} }, Formats: formats.Formats(), Dir: t.TempDir(), Queue: db,
		Model:  func(serval.Ref) (serval.ModelInfo, error) { return sumsModel, nil },
		As:     func(string) serval.Handler { return h },
		Digest: func(serval.ModelInfo) string { return "" },
	})
	w := batch.NewWorker(batch.WorkerOptions{
		Name: "w", Queue: db, Jobs: db, Runners: []batch.Runner{data}, Width: 3, Poll: 5 * time.Millisecond, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done; _ = db.Close() })
	return db
}

// do runs a job to its end.
func do(t *testing.T, db *sqlite.DB, s batch.DataSpec) *batch.Record {
	t.Helper()
	spec, _ := json.Marshal(s) // plain data
	r := &batch.Record{Tenant: "t", Kind: batch.DataKind, Priority: 5, Spec: spec}
	if _, err := db.Submit(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for {
		j, err := db.Job(t.Context(), "t", r.ID)
		if err != nil {
			t.Fatal(err)
		}
		if j.State.Ended() {
			return j
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// TestParts: a job that many workers share gives what one worker gives, byte for byte, whatever the formats and the bad rows are.
func TestParts(t *testing.T) {
	dir := t.TempDir()
	csv := table(t, "in.csv", 3000, func(i int) string {
		switch {
		case i%50 == 0:
			return fmt.Sprintf("row-%d,%d,x,1,\"two\nlines, \"\"and\"\" a bad number\"\n", i, i)
		case i > 1000 && i < 1600: // a part of nothing but bad rows
			return "short,1\n\n"
		case i%7 == 0:
			return fmt.Sprintf("row-%d,%d,2,3,\"two\nlines\"\n", i, i)
		}
		return ""
	})
	small := table(t, "small.csv", 10, nil)
	model := sums(func(first float32, _ int) error {
		if int(first)%100 == 7 {
			return serval.Errorf(serval.InvalidArgument, "%v is refused", first)
		}
		return nil
	})
	db := worker(t, model)
	ask := func(out string, parts int, in ...string) *batch.Record {
		return do(t, db, batch.DataSpec{Parts: parts, Job: batch.Job{Model: "sums", Input: in, Output: out, Map: map[string][]string{"x": {"a", "b", "c"}}, Rows: 37,
			OutputOptions: groups(out)}})
	}
	inputs := []string{csv}
	for _, ext := range []string{"jsonl", "parquet", "arrow"} { // the table without its bad rows, in other formats
		out := filepath.Join(dir, "in."+ext)
		j := do(t, db, batch.DataSpec{Job: batch.Job{Model: "sums", Input: []string{csv}, Output: out, Map: map[string][]string{"x": {"a", "b", "c"}}, Passthrough: []string{"all"},
			OutputOptions: groups(out)}})
		if j.State != batch.Succeeded {
			t.Fatal(j.Reason)
		}
		inputs = append(inputs, out)
	}
	for i, in := range inputs {
		for _, ext := range []string{"csv", "jsonl", "parquet", "arrow"} {
			one, many := filepath.Join(dir, fmt.Sprintf("one%d.%s", i, ext)), filepath.Join(dir, fmt.Sprintf("many%d.%s", i, ext))
			list := []string{small, in, small}
			if i > 0 {
				list = []string{in}
			}
			a, b := ask(one, 0, list...), ask(many, 7, list...)
			if a.State != batch.Succeeded || b.State != batch.Succeeded || a.Tally.Rows != b.Tally.Rows || b.Tally.Pieces < 3 || a.Tally.Bad == 0 && i == 0 {
				t.Fatalf("%s to %s: %s %s %+v, %s %s %+v", in, ext, a.State, a.Reason, a.Tally, b.State, b.Reason, b.Tally)
			}
			for _, suffix := range []string{"", batch.ErrorsSuffix} {
				x, errX := os.ReadFile(one + suffix)
				y, errY := os.ReadFile(many + suffix)
				if string(x) != string(y) || errors.Is(errX, os.ErrNotExist) != errors.Is(errY, os.ErrNotExist) {
					t.Errorf("%s to %s%s: %d parts give %d bytes, one gives %d (%v %v)", filepath.Base(in), ext, suffix, b.Tally.Pieces, len(y), len(x), errX, errY)
				}
			}
		}
	}
	limited := func(most string) *batch.Record {
		return do(t, db, batch.DataSpec{Parts: 7, Job: batch.Job{Model: "sums", Input: []string{csv}, Map: map[string][]string{"x": {"a", "b", "c"}}, MaxErrors: most}})
	}
	if j := limited("15%"); j.State != batch.Failed || !strings.Contains(j.Reason, "over the limit of 15%") {
		t.Errorf("too many bad rows: %s %s", j.State, j.Reason)
	}
	if j := limited("40%"); j.State != batch.Succeeded {
		t.Errorf("few bad rows: %s %s", j.State, j.Reason)
	}
	wrong := do(t, db, batch.DataSpec{Parts: 5, Job: batch.Job{Model: "sums", Input: []string{csv}, Map: map[string][]string{"x": {"id", "b", "c"}}}})
	if wrong.State != batch.Failed || !strings.Contains(wrong.Reason, "bad") {
		t.Errorf("nothing but bad rows: %s %s", wrong.State, wrong.Reason)
	}
}

// groups makes files of several row groups or record batches.
func groups(out string) map[string]string {
	switch filepath.Ext(out) {
	case ".parquet":
		return map[string]string{"row_group": "1000"}
	case ".arrow":
		return map[string]string{"rows": "100"}
	}
	return nil
}
