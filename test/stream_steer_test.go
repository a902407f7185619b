package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"serval/config"
	"serval/internal/testkit"
)

// section is a stream named scores from in to out, as it stands below its name.
func (b *bus) section(more ...string) string {
	return fmt.Sprintf(`    model: tree
    source: {kafka: {brokers: ["${SERVAL_STREAM_KAFKA}"], topics: [%[1]s], group: %[1]s, session_timeout: 6s, commit_interval: 100ms}}
    target: {kafka: {brokers: ["${SERVAL_STREAM_KAFKA}"], topic: %[2]s}}
    dead_letter: {kafka: {brokers: ["${SERVAL_STREAM_KAFKA}"], topic: %[3]s}}
    retry: {min: 10ms, max: 200ms}
    %[4]s
`, b.in, b.out, b.dead, strings.Join(append([]string{rowsFormat}, more...), "\n    "))
}

// applied writes a file for 'serval stream apply'.
func (b *bus) applied(t *testing.T, name string, more ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "streams.yaml")
	write(t, file, "streams:\n  "+name+":\n"+b.section(more...))
	return file
}

// steered is a server whose streams are made at run time, beside those of its configuration.
func (b *bus) steered(t *testing.T, models, data, streams string) *testkit.Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "serval.yaml")
	write(t, file, "log: {access: false}\n"+streams)
	return testkit.Serve(t, testkit.Options{Race: true, Models: models, Data: data, Args: []string{"--config", file}, Env: []string{"SERVAL_STREAM_KAFKA=" + b.k.Addr, "PRIVATE=secret"}})
}

// stream runs a sub-command of 'serval stream' and checks its exit code and what it says.
func stream(t *testing.T, s *testkit.Server, code int, want string, args ...string) string {
	t.Helper()
	out, errs, got := testkit.Run(t.Context(), t, append([]string{"stream"}, append(args, "--admin", s.Admin)...)...)
	if !strings.Contains(out+errs, want) || got != code {
		t.Errorf("stream %v: exit code %d: %s%s; it must be %d and say %q", args, got, out, errs, code, want)
	}
	return out
}

// becomes waits until the stream scores is in a state.
func becomes(t *testing.T, s *testkit.Server, state string) {
	t.Helper()
	s.Await("state "+state, func() bool {
		return strings.Contains(ask(t, "GET", "http://"+s.Admin+"/api/v1/streams/scores", "").body, `"state":"`+state+`"`)
	})
}

// TestStreamSteered: streams are made, changed and deleted while the server runs and messages flow; nothing is lost, and it all
// lasts over a restart.
func TestStreamSteered(t *testing.T) {
	t.Parallel()
	const n = 6000
	b := newBus(t, testkit.Kafka(t), "steered")
	models, data := streamModels(t), t.TempDir()
	s := b.steered(t, models, data, "")
	stream(t, s, 0, "scores  would be created", "apply", "-f", b.applied(t, "scores"), "--dry-run")
	stream(t, s, 0, "[]", "list", "-o", "json")
	stream(t, s, 0, "scores  created", "apply", "-f", b.applied(t, "scores"))
	stream(t, s, 0, "scores  unchanged", "apply", "-f", b.applied(t, "scores"))
	stream(t, s, 0, "${SERVAL_STREAM_KAFKA}", "definition", "scores")
	var sent sync.WaitGroup
	sent.Go(func() {
		for i := 0; i < n; i += 200 {
			b.send(t, records(i, i+200)...)
			time.Sleep(20 * time.Millisecond)
		}
	})
	for i, more := range []string{"max_in_flight: 100", "calls: 3", "delivery: exactly-once", "max_in_flight: 200"} {
		reaches(t, s, "serval_stream_written_total", 50)
		if got := stream(t, s, 0, `"replaced"`, "apply", "-f", b.applied(t, "scores", more), "-o", "json"); !strings.Contains(got, `"change": "replaced"`) {
			t.Errorf("change %d: %s", i, got)
		}
	}
	sent.Wait()
	s.Await("an end", func() bool { return b.done(t) })
	again, _ := tally(t, b.all(t, b.out), n)
	if t.Logf("%d of %d came again", again, n); again > 0 {
		t.Errorf("%d of %d came again though each stream finished what was under way", again, n)
	}

	stream(t, s, 0, "", "pause", "scores")
	becomes(t, s, "paused")
	s.Kill()
	b.send(t, records(0, 100)...)
	s = b.steered(t, models, data, "")
	becomes(t, s, "paused")
	reaches(t, s, "serval_stream_lag_messages", 100)
	stream(t, s, 0, "", "resume", "scores")
	becomes(t, s, "running")
	s.Await("an end", func() bool { return b.done(t) })
	if got := len(b.all(t, b.out)); got != n+100 {
		t.Errorf("%d results; the group's positions are those of before", got)
	}
	s.Term()
	s.Wait(time.Minute)

	// What the file names wins.
	s = b.steered(t, models, data, "streams:\n  scores:\n"+b.section("paused: true"))
	becomes(t, s, "paused")
	stream(t, s, 1, "serval.yaml", "delete", "scores")
	stream(t, s, 1, "serval.yaml", "apply", "-f", b.applied(t, "scores"))
	s.Kill()

	s = b.steered(t, models, data, "")
	stream(t, s, 0, "scores  deleted", "delete", "scores")
	stream(t, s, 1, "there is no stream 'scores'", "status", "scores")
	s.Kill()
	s = b.steered(t, models, data, "")
	stream(t, s, 0, "[]", "list", "-o", "json")
}

// TestStreamRefused: a stream that is wrong is refused whole, with the field's name and place, and changes nothing.
func TestStreamRefused(t *testing.T) {
	t.Parallel()
	b := newBus(t, testkit.Kafka(t), "refused")
	s := b.steered(t, streamModels(t), "", "")
	stream(t, s, 0, "created", "apply", "-f", b.applied(t, "one"))
	for more, want := range map[string]string{
		"calls: many":     "streams.yaml:9:12: streams.two.calls",
		"cals: 3":         "calls",
		"max_message: -1": "streams.two.max_message",
	} {
		file := b.applied(t, "one", "priority: 3")
		raw, _ := os.ReadFile(b.applied(t, "two", more))
		good, _ := os.ReadFile(file)
		write(t, file, string(good)+strings.TrimPrefix(string(raw), "streams:\n"))
		want = strings.Replace(want, ":9:", fmt.Sprintf(":%d:", strings.Count(string(good), "\n")+8), 1)
		stream(t, s, 1, want, "apply", "-f", file)
	}
	put := func(body, want string, status int) {
		t.Helper()
		a := ask(t, "PUT", "http://"+s.Admin+"/api/v1/streams/two", body)
		if a.code != status || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s; it must be %d and say %q", body, a.code, a.body, status, want)
		}
	}
	kafka := func(more string) string {
		return `{"model": "tree", "format": "raw", "source": {"kafka": {"brokers": ["a:1"], "topics": ["t"], "group": "g"}}, "target": {"kafka": {"brokers": ["a:1"]` + more + `}}}`
	}
	put(kafka(``), `"param":"streams.two.target.kafka.topic"`, 400)
	put(kafka(`, "topic": "${PRIVATE}"`), "SERVAL_STREAM_", 400)
	put(kafka(`, "topic": "x", "topic": "y"`), "given twice", 400)
	put(``, "is empty", 400)
	put(`[`, "not valid YAML", 400)
	put(kafka(`, "topic": "x"`)[:40], "not valid YAML", 400)
	if a := ask(t, "POST", "http://"+s.Admin+"/api/v1/streams", "streams: {one: {model: tree}}"); a.code != 400 {
		t.Errorf("%d %s", a.code, a.body)
	}
	raw, _ := os.ReadFile(b.applied(t, "one"))
	if a := ask(t, "POST", "http://"+s.Admin+"/api/v1/streams", string(raw)); a.code != 409 || !strings.Contains(a.body, "replace") {
		t.Errorf("%d %s", a.code, a.body)
	}
	if a := ask(t, "PUT", "http://"+s.Admin+"/api/v1/streams/a%20b", kafka(`, "topic": "x"`)); a.code != 400 {
		t.Errorf("%d %s", a.code, a.body)
	}
	var list []struct{ Name, State string }
	if err := json.Unmarshal([]byte(stream(t, s, 0, "one", "list", "-o", "json")), &list); err != nil || len(list) != 1 {
		t.Errorf("%v %v", list, err)
	}
	put(kafka(`, "topic": "x"`), `"change":"created"`, 201)
	put(kafka(`, "topic": "x"`), `"change":"unchanged"`, 200)
	put(kafka(`, "topic": "y"`), `"change":"replaced"`, 200)
	if a := ask(t, "DELETE", "http://"+s.Admin+"/api/v1/streams/two?dry_run=true", ""); a.code != 200 || !strings.Contains(a.body, `"dry_run":true`) {
		t.Errorf("%d %s", a.code, a.body)
	}
	if a := ask(t, "DELETE", "http://"+s.Admin+"/api/v1/streams/two", ""); a.code != 200 || !strings.Contains(a.body, `"change":"deleted"`) {
		t.Errorf("%d %s", a.code, a.body)
	}
	if a := ask(t, "GET", "http://"+s.Admin+"/api/v1/openapi.json", ""); !strings.Contains(a.body, `"StreamDefinitionText"`) || !strings.Contains(a.body, "dead_letter") {
		t.Error("the OpenAPI document does not say what a stream's definition holds")
	}
}

// tailed runs 'serval stream tail' and reads what it prints.
func tailed(t *testing.T, s *testkit.Server, args ...string) (list []shownMessage) {
	t.Helper()
	out := stream(t, s, 0, "", append([]string{"tail", "scores", "-o", "json"}, args...)...)
	for line := range strings.Lines(out) {
		var m shownMessage
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		list = append(list, m)
	}
	return list
}

type shownMessage struct {
	Topic, Key, Value string
	KeyRaw            []byte `json:"key_base64"`
	ValueRaw          []byte `json:"value_base64"`
	Offset            int64
	Size              int
	Headers           []struct{ Name, Value string }
}

// TestStreamTail: an operator sees what is in a stream's places, and what comes, without a broker's password.
func TestStreamTail(t *testing.T) {
	t.Parallel()
	b := newBus(t, testkit.Kafka(t), "tail")
	s := serveStream(t, true, streamModels(t), "", b.config(t, rowsFormat))
	list := records(0, 300)
	list[299].Value = []byte{0xff, 0xfe, 0}
	b.send(t, list...)
	b.send(t, &kgo.Record{Key: []byte("last"), Value: []byte(`{"id": 1, "note": "` + strings.Repeat("é", 1000) + `"}`)})
	reaches(t, s, "serval_stream_written_total", 299)
	reaches(t, s, "serval_stream_dead_letters_total", 2)
	if got := tailed(t, s, "--source", "-n", "3"); len(got) != 3 || got[2].Key != "last" {
		t.Errorf("the last three: %+v", got)
	}
	if got := tailed(t, s); len(got) != 10 || got[0].Topic != b.out || !strings.Contains(got[0].Value, "prediction") {
		t.Errorf("of the target: %d, %+v", len(got), got[:min(1, len(got))])
	}
	if got := tailed(t, s, "--source", "--since", "1h"); len(got) != 301 {
		t.Errorf("%d messages of the last hour", len(got))
	}
	if got := tailed(t, s, "--source", "--message-key", "customer-7", "-n", "100"); len(got) != 4 || got[0].Key != "customer-7" {
		t.Errorf("of a key: %+v", got)
	}
	dead := tailed(t, s, "--dead")
	if len(dead) != 2 {
		t.Fatalf("dead letters: %+v", dead)
	}
	raw := slices.IndexFunc(dead, func(m shownMessage) bool { return string(m.ValueRaw) == "\xff\xfe\x00" })
	if raw < 0 || !slices.ContainsFunc(dead[raw].Headers, func(h struct{ Name, Value string }) bool {
		return h.Name == "serval-error-code" && h.Value == "invalid_argument"
	}) {
		t.Errorf("dead letters: %+v", dead)
	}
	if got := tailed(t, s, "--source", "-n", "1", "--bytes", "22"); len(got) != 1 || len(got[0].Value) > 22 || !strings.HasSuffix(got[0].Value, "é") || got[0].Size < 2000 {
		t.Errorf("cut: %+v", got)
	}
	if got := stream(t, s, 0, "serval-error: ", "tail", "scores", "--dead", "-n", "1"); strings.Count(got, "\n") < 8 {
		t.Errorf("a dead letter reads:\n%s", got)
	}
	stream(t, s, 1, "at most 10000", "tail", "scores", "-n", "10001")
	b.follow(t, s)
}

// follow has two followers, one of whom takes nothing: the other one sees what comes, and the stream goes on.
func (b *bus) follow(t *testing.T, s *testkit.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	url := "http://" + s.Admin + "/api/v1/streams/scores/messages?follow=true&last=0&place="
	idle := open(ctx, t, "GET", url+"source", "")
	defer idle.Close()
	busy := open(ctx, t, "GET", url+"target", "")
	defer busy.Close()
	before := sample(t, s, "serval_stream_written_total")
	const n = 2000
	big := records(0, n)
	for _, r := range big { // more than sockets hold
		r.Value = append(r.Value[:len(r.Value)-1], []byte(`, "note": "`+strings.Repeat("x", 8000)+`"}`)...)
	}
	b.send(t, big...)
	reaches(t, s, "serval_stream_written_total", before+n)
	d := json.NewDecoder(busy)
	for i := range n {
		var m shownMessage
		if err := d.Decode(&m); err != nil || m.Topic != b.out {
			t.Fatalf("message %d: %+v %v", i, m, err)
		}
	}
}

// TestStreamReplayDead: dead letters go back as they came, once.
func TestStreamReplayDead(t *testing.T) {
	t.Parallel()
	b := newBus(t, testkit.Kafka(t), "replay")
	models, data := streamModels(t), t.TempDir()
	file := b.config(t, rowsFormat, "max_message: 10kB")
	s := serveStream(t, true, models, data, file)
	list := records(0, 200)
	for i := range list {
		if i%10 == 0 { // of 20, three are too large
			list[i].Value = []byte(fmt.Sprintf(`{"id": %d, "c0": "x"}`, i))
			if i%70 == 0 {
				list[i].Value = append(record(i).Value, []byte(strings.Repeat(" ", 20_000))...)
			}
		}
	}
	list[50].Headers = append(list[50].Headers, kgo.RecordHeader{Key: "serval-model", Value: []byte("of an earlier stream")})
	list[60].Key = nil
	b.send(t, list...)
	reaches(t, s, "serval_stream_dead_letters_total", 20)
	reaches(t, s, "serval_stream_written_total", 180)
	before := b.all(t, b.in)
	stream(t, s, 0, "20 of 20 would be replayed: 17 invalid_argument, 3 too_large", "replay", "scores", "--dry-run")
	stream(t, s, 0, "3 of 20 would be replayed: 3 too_large", "replay", "scores", "--dry-run", "--code", "too_large")
	stream(t, s, 0, "0 of 0 would be replayed", "replay", "scores", "--dry-run", "--until", "1h")
	s.Term()
	s.Wait(time.Minute)

	// The operator mends what was wrong: larger messages are taken.
	write(t, file, strings.Replace(read(t, file), "max_message: 10kB", "max_message: 1MB", 1))
	s = serveStream(t, true, models, data, file)
	stream(t, s, 0, "3 of 20 replayed: 3 too_large", "replay", "scores", "--code", "too_large")
	reaches(t, s, "serval_stream_written_total", 3)
	stream(t, s, 0, "", "pause", "scores")
	becomes(t, s, "paused") // so that no new ones come in between
	out := stream(t, s, 0, "5 of", "replay", "scores", "--limit", "5")
	if !strings.Contains(out, "5 invalid_argument") {
		t.Error(out)
	}
	stream(t, s, 0, "12 of 20 replayed: 12 invalid_argument; 8 were replayed before", "replay", "scores", "--until", "0s")
	stream(t, s, 0, "", "resume", "scores")
	reaches(t, s, "serval_stream_dead_letters_total", 17) // they are as wrong as before
	out = stream(t, s, 0, "replayed", "replay", "scores")
	if !strings.HasPrefix(out, "17 of 37 replayed") {
		t.Errorf("the new dead letters: %s", out)
	}
	reaches(t, s, "serval_stream_dead_letters_total", 34)
	stream(t, s, 0, "54 of 54 would be replayed", "replay", "scores", "--again", "--dry-run")
	// What came back is what was sent, each in its place.
	after := b.all(t, b.in)[len(before):]
	if len(after) != 3+17+17 {
		t.Errorf("%d messages came back", len(after))
	}
	was := map[string]*kgo.Record{}
	for _, r := range before {
		was[fmt.Sprint(r.Headers)] = r
	}
	after = b.all(t, b.in)
	for _, r := range after {
		w := was[fmt.Sprint(r.Headers)]
		if w == nil || string(w.Value) != string(r.Value) || string(w.Key) != string(r.Key) || (w.Key == nil) != (r.Key == nil) || w.Partition != r.Partition {
			t.Fatalf("a message came back as %s %.100s %v on %d", r.Key, r.Value, r.Headers, r.Partition)
		}
	}
	if got := len(b.all(t, b.out)); got != 183 {
		t.Errorf("%d results", got)
	}
}

// TestStreamReplaySource: a stretch of the source is answered once more beside the running stream, whose positions stay.
func TestStreamReplaySource(t *testing.T) {
	t.Parallel()
	b := newBus(t, testkit.Kafka(t), "rerun")
	other := b.out + "-again"
	b.k.Topic(t, other, 4)
	s := serveStream(t, true, streamModels(t), "", b.config(t, rowsFormat))
	b.send(t, records(0, 500)...)
	reaches(t, s, "serval_stream_written_total", 500)
	time.Sleep(50 * time.Millisecond)
	middle := time.Now()
	time.Sleep(50 * time.Millisecond)
	b.send(t, records(500, 2000)...)
	b.send(t, &kgo.Record{Value: []byte("poison")})
	reaches(t, s, "serval_stream_written_total", 2000)
	stream(t, s, 0, "", "pause", "scores")
	becomes(t, s, "paused") // it does not even need to run
	target := fmt.Sprintf("{kafka: {brokers: [%s], topic: %s}}", b.k.Addr, other)
	from := middle.UTC().Format(time.RFC3339Nano)
	stream(t, s, 0, "1,501 of 1,501 would be replayed", "replay", "scores", "--from", from, "--dry-run")
	stream(t, s, 0, "500 of 500 would be replayed", "replay", "scores", "--from", "1h", "--to", from, "--dry-run")
	stream(t, s, 0, "1,500 of 1,501 replayed; 1 became dead letters: invalid_argument", "replay", "scores", "--from", from, "--target", target)
	list := b.all(t, other)
	if len(list) != 1500 {
		t.Errorf("%d results", len(list))
	}
	if again, _ := tally(t, append(b.all(t, b.out), list...), 2000); again != 1500 {
		t.Errorf("%d came again", again)
	}
	// From a position of one partition.
	part := slices.IndexFunc(list, func(r *kgo.Record) bool { return r.Partition == 2 })
	if part < 0 {
		t.Fatal("no result in partition 2")
	}
	stream(t, s, 0, "10 of 10 replayed", "replay", "scores", "--from", b.in+"/2@5", "--to", b.in+"/2@15", "--target", target)
	stream(t, s, 0, "4 of ", "replay", "scores", "--from", "1h", "--limit", "4", "--target", target)
	stream(t, s, 1, "there is no partition 9", "replay", "scores", "--from", b.in+"/9@5")
	stream(t, s, 1, "must be a time", "replay", "scores", "--from", "noon")
	stream(t, s, 1, "target.kafka", "replay", "scores", "--from", "1h", "--target", "{kafka: {topik: x}}")
	stream(t, s, 1, "target.kafka.brokers", "replay", "scores", "--from", "1h", "--target", "kafka")
	if got := len(b.all(t, b.out)); got != 2000 {
		t.Errorf("%d results in the stream's own target", got)
	}
	if !b.done(t) {
		t.Error("the group's positions moved")
	}
}

// open begins a request whose answer lasts.
func open(ctx context.Context, t *testing.T, method, url, body string) io.ReadCloser {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Body
}

// TestStreamAccess: a key without control sees its own streams, and changes nothing.
func TestStreamAccess(t *testing.T) {
	t.Parallel()
	b := newBus(t, testkit.Kafka(t), "access")
	file := b.config(t, rowsFormat, "tenant: team")
	write(t, file, read(t, file)+fmt.Sprintf("keys:\n  - {name: boss, hash: %q, access: [infer, read, control]}\n  - {name: team, hash: %q}\n  - {name: rest, hash: %q}\n",
		config.HashKey("of-boss"), config.HashKey("of-team"), config.HashKey("of-rest")))
	s := serveStream(t, true, streamModels(t), "", file)
	b.send(t, records(0, 3)...)
	const path = "/api/v1/streams"
	for _, c := range []struct {
		key, method, path, body string
		code                    int
		says                    string
	}{
		{"of-team", "GET", path, "", 200, "scores"}, {"of-rest", "GET", path, "", 200, `{"streams":[]}`}, {"", "GET", path, "", 401, ""},
		{"of-team", "GET", path + "/scores/messages?place=source", "", 200, "customer-1"}, {"of-rest", "GET", path + "/scores/messages?place=source", "", 404, "you have no stream"},
		{"", "GET", path + "/scores/messages", "", 401, ""}, {"of-boss", "GET", path + "/scores/messages?place=source", "", 200, "customer-2"},
		{"of-team", "POST", path + "/scores/replay", `{"what":"dead_letters"}`, 403, ""}, {"of-boss", "POST", path + "/scores/replay", `{"what":"dead_letters"}`, 200, `"ended":true`},
		{"of-team", "POST", path, "streams: {}", 403, ""}, {"of-boss", "POST", path, "streams: {}", 400, "holds no streams"},
		{"of-team", "PUT", path + "/scores", "", 403, ""}, {"of-team", "DELETE", path + "/scores", "", 403, ""}, {"of-boss", "DELETE", path + "/scores", "", 409, "serval.yaml"},
		{"of-team", "GET", path + "/scores/definition", "", 403, ""}, {"of-boss", "PATCH", path + "/scores", "", 405, "PUT"},
		{"of-boss", "POST", path + "/scores/replay", `{"what":"dead_letters","codes":["x"]}`, 400, `"param":"codes"`},
		{"of-boss", "POST", path + "/scores/replay", `{"what":"source"}`, 400, `"param":"from"`},
		{"of-boss", "POST", path + "/none/replay", `{"what":"source"}`, 404, "no stream"},
		{"of-boss", "GET", path + "/scores/messages?place=here", "", 400, `"param":"place"`},
	} {
		a := ask(t, c.method, "http://"+s.Admin+c.path, c.body, "Authorization", "Bearer "+c.key)
		if a.code != c.code || !strings.Contains(a.body, c.says) {
			t.Errorf("%s %s with %q: %d %s; it must be %d and say %q", c.method, c.path, c.key, a.code, a.body, c.code, c.says)
		}
	}
}

// TestStreamReplayKilled: a replay that was cut off goes on where it stopped; nothing is lost.
func TestStreamReplayKilled(t *testing.T) {
	t.Parallel()
	const n = 20_000
	b := newBus(t, testkit.Kafka(t), "cut")
	models, data := streamModels(t), t.TempDir()
	file := b.config(t, rowsFormat, "paused: true", "max_in_flight: 100", "calls: 1", "group: 1")
	s := serveStream(t, true, models, data, file)
	b.send(t, records(0, n)...)
	from := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	cut := make(chan string, 1)
	go func() {
		out, errs, code := testkit.Run(context.WithoutCancel(t.Context()), t, "stream", "replay", "scores", "--from", from, "--admin", s.Admin)
		cut <- fmt.Sprint(code, out, errs)
	}()
	ends := func() int { return b.ends(t, b.out) }
	s.Await("some results", func() bool { return ends() > 2000 })
	time.Sleep(300 * time.Millisecond) // what is done is noted four times a second
	s.Kill()
	if said := <-cut; !strings.Contains(said, "goes on where this one stopped") {
		t.Errorf("it said %s", said)
	}
	had := ends()
	s = serveStream(t, true, models, data, file)
	out := stream(t, s, 0, "replayed", "replay", "scores", "--from", from)
	if had < n && !strings.Contains(out, "were replayed before") {
		t.Errorf("%d results were there, and then %s", had, out)
	}
	again, _ := tally(t, b.all(t, b.out), n)
	t.Logf("%d of %d when it was killed; %d came again", had, n, again)
	stream(t, s, 0, "20,000 of 20,000 would be replayed", "replay", "scores", "--from", from, "--dry-run") // it has ended: nothing is remembered

	// A server that stops waits for nobody who listens.
	base := "http://" + s.Admin + "/api/v1/streams/scores/"
	tail := open(t.Context(), t, "GET", base+"messages?follow=true", "")
	defer tail.Close()
	stuck := bufio.NewReader(open(t.Context(), t, "POST", base+"replay", `{"what": "source", "from": ["1h"], "target": {"kafka": {"brokers": ["127.0.0.1:1"], "topic": "x"}}}`))
	if line, err := stuck.ReadString('\n'); err != nil || !strings.Contains(line, `"ended":false`) {
		t.Errorf("%q %v", line, err)
	}
	stream(t, s, 0, `"replaying": true`, "status", "scores", "-o", "json")
	if a := ask(t, "POST", base+"replay", `{"what":"dead_letters"}`); a.code != 409 {
		t.Errorf("a second one beside it: %d %s", a.code, a.body)
	}
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// ends is how many messages a topic took.
func (b *bus) ends(t *testing.T, topic string) (sum int) {
	t.Helper()
	cl := b.client(t)
	defer cl.Close()
	list, err := kadm.NewClient(cl).ListEndOffsets(context.Background(), topic)
	if err != nil {
		t.Fatal(err)
	}
	list.Each(func(o kadm.ListedOffset) { sum += int(o.Offset) })
	return sum
}
