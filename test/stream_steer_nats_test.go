package test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestStreamSteerNATS: what is in the NATS server in Serval's process is shown, and replayed, as with Kafka; a stream over it is
// made at run time.
func TestStreamSteerNATS(t *testing.T) {
	t.Parallel()
	const n = 500
	at := free(t)
	embedded := `embedded: {listen: "` + at + `"}`
	file := natsFile(t, "nats: {stream: applicants, "+embedded+"}", embedded, "max_in_flight: 300")
	models, data := streamModels(t), t.TempDir()
	none := natsFile(t, "nats: {stream: applicants, "+embedded+"}", embedded)
	write(t, none, "log: {access: false}\n")
	s := serveStream(t, true, models, data, none)
	write(t, file, strings.Replace(read(t, file), "log: {access: false}\n", "", 1))
	stream(t, s, 0, "scores  created", "apply", "-f", file)
	becomes(t, s, "running")
	js := natsClient(t, at)
	s.Await("its stream", func() bool { _, err := js.Stream(context.Background(), "applicants"); return err == nil })
	natsSend(t, js, "applicants", 0, n)
	for i := range 5 {
		m := natsgo.NewMsg("applicants.bad")
		m.Data = fmt.Appendf(nil, "no json %d", i)
		m.Header["Row"] = []string{"x"}
		if _, err := js.PublishMsg(context.Background(), m); err != nil {
			t.Fatal(err)
		}
	}
	reaches(t, s, "serval_stream_written_total", n)
	reaches(t, s, "serval_stream_dead_letters_total", 5)
	if got := tailed(t, s, "--source", "-n", "7", "--message-key", "bad"); len(got) != 5 || !strings.HasPrefix(got[0].Value, "no json") {
		t.Errorf("of a key: %+v", got)
	}
	if got := tailed(t, s, "-n", "20"); len(got) != 20 {
		t.Errorf("%d results", len(got))
	}
	if got := tailed(t, s, "--dead"); len(got) != 5 {
		t.Errorf("%d dead letters", len(got))
	}
	stream(t, s, 0, "5 of 5 replayed: 5 invalid_argument", "replay", "scores")
	reaches(t, s, "serval_stream_dead_letters_total", 10)
	stream(t, s, 0, "5 of 10 would be replayed: 5 invalid_argument; 5 were replayed before", "replay", "scores", "--dry-run")
	stream(t, s, 0, fmt.Sprintf("%d of %d replayed", n, n+10), "replay", "scores", "--from", "1h")
	if got := len(natsAll(t, js, "scores")); got != 2*n {
		t.Errorf("%d results, not %d", got, 2*n)
	}
	// The dead letters that went back are what was sent.
	ctx := context.Background()
	st, err := js.Stream(ctx, "applicants")
	if err != nil {
		t.Fatal(err)
	}
	c, err := st.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: n + 6})
	if err != nil {
		t.Fatal(err)
	}
	batch, err := c.Fetch(5)
	if err != nil {
		t.Fatal(err)
	}
	back := 0
	for m := range batch.Messages() {
		for key := range m.Headers() {
			if strings.HasPrefix(strings.ToLower(key), "serval-error") || strings.EqualFold(key, "serval-stream") {
				t.Errorf("a message came back with the header %s", key)
			}
		}
		if back++; !strings.HasPrefix(string(m.Data()), "no json") || m.Headers().Get("Row") != "x" {
			t.Errorf("a message came back as %s %v on %s", m.Data(), m.Headers(), m.Subject())
		}
	}
	if back != 5 {
		t.Errorf("%d messages came back", back)
	}
}
