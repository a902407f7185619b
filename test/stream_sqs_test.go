package test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/twmb/franz-go/pkg/kgo"

	"serval/internal/testkit"
)

// sqsPlaces are a server of queues with the queues of one test.
type sqsPlaces struct {
	q             *testkit.Queues
	in, out, dead string
}

func newSQS(t *testing.T, q *testkit.Queues, suffix string) *sqsPlaces {
	t.Helper()
	name := "q" + rand.Text()
	p := &sqsPlaces{q, name + "-in" + suffix, name + "-out" + suffix, name + "-dead"}
	for _, queue := range []string{p.in, p.out, p.dead} {
		p.q.Queue(t, queue)
	}
	return p
}

// config is the serval.yaml of a stream from in to out; more are lines of the stream's section. The keys come from the environment,
// as AWS's programs have them: see serve.
func (p *sqsPlaces) config(t *testing.T, more ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "serval.yaml")
	write(t, file, fmt.Sprintf(`streams:
  scores:
    model: tree
    source: {sqs: {queue: %[2]s, endpoint: "%[1]s", visibility: 3s, wait: 1s}}
    target: {sqs: {queue: "%[1]s/000000000000/%[3]s"}}
    dead_letter: {sqs: {queue: %[4]s, endpoint: "%[1]s"}}
    retry: {min: 10ms, max: 200ms}
    %[5]s
log: {access: false}
`, p.q.Endpoint, p.in, p.out, p.dead, strings.Join(more, "\n    ")))
	return file
}

// serve starts a server with a stream that config wrote.
func (p *sqsPlaces) serve(t *testing.T, race bool, models, data, file string) *testkit.Server {
	t.Helper()
	keys := []string{"AWS_ACCESS_KEY_ID=serval", "AWS_SECRET_ACCESS_KEY=serval", "AWS_REGION=" + p.q.Region}
	return testkit.Serve(t, testkit.Options{Race: race, Models: models, Data: data, Env: keys, Args: []string{"--config", file}})
}

// send sends rows; those of a key are a group where the queue is a FIFO one.
func (p *sqsPlaces) send(t *testing.T, from, to int) {
	t.Helper()
	var list []types.SendMessageBatchRequestEntry
	for _, r := range records(from, to) {
		e := types.SendMessageBatchRequestEntry{MessageBody: aws.String(string(r.Value))}
		if strings.HasSuffix(p.in, ".fifo") {
			e.MessageGroupId, e.MessageDeduplicationId = aws.String(string(r.Key)), aws.String(string(r.Headers[0].Value))
		} else {
			e.MessageAttributes = map[string]types.MessageAttributeValue{"serval-key": {DataType: aws.String("String"), StringValue: aws.String(string(r.Key))}}
		}
		list = append(list, e)
	}
	p.q.Send(t, p.in, list)
}

// take takes what is in a queue out of it, as the records that the other tests check.
func (p *sqsPlaces) take(t *testing.T, name string) []*kgo.Record {
	t.Helper()
	return p.records(p.q.Drain(t, name, 100*time.Millisecond))
}

func (p *sqsPlaces) records(from []types.Message) (list []*kgo.Record) {
	for _, m := range from {
		key := m.Attributes["MessageGroupId"]
		if a, ok := m.MessageAttributes["serval-key"]; ok {
			key = *a.StringValue
		}
		list = append(list, &kgo.Record{Key: []byte(key), Value: []byte(*m.Body)})
	}
	return list
}

// empty says whether nothing of a queue waits or is in flight.
func (p *sqsPlaces) empty(t *testing.T, name string) bool {
	waiting, flying := p.q.Counts(t, name)
	return waiting+flying == 0
}

// TestStreamSQS: a program with boto3 sends rows into a FIFO queue and finds the answers in another one, in the order of their groups and
// with their attributes, and what could not be answered in a third one, with the reason.
func TestStreamSQS(t *testing.T) {
	t.Parallel()
	const n = 400
	p := newSQS(t, testkit.SQS(t), ".fifo")
	s := p.serve(t, true, streamModels(t), "", p.config(t, rowsFormat))
	broken := map[int]string{10: `{"id": 10, "c0": "old"}`, 20: `no json`, 30: `{"id": 30}`}
	var in bytes.Buffer
	for i, r := range records(0, n) {
		body := string(r.Value)
		if text, ok := broken[i]; ok {
			body = text
		}
		line, _ := json.Marshal(map[string]any{"row": i, "group": string(r.Key), "body": body})
		in.Write(append(line, '\n'))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, cache(t, "venv-sqs", "bin", "python"), filepath.Join(testkit.Root(), "test", "python", "sqs", "flow.py"), p.q.Endpoint, p.in, p.out, p.dead)
	cmd.Stdin = &in
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	last, results, dead := map[string]int{}, 0, 0
	for line := range bytes.Lines(out) {
		var m struct {
			Queue, Body, Group string
			Attributes         map[string]string
		}
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		row, err := strconv.Atoi(m.Attributes["row"])
		if err != nil || m.Attributes["tag"] != "00ff" {
			t.Fatalf("the attributes are %v", m.Attributes)
		}
		group := "customer-" + strconv.Itoa(row%97)
		if m.Queue == p.dead {
			dead++
			if m.Body != broken[row] || m.Attributes["serval-key"] != group || m.Attributes["serval-error"] == "" || m.Attributes["serval-error-code"] != "invalid_argument" ||
				m.Attributes["serval-topic"] != p.in && !strings.Contains(m.Attributes["serval-headers"], p.in) {
				t.Errorf("the dead letter of row %d is %s with %v", row, m.Body, m.Attributes)
			}
			continue
		}
		results++
		var v scored
		if err := json.Unmarshal([]byte(m.Body), &v); err != nil || v.ID != row || m.Attributes["serval-model"] != "tree" || m.Attributes["serval-version"] != "1" {
			t.Errorf("the result of row %d is %s with %v", row, m.Body, m.Attributes)
		}
		if before, ok := last[m.Group]; m.Group != group || ok && row <= before {
			t.Errorf("row %d of %s comes in %s, behind row %d", row, group, m.Group, before)
		}
		last[m.Group] = row
	}
	if results != n-len(broken) || dead != len(broken) {
		t.Errorf("%d results and %d dead letters", results, dead)
	}
	s.Await("everything is deleted", func() bool { return p.empty(t, p.in) })
	reaches(t, s, "serval_stream_lag_messages", 0)
	status, more, code := testkit.Run(t.Context(), t, "stream", "status", "scores", "--admin", s.Admin)
	if code != 0 || !strings.Contains(status, "sqs "+p.in) || !strings.Contains(status, "sqs "+p.out) {
		t.Errorf("exit code %d: %s%s", code, status, more)
	}
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestStreamSQSEqualsOnline: rows are answered alike online and through a queue, by the same model, and are counted once each.
func TestStreamSQSEqualsOnline(t *testing.T) {
	t.Parallel()
	const n = 2000 // and 20,000 in test/hurt
	p := newSQS(t, testkit.SQS(t), ".fifo")
	s := p.serve(t, false, streamModels(t), "", p.config(t, rowsFormat))
	var online []string
	for from := 0; from < n; from += 1000 {
		var data []string
		for i := from; i < from+1000; i++ {
			data = append(data, features(i)...)
		}
		a := ask(t, "POST", s.URL("/v2/models/tree/infer"), `{"inputs":[{"name":"input__0","shape":[1000,6],"datatype":"FP32","data":[`+strings.Join(data, ",")+`]}]}`)
		var out struct {
			Outputs []struct{ Data []json.Number }
		}
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || len(out.Outputs) != 1 || len(out.Outputs[0].Data) != 1000 {
			t.Fatalf("online: %v: %.300s", err, a.body)
		}
		for _, v := range out.Outputs[0].Data {
			online = append(online, v.String())
		}
	}
	var list []*kgo.Record
	for i := 0; i < n; i += 500 { // the queues stay short: the server of this test is slow with long ones
		p.send(t, i, i+500)
		list = append(list, p.take(t, p.out)...)
	}
	reaches(t, s, "serval_stream_written_total", n)
	list = append(list, p.take(t, p.out)...)
	again, scores := tally(t, list, n)
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
		"nv_inference_count": 2 * n, "serval_stream_written_total": n, "serval_stream_read_total": n, "serval_stream_age_seconds_count": n, "serval_stream_dead_letters_total": 0,
	} {
		if got := sample(t, s, name); got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
}

// TestStreamSQSKilled: a server that is killed again and again loses nothing; with FIFO queues the results of a group end in order.
func TestStreamSQSKilled(t *testing.T) {
	t.Parallel()
	const n, kills = 2000, 3
	p := newSQS(t, testkit.SQS(t), ".fifo")
	models, data, file := streamModels(t), t.TempDir(), p.config(t, rowsFormat, "max_in_flight: 300")
	var sent sync.WaitGroup
	sent.Go(func() {
		for i := 0; i < n; i += n / 40 {
			p.send(t, i, i+n/40)
		}
	})
	written := func() int { waiting, _ := p.q.Counts(t, p.out); return waiting }
	for range kills {
		s := p.serve(t, false, models, data, file)
		before, some := written(), mathrand.IntN(n/(2*kills))
		s.Await("some results", func() bool { return written() > before+some || written() >= n })
		s.Kill()
		waiting, flying := p.q.Counts(t, p.in)
		t.Logf("killed after %d results; %d messages wait, and %d were in flight", written(), waiting, flying)
	}
	s := p.serve(t, true, models, data, file)
	sent.Wait()
	s.Await("an end", func() bool { return p.empty(t, p.in) })
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	again, _ := tally(t, p.take(t, p.out), n)
	t.Logf("%d of %d results came again", again, n)
	if got := p.take(t, p.dead); len(got) > 0 {
		t.Errorf("%d dead letters", len(got))
	}
}

// TestStreamSQSRestarts: queues that are out of reach for a while cost nothing but time; the stream says what it waits for.
func TestStreamSQSRestarts(t *testing.T) {
	t.Parallel()
	const n = 300
	p := newSQS(t, testkit.SQSAlone(t), "")
	s := p.serve(t, false, streamModels(t), "", p.config(t, rowsFormat))
	p.send(t, 0, n)
	reaches(t, s, "serval_stream_written_total", n)
	p.q.Stop()
	s.Await("a word about it", func() bool { return sample(t, s, "serval_stream_running") == 0 })
	ask(t, "POST", s.URL("/v2/models/tree/infer"), `{"inputs":[{"name":"input__0","shape":[1,6],"datatype":"FP32","data":[1,2,3,4,5,6]}]}`).want(t, 200)
	p.q.Start()
	p.send(t, n, 2*n)
	s.Await("an end", func() bool { return sample(t, s, "serval_stream_written_total") >= 2*n && p.empty(t, p.in) })
	reaches(t, s, "serval_stream_running", 1)
	seen := map[int]bool{}
	for _, r := range p.take(t, p.out) {
		var v scored
		if err := json.Unmarshal(r.Value, &v); err != nil {
			t.Fatalf("a result is %s", r.Value)
		}
		seen[v.ID] = true
	}
	if len(seen) != 2*n {
		t.Errorf("%d of %d rows have results", len(seen), 2*n)
	}
	p.q.Kill()
	s.Term() // it must end though nobody answers
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestStreamSQSConfig: what is wrong with a queue is said before anything starts.
func TestStreamSQSConfig(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "serval.yaml")
	write(t, file, "streams:\n  s:\n    model: tree\n    source: {sqs: {queue: 'a b'}}\n    target: {sqs: {queue: o}}\n    format: raw\n")
	out, errs, code := testkit.Run(t.Context(), t, "config", "check", file)
	if code == 0 || !strings.Contains(out+errs, "a queue's name has 1 to 80") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}
