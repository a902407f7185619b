//go:build hurt

package hurt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"serval"
	"serval/batch/parquet"
	"serval/internal/column/columntest"
	"serval/internal/testkit"
)

// TestTargets: streams whose results go to no broker. A server is killed again and again while messages flow to PostgreSQL, into a
// table that takes whatever is inserted, with exactly-once: none is lost and none is there twice; and to Parquet files: none is
// lost, and no file is half. A disk that is full for a while loses none.
func TestTargets(t *testing.T) {
	both(t, func(t *testing.T, b build) {
		t.Run("kills", func(t *testing.T) { killTargets(t, b, pick(b, 50_000, 10_000), pick(b, 10, 3)) })
		t.Run("full", func(t *testing.T) { fullTarget(t, b) })
	})
}

// topic is what a test's streams read, and who asks for it.
type topic struct {
	name  string
	addr  string
	admin *kadm.Client
}

func newTopic(t *testing.T) *topic {
	t.Helper()
	k := testkit.Kafka(t)
	in := &topic{name: "hurt" + strconv.FormatInt(time.Now().UnixNano(), 36), addr: k.Addr}
	k.Topic(t, in.name, 4)
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.Addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	in.admin = kadm.NewClient(cl)
	return in
}

// source is the section of a stream that reads the topic, with a group of its own.
func (in *topic) source(group string) string {
	return fmt.Sprintf("{kafka: {brokers: [%s], topics: [%s], group: %s, instance_id: one, session_timeout: 10s, commit_interval: 100ms}}", in.addr, in.name, in.name+group)
}

// send sends n rows, a hundredth of them at a time.
func (in *topic) send(ctx context.Context, t *testing.T, n int, pause time.Duration) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(in.addr), kgo.DefaultProduceTopic(in.name))
	if err != nil {
		t.Error(err)
		return
	}
	defer cl.Close()
	for i := 0; i < n; {
		var list []*kgo.Record
		for ; len(list) < n/100; i++ {
			list = append(list, &kgo.Record{Key: fmt.Appendf(nil, "k%d", i%97), Value: fmt.Appendf(nil, `{"id":%d,"c0":%d,"c1":1,"c2":-1,"c3":0.5,"c4":2,"c5":0}`, i, i%7)})
		}
		if err := cl.ProduceSync(ctx, list...).FirstErr(); err != nil {
			t.Error(err)
			return
		}
		time.Sleep(pause)
	}
}

// left is how many messages the group has not committed.
func (in *topic) left(ctx context.Context, t *testing.T, group string) (sum int64) {
	t.Helper()
	ends, err := in.admin.ListEndOffsets(ctx, in.name)
	if err != nil {
		t.Fatal(err)
	}
	have, err := in.admin.FetchOffsets(ctx, in.name+group)
	if err != nil {
		have = nil // the group is not there yet
	}
	ends.Each(func(o kadm.ListedOffset) {
		at := int64(0)
		if c, ok := have.Lookup(in.name, o.Partition); ok {
			at = max(c.At, 0)
		}
		sum += o.Offset - at
	})
	return sum
}

func treeModel(t *testing.T) string {
	t.Helper()
	models := t.TempDir()
	tree, err := os.ReadFile(filepath.Join(testkit.Root(), "engine", "tree", "testdata", "lgb_binary.txt"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(models, "tree", "1", "model.txt"), tree)
	return models
}

const rowsOfTree = "{rows: {columns: [c0, c1, c2, c3, c4, c5], pass: [id]}}"

func killTargets(t *testing.T, b build, n, kills int) {
	in, db := newTopic(t), testkit.Postgres(t)
	models, data, lake := treeModel(t), t.TempDir(), t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, db.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(ctx, "CREATE TABLE scores (id bigint, score double precision)"); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`streams:
  table:
    model: tree
    delivery: exactly-once
    source: %s
    target: {postgres: {url: %q, table: scores, columns: {id: id, score: prediction.output__0}}}
    format: %s
    max_in_flight: 1000
    on_error: drop
  lake:
    model: tree
    source: %s
    target: {files: {path: %q, roll_every: 300ms}}
    format: %[3]s
    max_in_flight: 4000
    on_error: drop
log: {access: false}
`, in.source("table"), db.URL, rowsOfTree, in.source("lake"), lake+"/hour={hour}")
	var sent sync.WaitGroup
	sent.Go(func() { in.send(ctx, t, n, 100*time.Millisecond) })
	rows := func() (count, distinct int64) {
		if err := conn.QueryRow(ctx, "SELECT count(*), count(DISTINCT id) FROM scores").Scan(&count, &distinct); err != nil {
			t.Fatal(err)
		}
		return count, distinct
	}
	done := func() bool { return in.left(ctx, t, "table") == 0 && in.left(ctx, t, "lake") == 0 }
	for range kills {
		s := start(t, b, setup{models: models, data: data, config: config})
		before, _ := rows()
		files, some := len(parquets(t, lake)), rand.Int64N(int64(n/(2*kills)))
		s.Await("some results", func() bool {
			now, _ := rows()
			return now > before+some && len(parquets(t, lake)) > files || done()
		})
		s.Kill()
		for _, name := range parquets(t, lake) {
			whole(t, name)
		}
	}
	s := start(t, b, setup{models: models, data: data, config: config})
	sent.Wait()
	s.Await("the end", done)
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	count, distinct := rows()
	t.Logf("PostgreSQL, exactly-once: %d messages, %d kills: %d lost, %d there twice", n, kills, int64(n)-distinct, count-distinct)
	if count != int64(n) || distinct != int64(n) {
		t.Errorf("%d rows, %d of them different, of %d messages", count, distinct, n)
	}
	seen, again := make([]bool, n), 0
	lost := n
	names := parquets(t, lake)
	for _, name := range names {
		for _, v := range columntest.Values(t, parquet.Format{}, name, nil, 8192, 0)["id"] {
			i, err := strconv.Atoi(v.(map[string]any)["int"].(string))
			switch {
			case err != nil || i < 0 || i >= n:
				t.Fatalf("an id is %v", v)
			case seen[i]:
				again++
			default:
				seen[i] = true
				lost--
			}
		}
	}
	t.Logf("Parquet, at-least-once: %d messages, %d kills: %d lost, %d there twice, in %d files", n, kills, lost, again, len(names))
	if lost > 0 {
		t.Errorf("%d of %d are lost", lost, n)
	}
	if left, err := filepath.Glob(lake + "/.serval/*/*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// parquets are the files that readers of a folder see.
func parquets(t *testing.T, root string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir() && d.Name() == ".serval":
			return fs.SkipDir
		case !d.IsDir():
			names = append(names, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// whole fails the test where a file is not complete.
func whole(t *testing.T, name string) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil || len(raw) < 12 || !bytes.HasPrefix(raw, []byte("PAR1")) || !bytes.HasSuffix(raw, []byte("PAR1")) {
		t.Errorf("%s is no whole file: %d bytes, %v", name, len(raw), err)
	}
}

// fullTarget fills the disk that files go to: the stream waits and says why, and goes on when there is room.
func fullTarget(t *testing.T, b build) {
	const n = 5000
	in, disk := newTopic(t), mount(t, "2m")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	fill(t, disk)
	s := start(t, b, setup{models: treeModel(t), config: fmt.Sprintf(`streams:
  lake:
    model: tree
    source: %s
    target: {files: {path: %q, format: jsonl, roll_every: 100ms}}
    format: %s
    retry: {min: 50ms, max: 200ms}
    on_error: drop
log: {access: false}
`, in.source("lake"), disk, rowsOfTree)})
	in.send(ctx, t, n, 0)
	status := func() (list []serval.StreamStatus) {
		a, err := get(once, "http://"+s.Admin+"/api/v1/streams")
		var body struct {
			Streams []struct{ State, Reason string }
		}
		if err != nil || json.Unmarshal(a.body, &body) != nil {
			t.Fatalf("%v %v", a, err)
		}
		for _, l := range body.Streams {
			list = append(list, serval.StreamStatus{State: serval.StreamState(l.State), Reason: l.Reason})
		}
		return list
	}
	s.Await("a word about the disk", func() bool {
		l := status()
		return len(l) == 1 && l[0].State == serval.StreamWaiting && strings.Contains(l[0].Reason, "the disk is full")
	})
	if got := in.left(ctx, t, "lake"); got != n {
		t.Errorf("%d of %d are acked, and not written", n-got, n)
	}
	if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
		t.Fatal(err)
	}
	s.Await("the end", func() bool { return in.left(ctx, t, "lake") == 0 })
	s.Term()
	ends(t, s, 30*time.Second, 0)
	seen := map[int]bool{}
	lines := 0
	for _, name := range parquets(t, disk) {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			var v struct{ ID int }
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatalf("%s: %q", name, line)
			}
			seen[v.ID] = true
			lines++
		}
	}
	t.Logf("full disk: %d messages: %d lost, %d there twice", n, n-len(seen), lines-len(seen))
	if len(seen) != n {
		t.Errorf("%d of %d are lost", n-len(seen), n)
	}
}
