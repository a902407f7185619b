//go:build hurt

package hurt

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"serval/internal/testkit"
)

// TestStream kills a server 20 times while 200,000 messages flow through it, with both deliveries: at-least-once loses none,
// and of exactly-once a consumer that reads what is committed sees each once. On the build that users get: the race
// detector's would be killed before it did anything.
func TestStream(t *testing.T) {
	for _, delivery := range []string{"at-least-once", "exactly-once"} {
		t.Run(delivery, func(t *testing.T) { killStream(t, delivery, 200_000, 20) })
	}
}

func killStream(t *testing.T, delivery string, n, kills int) {
	k := testkit.Kafka(t)
	name := "hurt" + strconv.FormatInt(time.Now().UnixNano(), 36)
	in, out := name+"-in", name+"-out"
	k.Topic(t, in, 4)
	k.Topic(t, out, 4)
	models, data := t.TempDir(), t.TempDir()
	tree, err := os.ReadFile(filepath.Join(testkit.Root(), "engine", "tree", "testdata", "lgb_binary.txt"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(models, "tree", "1", "model.txt"), tree)
	// A static member keeps its partitions over a kill, so that twenty sessions need not time out.
	config := fmt.Sprintf(`streams:
  scores:
    model: tree
    delivery: %s
    source: {kafka: {brokers: [%[2]s], topics: [%[3]s], group: %[3]s, instance_id: one, session_timeout: 10s, commit_interval: 100ms}}
    target: {kafka: {brokers: [%[2]s], topic: %[4]s}}
    format: {rows: {columns: [c0, c1, c2, c3, c4, c5], pass: [id]}}
    max_in_flight: 1000
    transaction: 50ms
    on_error: drop
log: {access: false}
`, delivery, k.Addr, in, out)
	client := func(opts ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(k.Addr))...)
		if err != nil {
			t.Fatal(err)
		}
		return cl
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	var sent sync.WaitGroup
	sent.Go(func() {
		cl := client(kgo.DefaultProduceTopic(in))
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
			time.Sleep(200 * time.Millisecond)
		}
	})
	admin := client()
	defer admin.Close()
	ends := func(topic string) (sum int64) {
		list, err := kadm.NewClient(admin).ListEndOffsets(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		list.Each(func(o kadm.ListedOffset) { sum += o.Offset })
		return sum
	}
	done := func() bool {
		list, err := kadm.NewClient(admin).ListEndOffsets(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		have, err := kadm.NewClient(admin).FetchOffsets(ctx, in)
		all := err == nil
		list.Each(func(o kadm.ListedOffset) {
			if c, ok := have.Lookup(in, o.Partition); !ok || c.At < o.Offset {
				all = false
			}
		})
		return all
	}
	for range kills {
		s := start(t, build{}, setup{models: models, data: data, config: config})
		before, some := ends(out), int64(rand.IntN(n/(2*kills)))
		s.Await("some results", func() bool { return ends(out) > before+some || done() })
		s.Kill()
	}
	s := start(t, build{}, setup{models: models, data: data, config: config})
	sent.Wait()
	s.Await("the end", done)
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	cl := client(kgo.ConsumeTopics(out), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	defer cl.Close()
	seen, missing, again := make([]int, n), n, 0
	for quiet := false; missing > 0 || !quiet; {
		wait, stop := context.WithTimeout(ctx, 3*time.Second)
		f := cl.PollFetches(wait)
		stop()
		quiet = f.NumRecords() == 0
		if quiet && ctx.Err() != nil || quiet && missing > 0 {
			break
		}
		f.EachRecord(func(r *kgo.Record) {
			var v struct{ ID int }
			if err := json.Unmarshal(r.Value, &v); err != nil || v.ID < 0 || v.ID >= n {
				t.Fatalf("a result is %s", r.Value)
			}
			if seen[v.ID]++; seen[v.ID] == 1 {
				missing--
			} else {
				again++
			}
		})
	}
	t.Logf("%s: %d messages, %d kills: %d lost, %d came again", delivery, n, kills, missing, again)
	if missing > 0 {
		t.Errorf("%d of %d are lost", missing, n)
	}
	if again > 0 && delivery == "exactly-once" {
		t.Errorf("%d came again", again)
	}
}
