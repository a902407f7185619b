//go:build hurt

package hurt

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"serval/internal/testkit"
)

// TestNATS kills the program again and again while messages flow through JetStream: through a server outside, and through the one
// in the program, which dies with it. Nothing that was acknowledged to its publisher is lost.
func TestNATS(t *testing.T) {
	for _, embedded := range []bool{false, true} {
		t.Run(map[bool]string{false: "external", true: "embedded"}[embedded], func(t *testing.T) {
			both(t, func(t *testing.T, b build) { killNATS(t, b, embedded, pick(b, 50_000, 10_000), pick(b, 10, 5)) })
		})
	}
}

func killNATS(t *testing.T, b build, embedded bool, n, kills int) {
	models, data := t.TempDir(), t.TempDir()
	tree, err := os.ReadFile(filepath.Join(testkit.Root(), "engine", "tree", "testdata", "lgb_binary.txt"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(models, "tree", "1", "model.txt"), tree)
	var address, connection string
	if embedded {
		address = fmt.Sprintf("127.0.0.1:%d", testkit.Port(t))
		connection = `embedded: {listen: "` + address + `"}`
	} else {
		k := testkit.NATSAlone(t, nil)
		address = strings.TrimPrefix(k.URL, "nats://")
		connection = "urls: [" + k.URL + "], make: {when: always}"
	}
	config := fmt.Sprintf(`streams:
  scores:
    model: tree
    source: {nats: {stream: applicants, %s}}
    target: {nats: {subject: scores, %[1]s}}
    format: {rows: {columns: [c0, c1, c2, c3, c4, c5], pass: [id]}}
    max_in_flight: 1000
    on_error: drop
log: {access: false}
`, connection)
	s := start(t, b, setup{models: models, data: data, config: config})
	js, has := jetStream(t, address)
	s.Await("its streams", func() bool { _, err := js.Stream(t.Context(), "applicants"); return err == nil })
	var sent sync.WaitGroup
	acknowledged := make([]bool, n)
	sent.Go(func() {
		for i := 0; i < n; i += n / 100 {
			publish(t, js, i, i+n/100, acknowledged)
			time.Sleep(100 * time.Millisecond)
		}
	})
	for range kills {
		before, some := has("scores"), rand.IntN(n/(2*kills))
		s.Await("some results", func() bool { return has("scores") > before+some || has("scores") >= n })
		s.Kill()
		s = start(t, b, setup{models: models, data: data, config: config})
		s.Await("JetStream", func() bool { return has("applicants") > 0 })
	}
	sent.Wait()
	s.Await("the end", func() bool {
		return count(t, s, "serval_stream_in_flight_messages{") == 0 && count(t, s, "serval_stream_lag_messages{") == 0 && has("scores") >= n
	})
	check(t, js, n, acknowledged)
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// publish publishes rows until each is acknowledged: one may be there twice.
func publish(t *testing.T, js jetstream.JetStream, from, to int, acknowledged []bool) {
	for missing := to - from; missing > 0 && t.Context().Err() == nil; {
		sent := map[int]jetstream.PubAckFuture{}
		for i := from; i < to; i++ {
			if acknowledged[i] {
				continue
			}
			f, err := js.PublishAsync(fmt.Sprintf("applicants.k%d", i%97), fmt.Appendf(nil, `{"id":%d,"c0":%d,"c1":1,"c2":-1,"c3":0.5,"c4":2,"c5":0}`, i, i%7))
			if err != nil {
				break
			}
			sent[i] = f
		}
		for i, f := range sent {
			select {
			case <-f.Ok():
				acknowledged[i] = true
				missing--
			case <-f.Err():
			case <-time.After(10 * time.Second):
			}
		}
		if missing > 0 {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// check reads all results.
func check(t *testing.T, js jetstream.JetStream, n int, acknowledged []bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := js.Stream(ctx, "scores")
	if err != nil {
		t.Fatal(err)
	}
	c, err := st.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	seen, again, keys, total := make([]int, n), 0, map[int]string{}, int(st.CachedInfo().State.Msgs)
	for got := 0; got < total; {
		batch, err := c.Fetch(min(5000, total-got), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			got++
			var v struct{ ID int }
			if err := json.Unmarshal(m.Data(), &v); err != nil || v.ID < 0 || v.ID >= n {
				t.Fatalf("a result is %s", m.Data())
			}
			if seen[v.ID]++; seen[v.ID] > 1 {
				again++
			}
			keys[v.ID%97] = m.Headers().Get("serval-key")
		}
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
	lost := 0
	for i, times := range seen {
		if times == 0 && acknowledged[i] {
			lost++
		}
	}
	for k, key := range keys {
		if key != fmt.Sprintf("k%d", k) {
			t.Errorf("results of key k%d have the key %q", k, key)
		}
	}
	t.Logf("%d acknowledged rows, %d lost, %d results came again", n, lost, again)
	if lost > 0 {
		t.Errorf("%d acknowledged rows are lost", lost)
	}
}

// jetStream is a client of the JetStream at an address, which may come later and go in between, and what a stream of it has.
func jetStream(t *testing.T, address string) (js jetstream.JetStream, has func(stream string) int) {
	t.Helper()
	nc, err := natsgo.Connect("nats://"+address, natsgo.RetryOnFailedConnect(true), natsgo.MaxReconnects(-1), natsgo.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err = jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js, func(name string) int {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		st, err := js.Stream(ctx, name)
		if err != nil {
			return 0
		}
		return int(st.CachedInfo().State.Msgs)
	}
}
