//go:build hurt

package hurt

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
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

// TestStreamOutage takes the brokers of a stream away while messages flow through it: the source's is shut down, and killed, and
// the target's is gone for a minute. Among the messages are some that are too large for the stream, some whose results are too
// large for the target, some of next year, of 1970, and without a time. Each has its result or its dead letter in the end. On the
// race detector's build: the messages are few, and both builds would take too long.
func TestStreamOutage(t *testing.T) { streamOutage(t, build{race: true}) }

// outage is a stream between two brokers.
type outage struct {
	from, to *testkit.KafkaBroker
	n        int
}

const (
	outLimit    = 20_000 // bytes of a message in the target's topic
	streamLimit = 50_000 // and in the stream
)

func streamOutage(t *testing.T, b build) {
	o := &outage{from: testkit.KafkaAlone(t, testkit.KafkaOptions{}), to: testkit.KafkaAlone(t, testkit.KafkaOptions{}), n: 30_000}
	o.from.Topic(t, "in", 4, "message.timestamp.after.max.ms=9223372036854775807", "message.timestamp.before.max.ms=9223372036854775807", "retention.ms=-1")
	o.from.Topic(t, "dead", 2)
	o.to.Topic(t, "out", 4, "max.message.bytes="+strconv.Itoa(outLimit))
	models := t.TempDir()
	tree, err := os.ReadFile(filepath.Join(testkit.Root(), "engine", "tree", "testdata", "lgb_binary.txt"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(models, "tree", "1", "model.txt"), tree)
	s := start(t, b, setup{models: models, config: fmt.Sprintf(`streams:
  scores:
    model: tree
    source: {kafka: {brokers: [%[1]s], topics: [in], group: g, session_timeout: 6s}}
    target: {kafka: {brokers: [%[2]s], topic: out, compression: none}}
    dead_letter: {kafka: {brokers: [%[1]s], topic: dead}}
    format: {rows: {columns: [c0, c1, c2, c3, c4, c5], pass: [id, note]}}
    max_message: %[3]dB
    max_in_flight: 2000
    retry: {min: 10ms, max: 500ms}
log: {access: false}
`, o.from.Addr, o.to.Addr, streamLimit)})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var sent sync.WaitGroup
	sent.Go(func() { o.send(ctx, t) })
	written := func() float64 { return count(t, s, `serval_stream_written_total{`) }
	goesOn := func(what string) {
		before := written()
		s.Await("results after "+what, func() bool { return written() > before })
	}
	waits := func() bool { return count(t, s, `serval_stream_running{state="running"`) == 0 }

	goesOn("the start")
	o.from.Stop()
	time.Sleep(2 * time.Second)
	o.from.Start(t)
	goesOn("the source's broker was shut down and started")
	o.from.Kill()
	time.Sleep(2 * time.Second)
	o.from.Start(t)
	goesOn("the source's broker was killed and started")
	o.to.Kill()
	down := time.Now()
	s.Await("a word about the target", waits)
	c := client(t, 10*time.Second)
	for time.Since(down) < time.Minute { // online requests do not notice
		a, err := post(c, s.URL("/v2/models/tree/infer"), `{"inputs":[{"name":"input__0","shape":[1,6],"datatype":"FP32","data":[1,2,3,4,5,6]}]}`)
		if err != nil || a.status != 200 {
			t.Fatalf("an online request beside a stream that waits: %v %v", a, err)
		}
		if held := count(t, s, `serval_stream_in_flight_messages{`); held > 2000 {
			t.Fatalf("%v messages are held", held)
		}
		time.Sleep(200 * time.Millisecond)
	}
	o.to.Start(t)
	goesOn("the target was gone for a minute")
	sent.Wait()
	s.Await("the end", func() bool { return o.done(ctx) })
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	o.check(ctx, t)
}

// kind of message i: now and then one is out of the ordinary.
func (o *outage) record(i int) *kgo.Record {
	note, at := "", time.Now()
	switch i % 1000 {
	case 100:
		note = strings.Repeat("x", streamLimit)
	case 300:
		note = strings.Repeat("y", outLimit)
	case 500:
		at = at.Add(365 * 24 * time.Hour)
	case 700:
		at = time.UnixMilli(1)
	case 900:
		at = time.UnixMilli(-1) // which is no time
	}
	return &kgo.Record{Topic: "in", Key: fmt.Appendf(nil, "k%d", i%97), Timestamp: at,
		Value: fmt.Appendf(nil, `{"id":%d,"note":%q,"c0":%d,"c1":1,"c2":-1,"c3":0.5,"c4":2,"c5":0}`, i, note, i%7)}
}

// send sends all, a few hundred a second, as brokers come and go.
func (o *outage) send(ctx context.Context, t *testing.T) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(o.from.Addr))
	if err != nil {
		t.Error(err)
		return
	}
	defer cl.Close()
	for i := 0; i < o.n && ctx.Err() == nil; {
		var list []*kgo.Record
		for ; len(list) < 100; i++ {
			list = append(list, o.record(i))
		}
		if err := cl.ProduceSync(ctx, list...).FirstErr(); err != nil {
			t.Error(err)
			return
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// done says whether the group has committed all that was sent.
func (o *outage) done(ctx context.Context) bool {
	cl, err := kgo.NewClient(kgo.SeedBrokers(o.from.Addr))
	if err != nil {
		return false
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	ends, err := admin.ListEndOffsets(ctx, "in")
	if err != nil {
		return false
	}
	have, err := admin.FetchOffsets(ctx, "g")
	all := err == nil
	ends.Each(func(e kadm.ListedOffset) {
		if c, ok := have.Lookup("in", e.Partition); !ok || c.At < e.Offset {
			all = false
		}
	})
	return all
}

// check counts results and dead letters.
func (o *outage) check(ctx context.Context, t *testing.T) {
	results, letters := make([]int, o.n), make([]int, o.n)
	read := func(k *testkit.KafkaBroker, topic string, into []int) {
		cl, err := kgo.NewClient(kgo.SeedBrokers(k.Addr), kgo.ConsumeTopics(topic))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		left := int64(0)
		ends.Each(func(e kadm.ListedOffset) { left += e.Offset })
		for left > 0 {
			f := cl.PollFetches(ctx)
			if err := f.Err0(); err != nil {
				t.Fatal(err)
			}
			f.EachRecord(func(r *kgo.Record) {
				left--
				var v struct{ ID int }
				if err := json.Unmarshal(r.Value, &v); err != nil || v.ID < 0 || v.ID >= o.n {
					t.Fatalf("%s holds %.200s", topic, r.Value)
				}
				into[v.ID]++
			})
		}
	}
	read(o.to, "out", results)
	read(o.from, "dead", letters)
	lost, again, wrong := 0, 0, 0
	for i := range o.n {
		large := i%1000 == 100 || i%1000 == 300
		has := results[i]
		if large {
			has = letters[i]
		}
		switch {
		case has == 0:
			lost++
		case has > 1:
			again++
		}
		if large && results[i] > 0 || !large && letters[i] > 0 {
			wrong++
		}
	}
	t.Logf("%d messages: %d lost, %d came again, %d in the wrong place", o.n, lost, again, wrong)
	if lost+wrong > 0 {
		t.Errorf("of %d messages %d are lost, %d are in the wrong place", o.n, lost, wrong)
	}
}
