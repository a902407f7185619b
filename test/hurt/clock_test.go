//go:build hurt

package hurt

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	jobclient "serval/client"
	"serval/internal/testkit"
)

// TestClock: the wall clock of a server jumps by hours, ahead and back, while it works: nothing is lost, nothing is done twice that must
// not be, and nothing waits for the clock to come where it was.
func TestClock(t *testing.T) {
	for name, f := range map[string]func(*testing.T){
		"jobs": func(t *testing.T) { both(t, clockJobs) }, "nats": clockNATS, "responses": clockResponses, // which wait more than they work
		"at-least-once": func(t *testing.T) { clockStream(t, "at-least-once", 20_000) },
		"exactly-once":  func(t *testing.T) { clockStream(t, "exactly-once", 20_000) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t)
		})
	}
}

// clockJobs: two servers share the parts of a job. One's clock jumps, then the database's, and no part is taken from a server that lives.
// Then one is killed whose leases end in hours by the database's clock, and the other one ends the job.
func clockJobs(t *testing.T, b build) {
	const rows = 40_000
	dir := t.TempDir()
	models := filepath.Join(dir, "models")
	write(t, filepath.Join(models, "sums", "1", "model.fake"), []byte(jobsModel))
	in := filepath.Join(dir, "in.csv")
	jobsTable(t, in, rows)
	db := testkit.Postgres(t)
	config := fmt.Sprintf("store: %q\nbatch: {workers: 2, lease: 4s, dir: %q}\nlog: {access: false}\n", db.URL, filepath.Join(dir, "jobs"))
	one := start(t, b, setup{models: models, config: config})
	c := jobclient.New(one.Admin, "")
	t.Cleanup(c.Close)
	submit := func(output string, parts int) string {
		spec, _ := json.Marshal(map[string]any{"model": "sums", "input": []string{in}, "output": output, "map": map[string][]string{"x": {"a", "b"}},
			"passthrough": []string{"id", "note"}, "parts": parts, "rows": 16}) // plain data
		j, err := c.Submit(t.Context(), &jobclient.Submission{Job: spec})
		if err != nil {
			t.Fatal(err)
		}
		return j.ID
	}
	look := func(id string) *jobclient.Job {
		j, err := c.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	want, out := filepath.Join(dir, "want.csv"), filepath.Join(dir, "out.csv")
	id := submit(want, 4)
	one.Await("an undisturbed end", func() bool { return look(id).Over() })
	calm := look(id)
	two := start(t, b, setup{models: models, config: config})
	id = submit(out, 4)
	progress := int64(0)
	more := func() {
		t.Helper()
		one.Await("rows more", func() bool { j := look(id); return j.Over() || j.Progress.Rows > progress+500 })
		j := look(id)
		if progress = j.Progress.Rows; j.Over() {
			t.Fatalf("it ended too early: %+v", j)
		}
	}
	more()
	for _, jump := range []func(time.Duration){one.Jump, db.Jump} {
		jump(2 * time.Hour)
		more()
		jump(-3 * time.Hour)
		more()
	}
	if j := look(id); j.Progress.Attempts > calm.Progress.Attempts {
		t.Errorf("%d attempts after the jumps, of %d in a calm run: a part was taken from a server that lives", j.Progress.Attempts, calm.Progress.Attempts)
	}
	db.Jump(time.Hour) // to the true time; next, its leases are to end in three hours
	db.Jump(3 * time.Hour)
	more()
	db.Jump(-3 * time.Hour)
	two.Kill()
	killed := time.Now()
	one.Await("the end", func() bool { return look(id).Over() })
	end := look(id)
	if end.State != "succeeded" || end.Result.Rows != rows {
		t.Errorf("%+v", end)
	}
	t.Logf("%d attempts at %d parts; the end %v after the kill", end.Progress.Attempts, end.Progress.Pieces, time.Since(killed).Round(time.Second))
	for _, suffix := range []string{"", ".errors.jsonl"} {
		sameFile(t, out+suffix, want+suffix)
	}
}

// sane fails the test where a stream's metrics show what cannot be.
func sane(t *testing.T, s *testkit.Server, when string) {
	t.Helper()
	a, err := get(once, "http://"+s.Admin+"/metrics")
	if err != nil || a.status != 200 {
		t.Fatalf("metrics: %v %v", a, err)
	}
	for line := range strings.Lines(string(a.body)) {
		if !strings.HasPrefix(line, "serval_stream_") {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1:]), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			t.Errorf("%s: %s", when, line)
		}
	}
}

// clockStream: messages flow from Kafka to Kafka while the clock jumps.
func clockStream(t *testing.T, delivery string, n int) {
	k := testkit.Kafka(t)
	name := "clock" + strconv.FormatInt(time.Now().UnixNano(), 36)
	in, out := name+"-in", name+"-out"
	k.Topic(t, in, 4)
	k.Topic(t, out, 4)
	config := fmt.Sprintf(`streams:
  scores:
    model: tree
    delivery: %s
    source: {kafka: {brokers: [%[2]s], topics: [%[3]s], group: %[3]s, session_timeout: 10s, commit_interval: 100ms}}
    target: {kafka: {brokers: [%[2]s], topic: %[4]s}}
    format: {rows: {columns: [c0, c1, c2, c3, c4, c5], pass: [id]}}
    max_in_flight: 1000
    transaction: 50ms
    on_error: drop
log: {access: false}
`, delivery, k.Addr, in, out)
	s := start(t, build{}, setup{models: treeModel(t), config: config})
	client := func(opts ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(k.Addr))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	written := func() float64 { return count(t, s, "serval_stream_written_total{") }
	cl, sent := client(kgo.DefaultProduceTopic(in)), 0
	send := func(some int) {
		t.Helper()
		var list []*kgo.Record
		for ; len(list) < some; sent++ {
			list = append(list, &kgo.Record{Key: fmt.Appendf(nil, "k%d", sent%97), Value: fmt.Appendf(nil, `{"id":%d,"c0":%d,"c1":1,"c2":-1,"c3":0.5,"c4":2,"c5":0}`, sent, sent%7)})
		}
		if err := cl.ProduceSync(ctx, list...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	off := time.Duration(0)
	steps := []time.Duration{50 * time.Minute, -3 * time.Hour, 3*time.Hour + 30*time.Minute, -time.Hour, time.Minute}
	for _, d := range steps {
		send(n / len(steps) / 2)
		s.Jump(d) // in the middle of these
		send(n / len(steps) / 2)
		sane(t, s, fmt.Sprint("after a jump by ", d))
		if off += d; off > time.Hour {
			// A topic takes no message from more than an hour ahead: the stream waits, and says why, until the next jump.
			s.Await("the reason", func() bool {
				a, err := get(once, "http://"+s.Admin+"/api/v1/streams")
				return err == nil && contains(a.body, `"waiting"`, "clock") == nil
			})
			continue
		}
		s.Await(fmt.Sprintf("what was sent before and after a jump by %v (%v of %d)", d, written(), sent), func() bool { return written() >= float64(sent) })
		sane(t, s, fmt.Sprint("after a jump by ", d, " and all results"))
	}
	if dropped := count(t, s, "serval_stream_dropped_total{"); dropped != 0 {
		t.Errorf("%v messages were dropped", dropped)
	}
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	reader := client(kgo.ConsumeTopics(out), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	left := map[int32]int64{}
	ends, err := kadm.NewClient(reader).ListEndOffsets(ctx, out)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	seen, missing, again := make([]int, sent), sent, 0
	for len(left) > 0 {
		f := reader.PollFetches(ctx)
		if err := f.Err0(); err != nil {
			t.Fatal(err)
		}
		f.EachRecord(func(r *kgo.Record) {
			if end, ok := left[r.Partition]; ok && r.Offset >= end-1 {
				delete(left, r.Partition)
			}
			if r.Attrs.IsControl() {
				return
			}
			var v struct{ ID int }
			if err := json.Unmarshal(r.Value, &v); err != nil || v.ID < 0 || v.ID >= sent {
				t.Fatalf("a result is %s", r.Value)
			}
			if seen[v.ID]++; seen[v.ID] == 1 {
				missing--
			} else {
				again++
			}
		})
	}
	t.Logf("%s: %d messages, %d jumps: %d lost, %d came again", delivery, sent, len(steps), missing, again)
	if missing > 0 {
		t.Errorf("%d of %d are lost", missing, sent)
	}
	if again > 0 && delivery == "exactly-once" {
		t.Errorf("%d came again", again)
	}
}

// clockNATS: messages flow through the JetStream in the program, whose clock jumps with it. It is killed in between, and has the true
// time then: what was under way is as if given out hours from now.
func clockNATS(t *testing.T) {
	models, data := treeModel(t), t.TempDir()
	address := fmt.Sprintf("127.0.0.1:%d", testkit.Port(t))
	connection := `embedded: {listen: "` + address + `"}`
	o := setup{models: models, data: data, config: fmt.Sprintf(`streams:
  scores:
    model: tree
    source: {nats: {stream: applicants, ack_wait: 2s, %s}}
    target: {nats: {subject: scores, %[1]s}}
    dead_letter: {nats: {subject: dead, %[1]s}}
    format: {rows: {columns: [c0, c1, c2, c3, c4, c5], pass: [id]}}
    max_in_flight: 1000
log: {access: false}
`, connection)}
	s := start(t, build{}, o)
	js, has := jetStream(t, address)
	s.Await("its streams", func() bool { _, err := js.Stream(t.Context(), "applicants"); return err == nil })
	const n, poison = 20_000, 20
	acknowledged, sent, dead := make([]bool, n), 0, 0
	send := func() {
		t.Helper()
		publish(t, js, sent, sent+n/10, acknowledged)
		for range poison / 5 {
			if _, err := js.Publish(t.Context(), "applicants.k1", []byte("{not a row")); err != nil {
				t.Fatal(err)
			}
			dead++
		}
		sent += n / 10
	}
	settled := func(when string) {
		t.Helper()
		s.Await("all results "+when, func() bool { return has("scores") >= sent && has("dead") >= dead })
		sane(t, s, when)
	}
	for _, d := range []time.Duration{2 * time.Hour, -3 * time.Hour, time.Hour, 3 * time.Hour} {
		send()
		s.Jump(d)
		send()
		settled(fmt.Sprint("after a jump by ", d))
	}
	var flow sync.WaitGroup
	flow.Go(send)
	before := has("scores")
	s.Await("some results", func() bool { return has("scores") > before+100 })
	s.Kill()
	s = start(t, build{}, o) // three hours behind what its files say
	flow.Wait()
	send()
	settled("after a kill and a jump back")
	s.Await("the end", func() bool {
		return count(t, s, "serval_stream_in_flight_messages{") == 0 && count(t, s, "serval_stream_lag_messages{") == 0
	})
	check(t, js, n, acknowledged)
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// clockResponses: two servers share the responses that are answered in the background. Their clocks jump, and the database's; one is
// killed whose claims end in hours. Each response is answered.
func clockResponses(t *testing.T) {
	models := t.TempDir()
	if err := os.MkdirAll(filepath.Join(models, "chat", "1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(testkit.GGUF(t, "smollm2.gguf"), filepath.Join(models, "chat", "1", "model.gguf")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(models, "chat", "model.yaml"), []byte("threads: 1\ntext: {context: 1024, slots: 4}\n"))
	db := testkit.Postgres(t)
	config := fmt.Sprintf("store: %q\nlog: {access: false}\n", db.URL)
	db.Jump(3 * time.Hour)
	k := keeper{t: t, models: models, accepted: map[string]string{}, ended: map[string]string{}, c: client(t, 2*time.Minute)}
	one, two := start(t, build{}, setup{models: models, config: config}), start(t, build{}, setup{models: models, config: config})
	k.s = one
	take := func(s *testkit.Server, most int) {
		t.Helper()
		k.s = s
		text := fmt.Sprintf("Tell a story of the number %d.", len(k.accepted))
		r := k.must(k.send(fmt.Sprintf(`"input":%q,"max_output_tokens":%d,"background":true`, text, most)))
		k.accepted[r.ID] = text
	}
	for range 4 {
		take(one, 64)
		take(two, 64)
	}
	busy := func() (list []string) {
		k.s = one
		for id := range k.accepted {
			if got, _ := k.get(id); got.Status == "in_progress" {
				list = append(list, id)
			}
		}
		return list
	}
	one.Await("work", func() bool { return len(busy()) > 1 })
	one.Jump(2 * time.Hour)
	two.Jump(-3 * time.Hour)
	db.Jump(-3 * time.Hour)
	two.Kill()
	k.s = one
	k.settle()
	t.Logf("%d responses, answered", len(k.accepted))
}
