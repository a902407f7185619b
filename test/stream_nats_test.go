package test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kgo"

	"serval/internal/testkit"
)

// natsFile is a serval.yaml with one stream whose results go into the stream of JetStream "scores". source is what it reads;
// connection is said of both ends.
func natsFile(t *testing.T, source, connection string, more ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "serval.yaml")
	write(t, file, fmt.Sprintf(`streams:
  scores:
    model: tree
    source: {%s}
    target: {nats: {subject: "scores.{key}", %s}}
    dead_letter: {nats: {subject: scores-dead, %[2]s}}
    retry: {min: 10ms, max: 200ms}
    %s
    %s
log: {access: false}
`, source, connection, rowsFormat, strings.Join(more, "\n    ")))
	return file
}

// natsClient is a client from outside, which waits for a server that is not there.
func natsClient(t *testing.T, address string, more ...natsgo.Option) jetstream.JetStream {
	t.Helper()
	var nc *natsgo.Conn
	var err error
	for tries := 0; tries < 200; tries++ { // a server is ready before its streams have their bus
		nc, err = natsgo.Connect("nats://"+address, append(more, natsgo.MaxReconnects(-1), natsgo.ReconnectWait(20*time.Millisecond))...)
		if !errors.Is(err, natsgo.ErrNoServers) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// natsSend publishes rows until each is acknowledged, however often the server goes away. A row's name keeps it from being there
// twice.
func natsSend(t *testing.T, js jetstream.JetStream, subject string, from, to int) {
	t.Helper()
	left := records(from, to)
	for end := time.Now().Add(2 * time.Minute); len(left) > 0; {
		if time.Now().After(end) {
			t.Errorf("%d rows were not acknowledged within two minutes", len(left))
			return
		}
		var sent []jetstream.PubAckFuture
		for _, r := range left {
			m := natsgo.NewMsg(subject + "." + string(r.Key))
			m.Data = r.Value
			m.Header.Set(natsgo.MsgIdHdr, string(r.Headers[0].Value))
			f, err := js.PublishMsgAsync(m)
			if err != nil {
				break
			}
			sent = append(sent, f)
		}
		var again []*kgo.Record
		for i, f := range sent {
			select {
			case <-f.Ok():
			case <-f.Err():
				again = append(again, left[i])
			case <-time.After(10 * time.Second):
				again = append(again, left[i])
			}
		}
		left = append(again, left[len(sent):]...)
		if len(again) > 0 || len(sent) == 0 {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// natsCount is how many messages a stream of JetStream has; 0 where it does not exist, or no server answers.
func natsCount(js jetstream.JetStream, name string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	st, err := js.Stream(ctx, name)
	if err != nil {
		return 0
	}
	return int(st.CachedInfo().State.Msgs)
}

// natsAll reads a stream of JetStream, as the records that the other tests check.
func natsAll(t *testing.T, js jetstream.JetStream, name string) (list []*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := js.Stream(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := st.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for n := int(st.CachedInfo().State.Msgs); len(list) < n; {
		batch, err := c.Fetch(min(1000, n-len(list)), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			r := &kgo.Record{Key: []byte(m.Headers().Get("serval-key")), Value: m.Data()}
			for key, values := range m.Headers() {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(values[0])})
			}
			list = append(list, r)
		}
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
	return list
}

// free is an address of loopback's that nobody listens on now.
func free(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", testkit.Port(t))
}

// TestStreamNATS: the server in Serval's process needs nothing but two lines. Others publish to it and read the results; Serval is
// killed again and again, and nothing that was acknowledged is lost.
func TestStreamNATS(t *testing.T) {
	t.Parallel()
	const n, kills = 6000, 3
	at := free(t)
	embedded := `embedded: {listen: "` + at + `", user: alice, password: secret}`
	file := natsFile(t, "nats: {stream: applicants, "+embedded+"}", embedded, "max_in_flight: 300")
	models, data := streamModels(t), t.TempDir()
	s := serveStream(t, true, models, data, file)
	if _, err := natsgo.Connect("nats://" + at); err == nil {
		t.Error("the server lets everybody in")
	}
	var js jetstream.JetStream
	s.Await("the server in it", func() bool {
		c, err := net.Dial("tcp", at)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
	js = natsClient(t, at, natsgo.UserInfo("alice", "secret"))
	s.Await("its streams", func() bool {
		_, err := js.Stream(context.Background(), "applicants")
		return err == nil
	})
	var sent sync.WaitGroup
	sent.Go(func() {
		for i := 0; i < n; i += n / 20 {
			natsSend(t, js, "applicants", i, i+n/20)
		}
	})
	for k := range kills {
		s.Await("some results", func() bool { return natsCount(js, "scores") > (k+1)*n/(kills+2) })
		s.Kill()
		s = serveStream(t, k == kills-1, models, data, file)
	}
	sent.Wait()
	s.Await("all results", func() bool {
		return natsCount(js, "scores") >= n && sample(t, s, "serval_stream_in_flight_messages") == 0 && sample(t, s, "serval_stream_lag_messages") == 0
	})
	list := natsAll(t, js, "scores")
	again, _ := tally(t, list, n)
	t.Logf("%d of %d results came again", again, n)
	headers := map[string]string{}
	for _, h := range list[0].Headers {
		headers[h.Key] = string(h.Value)
	}
	if headers["serval-model"] != "tree" || headers["content-type"] != "application/json" || headers["Nats-Msg-Id"] == "" {
		t.Errorf("headers: %v", headers)
	}
	m := natsgo.NewMsg("applicants")
	m.Data = []byte(`{"id": 1, "c0": "old"}`)
	if _, err := js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	s.Await("its dead letter", func() bool { return natsCount(js, "scores-dead") == 1 })
	for _, h := range natsAll(t, js, "scores-dead")[0].Headers {
		switch {
		case h.Key == "serval-topic" && string(h.Value) != "applicants", h.Key == "serval-offset" && string(h.Value) != strconv.Itoa(n+1),
			h.Key == "serval-error" && !strings.Contains(string(h.Value), "'c0'"):
			t.Errorf("the dead letter's %s is %s", h.Key, h.Value)
		}
	}
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestStreamKafkaToNATS: what is read from one broker is written to another, in the order of its keys.
func TestStreamKafkaToNATS(t *testing.T) {
	t.Parallel()
	const n = 2000
	k, external := newBus(t, testkit.Kafka(t), "mixed"), testkit.NATSAlone(t, nil)
	file := natsFile(t, fmt.Sprintf("kafka: {brokers: [%s], topics: [%s], group: %[2]s}", k.k.Addr, k.in), "urls: ["+external.URL+"], make: {when: always}")
	s := serveStream(t, true, streamModels(t), "", file)
	k.send(t, records(0, n)...)
	reaches(t, s, "serval_stream_written_total", n)
	js := natsClient(t, strings.TrimPrefix(external.URL, "nats://"))
	if again, _ := tally(t, natsAll(t, js, "scores"), n); again > 0 {
		t.Errorf("%d results came again", again)
	}
}
