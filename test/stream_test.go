package test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"serval/internal/testkit"
)

// bus is a Kafka with the topics of one test.
type bus struct {
	k             *testkit.KafkaBroker
	in, out, dead string
}

func newBus(t *testing.T, k *testkit.KafkaBroker, name string) *bus {
	t.Helper()
	name += strconv.FormatInt(time.Now().UnixNano(), 36)
	b := &bus{k, name + "-in", name + "-out", name + "-dead"}
	for _, topic := range []string{b.in, b.out, b.dead} {
		k.Topic(t, topic, 4)
	}
	return b
}

// config is the serval.yaml of a stream from in to out; more are lines of the stream's section.
func (b *bus) config(t *testing.T, more ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "serval.yaml")
	write(t, file, fmt.Sprintf(`streams:
  scores:
    model: tree
    source: {kafka: {brokers: [%[1]s], topics: [%[2]s], group: %[2]s, session_timeout: 6s, commit_interval: 100ms}}
    target: {kafka: {brokers: [%[1]s], topic: %[3]s}}
    dead_letter: {kafka: {brokers: [%[1]s], topic: %[4]s}}
    retry: {min: 10ms, max: 200ms}
    %[5]s
log: {access: false}
`, b.k.Addr, b.in, b.out, b.dead, strings.Join(more, "\n    ")))
	return file
}

func (b *bus) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.k.Addr), kgo.MetadataMinAge(50*time.Millisecond), kgo.ProducerBatchMaxBytes(4<<20))...)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func (b *bus) send(t *testing.T, list ...*kgo.Record) {
	t.Helper()
	cl := b.client(t, kgo.DefaultProduceTopic(b.in))
	defer cl.Close()
	if err := cl.ProduceSync(context.Background(), list...).FirstErr(); err != nil {
		t.Error(err)
	}
}

// all reads what is in a topic, as consumers do that read what is committed.
func (b *bus) all(t *testing.T, topic string) (list []*kgo.Record) {
	t.Helper()
	cl := b.client(t, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ends := testkit.KafkaSettled(ctx, t, cl, topic)
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 {
		f := cl.PollFetches(ctx)
		if err := f.Err0(); err != nil {
			t.Fatal(err)
		}
		f.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				list = append(list, r)
			}
			if end, ok := left[r.Partition]; ok && r.Offset >= end-1 {
				delete(left, r.Partition)
			}
		})
	}
	return list
}

// done says whether the group has committed all that was sent.
func (b *bus) done(t *testing.T) bool {
	t.Helper()
	cl := b.client(t)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	admin := kadm.NewClient(cl)
	ends, err := admin.ListEndOffsets(ctx, b.in)
	if err != nil {
		t.Fatal(err)
	}
	have, err := admin.FetchOffsets(ctx, b.in)
	if err != nil {
		return false // the group is not there yet
	}
	all := true
	ends.Each(func(o kadm.ListedOffset) {
		if c, ok := have.Lookup(b.in, o.Partition); o.Offset > 0 && (!ok || c.At < o.Offset) {
			all = false
		}
	})
	return all
}

// rowsFormat reads rows of streamModels' tree.
const rowsFormat = "format: {rows: {columns: [c0, c1, c2, c3, c4, c5], pass: [id]}}"

// streamModels is a folder with a tree model of six features, "tree".
func streamModels(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	copyFile(t, filepath.Join(testkit.Root(), "engine", "tree", "testdata", "lgb_binary.txt"), filepath.Join(dir, "tree", "1", "model.txt"))
	return dir
}

// features makes row i, the same every time.
func features(i int) []string {
	random := rand.New(rand.NewPCG(7, uint64(i)))
	list := make([]string, 6)
	for c := range list {
		list[c] = strconv.FormatFloat(float64(float32(random.NormFloat64()*2)), 'g', -1, 32)
	}
	return list
}

// record is row i as a message; those of one key keep their order.
func record(i int) *kgo.Record {
	var b strings.Builder
	fmt.Fprintf(&b, `{"id": %d`, i)
	for c, v := range features(i) {
		fmt.Fprintf(&b, `, "c%d": %s`, c, v)
	}
	return &kgo.Record{Key: []byte("customer-" + strconv.Itoa(i%97)), Value: []byte(b.String() + "}"), Headers: []kgo.RecordHeader{{Key: "row", Value: []byte(strconv.Itoa(i))}}}
}

func records(from, to int) (list []*kgo.Record) {
	for i := from; i < to; i++ {
		list = append(list, record(i))
	}
	return list
}

// scored is a result of a stream.
type scored struct {
	ID             int
	Prediction     map[string]json.Number
	Model, Version string
}

// tally checks results of rows 0 to n-1: none is missing, those of a key end in order, equal rows have equal scores. It returns
// how many came again, and the scores.
func tally(t *testing.T, list []*kgo.Record, n int) (again int, scores []string) {
	t.Helper()
	scores = make([]string, n)
	seen, last := make([]int, n), map[string]int{}
	for _, r := range list {
		var s scored
		if err := json.Unmarshal(r.Value, &s); err != nil || s.ID < 0 || s.ID >= n || s.Model != "tree" || s.Version != "1" {
			t.Fatalf("a result is %s (%v)", r.Value, err)
		}
		if string(r.Key) != "customer-"+strconv.Itoa(s.ID%97) {
			t.Fatalf("result %d has the key %s", s.ID, r.Key)
		}
		score := s.Prediction["output__0"].String()
		if seen[s.ID]++; seen[s.ID] > 1 && score != scores[s.ID] {
			t.Errorf("row %d is scored %s and %s", s.ID, scores[s.ID], score)
		}
		scores[s.ID] = score
		last[string(r.Key)] = s.ID
	}
	lost, early := 0, 0
	for i, c := range seen {
		if c == 0 {
			lost++
		}
		again += max(0, c-1)
		if key := "customer-" + strconv.Itoa(i%97); i+97 >= n && last[key] != i {
			early++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d rows are lost", lost, n)
	}
	if early > 0 {
		t.Errorf("the results of %d keys do not end with their last rows", early)
	}
	return again, scores
}

// sample is the sum of the samples of a name whose labels hold all of the words.
func sample(t *testing.T, s *testkit.Server, name string, words ...string) (sum float64) {
	t.Helper()
	a := ask(t, "GET", "http://"+s.Admin+"/metrics", "")
line:
	for line := range strings.Lines(a.body) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), name+"{")
		if !ok {
			continue
		}
		for _, w := range words {
			if !strings.Contains(rest, w) {
				continue line
			}
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		sum += v
	}
	return sum
}

// reaches waits until a metric of the stream is at least n.
func reaches(t *testing.T, s *testkit.Server, name string, n float64, words ...string) {
	t.Helper()
	s.Await(fmt.Sprintf("%s of %v", name, n), func() bool { return sample(t, s, name, words...) >= n })
}

func serveStream(t *testing.T, race bool, models, data, file string) *testkit.Server {
	t.Helper()
	return testkit.Serve(t, testkit.Options{Race: race, Models: models, Data: data, Args: []string{"--config", file}})
}

// TestStreamEqualsOnline: 10,000 rows are answered alike online and through Kafka, by the same model, and are counted once each.
func TestStreamEqualsOnline(t *testing.T) {
	t.Parallel()
	const n = 10_000
	b := newBus(t, testkit.Kafka(t), "equal")
	s := serveStream(t, true, streamModels(t), "", b.config(t, rowsFormat))
	online := make([]string, n)
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for from := c * 50; from < n; from += 8 * 50 { // 50 rows a request
				var data []string
				for i := from; i < from+50; i++ {
					data = append(data, features(i)...)
				}
				a := ask(t, "POST", s.URL("/v2/models/tree/infer"), `{"inputs":[{"name":"input__0","shape":[50,6],"datatype":"FP32","data":[`+strings.Join(data, ",")+`]}]}`)
				var out struct {
					Outputs []struct{ Data []json.Number }
				}
				if err := json.Unmarshal([]byte(a.body), &out); err != nil || len(out.Outputs) != 1 || len(out.Outputs[0].Data) != 50 {
					t.Errorf("online: %v: %.300s", err, a.body)
					return
				}
				for i, v := range out.Outputs[0].Data {
					online[from+i] = v.String()
				}
			}
		})
	}
	clients.Wait()
	if got := sample(t, s, "nv_inference_count", `model="tree"`); got != n {
		t.Errorf("online: %v rows are counted", got)
	}
	b.send(t, records(0, n)...)
	reaches(t, s, "serval_stream_written_total", n)
	again, scores := tally(t, b.all(t, b.out), n)
	if again > 0 {
		t.Errorf("%d results came again", again)
	}
	differ := 0
	for i := range scores {
		if scores[i] != online[i] {
			if differ++; differ < 4 {
				t.Errorf("row %d: online %s, from the stream %s", i, online[i], scores[i])
			}
		}
	}
	if differ > 0 {
		t.Errorf("%d of %d rows differ", differ, n)
	}
	for name, want := range map[string]float64{
		"nv_inference_count": 2 * n, "serval_stream_written_total": n, "serval_stream_read_total": n, "serval_stream_in_flight_messages": 0,
		"serval_stream_age_seconds_count": n, "serval_stream_running": 1, "serval_stream_dead_letters_total": 0,
	} {
		if got := sample(t, s, name); got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
	for _, r := range b.all(t, b.out)[:1] {
		headers := map[string]string{}
		for _, h := range r.Headers {
			headers[h.Key] = string(h.Value)
		}
		if headers["serval-model"] != "tree" || headers["serval-version"] != "1" || headers["row"] == "" || headers["content-type"] != "application/json" {
			t.Errorf("headers: %v", headers)
		}
	}
	reaches(t, s, "serval_stream_lag_messages", 0)
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestStreamBackground: a stream in the background takes little at a time while online calls come, loses nothing, and has the machine to
// itself when they end.
func TestStreamBackground(t *testing.T) {
	t.Parallel()
	const beside, n = 500, 20_000
	b := newBus(t, testkit.Kafka(t), "background")
	s := serveStream(t, true, streamModels(t), "", b.config(t, rowsFormat, "background: true"))
	online := func() {
		ask(t, "POST", s.URL("/v2/models/tree/infer"), `{"inputs":[{"name":"input__0","shape":[1,6],"datatype":"FP32","data":[1,2,3,4,5,6]}]}`).want(t, 200)
	}
	over := make(chan struct{})
	var calls sync.WaitGroup
	online()
	calls.Go(func() { // without a second's gap, however slowly the test itself comes along
		for beat := time.Tick(20 * time.Millisecond); ; {
			select {
			case <-beat:
				online()
			case <-over:
				return
			}
		}
	})
	b.send(t, records(0, n)...)
	most := 0.0
	s.Await("results beside online calls", func() bool {
		most = max(most, sample(t, s, "serval_stream_in_flight_messages"))
		return sample(t, s, "serval_stream_written_total") >= beside
	})
	close(over)
	calls.Wait()
	if most > 512 { // two bites of 128 that were read, and what is being written
		t.Errorf("%v messages were under way beside online calls", most)
	}
	reaches(t, s, "serval_stream_written_total", n)
	if again, _ := tally(t, b.all(t, b.out), n); again > 0 {
		t.Errorf("%d results came again", again)
	}
	ask(t, "PUT", "http://"+s.Admin+"/api/v1/streams/both", `{"model": "tree", "background": true, "priority": 3, "source": {"kafka": {"brokers": ["127.0.0.1:1"], "topics": ["a"], "group": "b"}},
		"target": {"kafka": {"brokers": ["127.0.0.1:1"], "topic": "c"}}, "format": "rows"}`).want(t, 400, "priority", "a background stream has none")
}

// killed has a server work on n rows, killing it again and again, and returns the results. Every round has rows of its own that come while the
// server works: were all of them sent at once, a server that waits for the dead one's session to end may be through with them before it is killed.
func killed(t *testing.T, b *bus, models, file string, n, kills int) []*kgo.Record {
	t.Helper()
	data := t.TempDir()
	written := func(topic string) (sum int64) {
		cl := b.client(t)
		defer cl.Close()
		ends, err := kadm.NewClient(cl).ListEndOffsets(context.Background(), topic)
		if err != nil {
			t.Fatal(err)
		}
		ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
		return sum
	}
	var sent sync.WaitGroup
	share := n / (kills + 1)
	send := func(from, to int) {
		sent.Go(func() {
			for step := max(1, share/5); from < to; from += step {
				b.send(t, records(from, min(to, from+step))...)
			}
		})
	}
	for k := range kills {
		s := serveStream(t, false, models, data, file)
		before := written(b.out)
		send(k*share, (k+1)*share)
		random := int64(rand.N(max(1, share/2)))
		s.Await("some results", func() bool { return written(b.out) > before+random })
		s.Kill()
		sent.Wait() // before the next round's: keys keep their order
	}
	send(kills*share, n)
	s := serveStream(t, false, models, data, file)
	sent.Wait()
	s.Await("an end", func() bool { return b.done(t) })
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	return b.all(t, b.out)
}

// TestStreamKilled: a server that is killed again and again loses nothing, and with exactly-once doubles nothing.
func TestStreamKilled(t *testing.T) {
	t.Parallel()
	const n = 20_000
	for _, delivery := range []string{"at-least-once", "exactly-once"} {
		t.Run(delivery, func(t *testing.T) {
			b := newBus(t, testkit.Kafka(t), "killed")
			list := killed(t, b, streamModels(t), b.config(t, rowsFormat, "max_in_flight: 500", "transaction: 30ms", "delivery: "+delivery), n, 3)
			again, _ := tally(t, list, n)
			t.Logf("%d of %d results came again", again, n)
			if again > 0 && delivery == "exactly-once" {
				t.Errorf("%d results came again", again)
			}
		})
	}
}

// TestStreamDeadLetters: what cannot be answered is set apart with its reason, and holds nobody up.
func TestStreamDeadLetters(t *testing.T) {
	t.Parallel()
	b := newBus(t, testkit.Kafka(t), "dead")
	s := serveStream(t, true, streamModels(t), "", b.config(t, rowsFormat, "max_message: 10kB"))
	list := records(0, 300)
	broken := map[int]string{
		10: `{"id": 10, "c0": "old"}`, 20: `no json`, 30: `{"id": 30}`, 40: `{"id": 40, "c0": 1, "c1": 1, "c2": 1, "c3": 1, "c4": 1, "c5": 1, "note": "` + strings.Repeat("x", 20_000) + `"}`,
	}
	for i, text := range broken {
		list[i].Value = []byte(text)
	}
	b.send(t, list...)
	reaches(t, s, "serval_stream_written_total", 296)
	reaches(t, s, "serval_stream_dead_letters_total", 4)
	if got := sample(t, s, "serval_stream_dead_letters_total", `code="invalid_argument"`); got != 3 {
		t.Errorf("%v dead letters are invalid_argument", got)
	}
	if got := sample(t, s, "serval_stream_dead_letters_total", `code="too_large"`); got != 1 {
		t.Errorf("%v dead letters are too_large", got)
	}
	if got := len(b.all(t, b.out)); got != 296 {
		t.Errorf("%d results", got)
	}
	reasons := map[string]string{"10": "'c0'", "20": "{…}", "30": "'c0' is missing", "40": "max_message"}
	dead := b.all(t, b.dead)
	if len(dead) != 4 {
		t.Errorf("%d dead letters", len(dead))
	}
	for _, r := range dead {
		headers := map[string]string{}
		for _, h := range r.Headers {
			headers[h.Key] = string(h.Value)
		}
		i, _ := strconv.Atoi(headers["row"])
		if string(r.Value) != broken[i] || string(r.Key) != string(list[i].Key) {
			t.Errorf("the dead letter of row %d is not its message: %.100s", i, r.Value)
		}
		if headers["serval-topic"] != b.in || headers["serval-offset"] == "" || headers["serval-partition"] == "" || headers["serval-stream"] != "scores" {
			t.Errorf("row %d: headers %v", i, headers)
		}
		if i != 30 && !strings.Contains(headers["serval-error"], reasons[headers["row"]]) || i == 30 && !strings.Contains(headers["serval-error"], "is missing") {
			t.Errorf("row %d: the reason is %q", i, headers["serval-error"])
		}
	}
}

// TestStreamBrokerRestarts: a broker that goes away costs nothing but time; the stream says what it waits for.
func TestStreamBrokerRestarts(t *testing.T) {
	t.Parallel()
	k := testkit.KafkaAlone(t, testkit.KafkaOptions{})
	b := newBus(t, k, "restart")
	s := serveStream(t, true, streamModels(t), "", b.config(t, rowsFormat))
	b.send(t, records(0, 1000)...)
	reaches(t, s, "serval_stream_written_total", 1000)
	k.Kill()
	s.Await("a word about it", func() bool {
		return sample(t, s, "serval_stream_running", `state="waiting"`) == 0 && sample(t, s, "serval_stream_running") == 0
	})
	ask(t, "POST", s.URL("/v2/models/tree/infer"), `{"inputs":[{"name":"input__0","shape":[1,6],"datatype":"FP32","data":[1,2,3,4,5,6]}]}`).want(t, 200)
	k.Start(t)
	b.send(t, records(1000, 2000)...)
	reaches(t, s, "serval_stream_written_total", 2000)
	again, _ := tally(t, b.all(t, b.out), 2000)
	t.Logf("%d came again", again)
	reaches(t, s, "serval_stream_running", 1)
	k.Kill()
	s.Term() // it must end though nobody answers
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestStreamServers: three servers share a topic; they come and go, and nothing is lost.
func TestStreamServers(t *testing.T) {
	t.Parallel()
	const n = 12_000
	b := newBus(t, testkit.Kafka(t), "servers")
	models, file := streamModels(t), b.config(t, rowsFormat, "max_in_flight: 200")
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		for i := 0; i < n; i += 200 {
			b.send(t, records(i, i+200)...)
			time.Sleep(50 * time.Millisecond)
		}
	}()
	first := serveStream(t, false, models, "", file)
	reaches(t, first, "serval_stream_written_total", 500)
	second := serveStream(t, false, models, "", file)
	third := serveStream(t, false, models, "", file)
	reaches(t, second, "serval_stream_written_total", 200)
	reaches(t, third, "serval_stream_written_total", 200)
	first.Term()
	if code := first.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	<-sending
	second.Await("an end", func() bool { return b.done(t) })
	second.Term()
	third.Term()
	second.Wait(time.Minute)
	third.Wait(time.Minute)
	again, _ := tally(t, b.all(t, b.out), n)
	t.Logf("%d of %d came again", again, n)
	if again > n/20 { // servers that left in order hand over what they wrote
		t.Errorf("%d of %d came again though every server left in order", again, n)
	}
}

// TestStreamCommands: an operator sees streams and steers them.
func TestStreamCommands(t *testing.T) {
	t.Parallel()
	b := newBus(t, testkit.Kafka(t), "steer")
	s := serveStream(t, true, streamModels(t), "", b.config(t, rowsFormat, "paused: true", "tenant: risk"))
	command := func(want string, args ...string) string {
		t.Helper()
		out, errs, code := testkit.Run(t.Context(), t, append([]string{"stream"}, append(args, "--admin", s.Admin)...)...)
		if !strings.Contains(out+errs, want) || code != 0 {
			t.Errorf("stream %v: exit code %d: %s%s; it must say %q", args, code, out, errs, want)
		}
		return out
	}
	b.send(t, records(0, 100)...)
	reaches(t, s, "serval_stream_lag_messages", 100)
	command("paused", "list")
	if got := sample(t, s, "serval_stream_read_total"); got != 0 {
		t.Errorf("paused, it read %v", got)
	}
	command("running", "resume", "scores")
	reaches(t, s, "serval_stream_written_total", 100)
	command(`"written": 100`, "status", "scores", "--report", "json")
	command("paused", "pause", "scores")
	command("kafka "+b.out, "status", "scores")
	out, errs, code := testkit.Run(t.Context(), t, "stream", "pause", "nothing", "--admin", s.Admin)
	if code == 0 || !strings.Contains(out+errs, "there is no stream 'nothing'") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if got := sample(t, s, "serval_request_duration_seconds_count", `protocol="stream"`); got == 0 {
		t.Error("its requests are not counted as the protocol 'stream'")
	}
}

// TestStreamConfig: what is wrong with a stream is said before anything starts.
func TestStreamConfig(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]string{
		"format: raw\n    dead_letter: {kafka: {brokers: [here], topic: x}}": ":7:36: streams.s.dead_letter.kafka.brokers: kafka: brokers has \"here\"",
		"format: raw\n    dead_letter: kafka":                                "streams.s.dead_letter.kafka.brokers: kafka: brokers is missing",
		"format: {rows: {columns: [a, a]}}":                                  "format rows: column 2",
		"format: {csv: {}}":                                                  "line is missing",
		"format: {rosw: {}}":                                                 "rows",
		"format: {rows: {missing: zero}}":                                    "missing",
		"format: raw\n    delivery: exactly-once\n    target: {webhook: {url: 'http://127.0.0.1:1/x'}}": "streams.s.delivery: exactly-once needs",
	} {
		file := filepath.Join(t.TempDir(), "serval.yaml")
		target := "    target: {kafka: {brokers: ['a:1'], topic: o}}\n"
		if strings.Contains(more, "target:") {
			target = ""
		}
		write(t, file, "streams:\n  s:\n    model: tree\n    source: {kafka: {brokers: ['a:1'], topics: [t], group: g}}\n"+target+"    "+more+"\n")
		if out, errs, code := testkit.Run(t.Context(), t, "config", "check", file); code != 2 || !strings.Contains(out+errs, want) {
			t.Errorf("%s: config check: exit code %d: %s%s; it must say %q", more, code, out, errs, want)
		}
		out, errs, code := testkit.Run(t.Context(), t, "serve", "--config", file, "--models", t.TempDir(), "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--grpc", "off", "--admin", "off")
		if code == 0 || !strings.Contains(out+errs, want) {
			t.Errorf("%s: exit code %d: %s%s; it must say %q", more, code, out, errs, want)
		}
	}
}
