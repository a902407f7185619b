package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"serval/internal/testkit"
	"serval/internal/webhook"
)

// TestStreamTargets: one topic, and three streams that write what a model says of it into a table, exactly-once, into files, and to
// a web server, which verifies the signatures. All three have the same scores.
func TestStreamTargets(t *testing.T) {
	t.Parallel()
	const n, refused = 1000, 10 // rows, and how many of them the web server refuses
	b := newBus(t, testkit.Kafka(t), "targets")
	db := testkit.Postgres(t)
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, db.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(ctx, "CREATE TABLE scores (id int PRIMARY KEY, output__0 double precision, customer text, model text)"); err != nil {
		t.Fatal(err)
	}
	key := webhook.NewKey()
	hook := hooked(t, key, func(id int) bool { return id%(n/refused) == 5 })
	lake, file := t.TempDir(), filepath.Join(t.TempDir(), "serval.yaml")
	source := func(group string) string {
		return fmt.Sprintf("{kafka: {brokers: [%s], topics: [%s], group: %s, session_timeout: 6s, commit_interval: 100ms}}", b.k.Addr, b.in, b.in+group)
	}
	write(t, file, fmt.Sprintf(`streams:
  table:
    model: tree
    delivery: exactly-once
    source: %[1]s
    target: {postgres: {url: %[2]q, table: scores, key: [id], columns: {id: id, output__0: prediction.output__0, customer: $key, model: $header.serval-model}}}
    %[3]s
  lake:
    model: tree
    source: %[4]s
    target: {files: {path: %[5]q, format: jsonl, roll_every: 200ms}}
    %[3]s
  hook:
    model: tree
    source: %[6]s
    target: {webhook: {url: %[7]q, secret: "${TEST_WEBHOOK_SECRET}"}}
    dead_letter: {files: {path: %[5]q, format: jsonl}}
    %[3]s
log: {access: false}
`, source("t"), db.URL, rowsFormat, source("l"), lake+"/day={date}", source("w"), hook.URL+"/scores"))
	s := testkit.Serve(t, testkit.Options{Race: true, Models: streamModels(t), Args: []string{"--config", file}, Env: []string{"TEST_WEBHOOK_SECRET=" + key.Secret()}})
	b.send(t, records(0, n)...)
	for stream, want := range map[string]float64{"table": n, "lake": n, "hook": n - refused} {
		reaches(t, s, "serval_stream_written_total", want, `stream="`+stream+`"`)
	}
	reaches(t, s, "serval_stream_dead_letters_total", refused, `stream="hook"`, `code="invalid_argument"`)
	status := ask(t, "GET", "http://"+s.Admin+"/api/v1/streams/table", "")
	if !strings.Contains(status.body, `"exactly-once"`) {
		t.Errorf("its delivery: %s", status.body)
	}
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}

	scores := map[int]float64{}
	rows, err := conn.Query(ctx, "SELECT id, output__0, customer, model FROM scores")
	if err != nil {
		t.Fatal(err)
	}
	var id int
	var score float64
	var customer, model string
	if _, err := pgx.ForEachRow(rows, []any{&id, &score, &customer, &model}, func() error {
		if scores[id] = score; customer != fmt.Sprintf("customer-%d", id%97) || model != "tree" {
			t.Errorf("row %d is of %q by %q", id, customer, model)
		}
		return nil
	}); err != nil || len(scores) != n {
		t.Fatalf("%d rows in the table, %v", len(scores), err)
	}
	inFiles, dead := lakeScores(t, lake)
	same(t, "files", inFiles, scores, n)
	same(t, "web server", hook.scores, scores, n-refused)
	if len(dead) != refused {
		t.Errorf("%d dead letters in files", len(dead))
	}
	for _, reason := range dead {
		if !strings.Contains(reason, "answered 422: no thanks") {
			t.Errorf("a dead letter's reason is %q", reason)
		}
	}
}

func same(t *testing.T, where string, got, want map[int]float64, n int) {
	t.Helper()
	if len(got) != n {
		t.Errorf("%s: %d rows, not %d", where, len(got), n)
	}
	for id, score := range got {
		if score != want[id] {
			t.Errorf("%s: row %d has the score %v, not %v", where, id, score, want[id])
		}
	}
}

// hook is a web server that takes scores.
type hook struct {
	*httptest.Server
	scores map[int]float64
}

func hooked(t *testing.T, key webhook.Key, refuse func(id int) bool) *hook {
	h := &hook{scores: map[int]float64{}}
	var mu sync.Mutex
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var v struct {
			ID         int
			Prediction struct {
				Output0 float64 `json:"output__0"`
			}
		}
		if err := webhook.Verify(r.Header, body, time.Now(), key); err != nil {
			t.Error(err)
		}
		if err := json.Unmarshal(body, &v); err != nil || r.URL.Path != "/scores" {
			t.Errorf("%s: %s: %v", r.URL, body, err)
		}
		if refuse(v.ID) {
			http.Error(w, "no thanks", http.StatusUnprocessableEntity)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		h.scores[v.ID] = v.Prediction.Output0
	}))
	t.Cleanup(h.Close)
	return h
}

// lakeScores reads files of JSON lines: results, and the reasons of dead letters.
func lakeScores(t *testing.T, root string) (scores map[int]float64, dead map[int]string) {
	t.Helper()
	scores, dead = map[int]float64{}, map[int]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(raw)) {
			var v struct {
				ID         int
				Prediction struct {
					Output0 float64 `json:"output__0"`
				}
				Headers map[string]string `json:"_headers"`
			}
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if reason := v.Headers["serval-error"]; reason != "" {
				dead[v.ID] = reason
			} else {
				scores[v.ID] = v.Prediction.Output0
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return scores, dead
}
