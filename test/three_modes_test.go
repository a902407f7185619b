package test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kgo"

	jobclient "serval/client"
	"serval/internal/testkit"
)

// borrowers are rows for the starter model credit: the five that it comes with, changed a little each time.
type borrowers struct {
	columns []string
	numbers map[string]bool // columns whose values are numbers
	rows    [][]string      // columns, and before them the id
}

func newBorrowers(t *testing.T, n int) *borrowers {
	t.Helper()
	file, err := os.Open(filepath.Join(testkit.Root(), "starter", "credit", "applicants.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	table, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	a := &borrowers{columns: table[0][1:], numbers: map[string]bool{}}
	for i, name := range a.columns {
		_, err := strconv.ParseFloat(table[1][i+1], 64)
		a.numbers[name] = err == nil
	}
	change := map[string]int{"duration_in_month": 61, "credit_amount": 9973, "age_in_years": 47} // by how much at most
	for r := range n {
		row := append([]string{strconv.Itoa(r)}, table[1+r%(len(table)-1)][1:]...)
		for i, name := range a.columns {
			if most, ok := change[name]; ok {
				v, err := strconv.Atoi(row[i+1])
				if err != nil {
					t.Fatal(err)
				}
				row[i+1] = strconv.Itoa(v + r*7%most)
			}
		}
		a.rows = append(a.rows, row)
	}
	return a
}

// message is a row as JSON.
func (a *borrowers) message(r int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"id":%s`, a.rows[r][0])
	for i, name := range a.columns {
		fmt.Fprintf(&b, ",%q:%s", name, a.value(r, i))
	}
	return append(b.Bytes(), '}')
}

func (a *borrowers) value(r, column int) string {
	v := a.rows[r][column+1]
	if a.numbers[a.columns[column]] {
		return v
	}
	return strconv.Quote(v)
}

// csv writes the rows as a file.
func (a *borrowers) csv(t *testing.T, path string) {
	t.Helper()
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(append([]string{"id"}, a.columns...)) // to memory
	_ = w.WriteAll(a.rows)
	write(t, path, b.String())
}

// judgement is what the model says of a row.
type judgement struct {
	risk        string
	probability json.Number
}

// judgements collects them, by row.
type judgements struct {
	list  []judgement
	times []int
}

func newJudgements(n int) *judgements { return &judgements{make([]judgement, n), make([]int, n)} }

func (v *judgements) add(id int, risk string, probability json.Number) {
	v.list[id] = judgement{risk, probability}
	v.times[id]++
}

// message adds a stream's result.
func (v *judgements) message(t *testing.T, value []byte) {
	t.Helper()
	var m struct {
		ID         int
		Prediction struct {
			Risk        string
			Probability json.Number `json:"default_probability"`
		}
	}
	if err := json.Unmarshal(value, &m); err != nil {
		t.Fatalf("a result is %s: %v", value, err)
	}
	v.add(m.ID, m.Prediction.Risk, m.Prediction.Probability)
}

// wait is the time in which 10,000 rows go through any of the ways, on a busy machine too.
const wait = 3 * time.Minute

// TestThreeModes: one credit model answers the same 10,000 rows online, from Kafka, NATS and SQS, and in a batch, all by one
// server, with equal results; every row is counted once in each way.
func TestThreeModes(t *testing.T) {
	t.Parallel()
	const n = 10_000
	a := newBorrowers(t, n)
	kafka, queues := newBus(t, testkit.Kafka(t), "three"), testkit.SQS(t)
	for _, name := range []string{"three-in", "three-out"} {
		queues.Queue(t, name)
	}
	port := testkit.Port(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "serval.yaml")
	write(t, file, fmt.Sprintf(`streams:
  kafka:
    model: credit
    source: {kafka: {brokers: [%[1]s], topics: [%[2]s], group: %[2]s, commit_interval: 100ms}}
    target: {kafka: {brokers: [%[1]s], topic: %[3]s}}
    format: {rows: {pass: [id]}}
  nats:
    model: credit
    source: {nats: {stream: applicants, embedded: {listen: "127.0.0.1:%[4]d"}}}
    target: {nats: {subject: scores}}
    format: {rows: {pass: [id]}}
  sqs:
    model: credit
    source: {sqs: {queue: three-in, endpoint: "%[5]s", region: us-east-1, anonymous: true, wait: 1s}}
    target: {sqs: {queue: three-out, endpoint: "%[5]s", region: us-east-1, anonymous: true}}
    format: {rows: {pass: [id]}}
log: {access: false}
`, kafka.k.Addr, kafka.in, kafka.out, port, queues.Endpoint))
	s := testkit.Serve(t, testkit.Options{Race: true, Models: starterModels(t), Data: filepath.Join(dir, "data"), Args: []string{"--config", file}})

	online := newJudgements(n)
	ask50(t, s, a, online)
	counted := func(rows float64) {
		t.Helper()
		if got := sample(t, s, "nv_inference_count", `model="credit"`); got != rows {
			t.Errorf("%v rows are counted, not %v", got, rows)
		}
	}
	counted(n)
	for i, way := range []struct {
		name string
		run  func(*testing.T, *testkit.Server, *borrowers, *judgements)
	}{
		{"kafka", func(t *testing.T, s *testkit.Server, a *borrowers, v *judgements) {
			var list []*kgo.Record
			for r := range n {
				list = append(list, &kgo.Record{Key: []byte(strconv.Itoa(r % 97)), Value: a.message(r)})
			}
			kafka.send(t, list...)
			streamed(t, s, "kafka", n)
			for _, r := range kafka.all(t, kafka.out) {
				v.message(t, r.Value)
			}
		}},
		{"nats", func(t *testing.T, s *testkit.Server, a *borrowers, v *judgements) { throughNATS(t, s, port, a, v) }},
		{"sqs", func(t *testing.T, s *testkit.Server, a *borrowers, v *judgements) {
			var list []types.SendMessageBatchRequestEntry
			for r := range n {
				list = append(list, types.SendMessageBatchRequestEntry{MessageBody: aws.String(string(a.message(r)))})
			}
			queues.Send(t, "three-in", list)
			streamed(t, s, "sqs", n)
			for left, end := n, time.Now().Add(wait); left > 0 && time.Now().Before(end); { // what a lost answer had comes again after a minute
				list := queues.Drain(t, "three-out", time.Second)
				for _, m := range list {
					v.message(t, []byte(*m.Body))
				}
				left -= len(list)
			}
		}},
		{"batch", func(t *testing.T, s *testkit.Server, a *borrowers, v *judgements) { inBatch(t, s, dir, a, v) }},
	} {
		t.Run(way.name, func(t *testing.T) {
			v := newJudgements(n)
			way.run(t, s, a, v)
			differ, times := 0, 0
			for r := range v.list {
				if v.times[r] != 1 {
					times++
				}
				if v.list[r] != online.list[r] {
					if differ++; differ < 4 {
						t.Errorf("row %d: %v, online %v", r, v.list[r], online.list[r])
					}
				}
			}
			if differ > 0 || times > 0 {
				t.Errorf("%d of %d rows differ, %d have not one result", differ, n, times)
			}
		})
		counted(float64(n * (i + 2)))
	}
	for name, want := range map[string]float64{"serval_stream_read_total": 3 * n, "serval_stream_written_total": 3 * n, "serval_stream_dead_letters_total": 0, "serval_stream_age_seconds_count": 3 * n} {
		if got := sample(t, s, name); got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
}

// starterModels are those that the program brings with it: credit alone.
func starterModels(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for from, to := range map[string]string{"model.onnx": "credit/1/model.onnx", "model.yaml": "credit/model.yaml"} {
		copyFile(t, filepath.Join(testkit.Root(), "starter", "credit", from), filepath.Join(dir, to))
	}
	return dir
}

// ask50 asks for all rows online, 50 a request, by 8 clients.
func ask50(t *testing.T, s *testkit.Server, a *borrowers, v *judgements) {
	t.Helper()
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for from := c * 50; from < len(a.rows); from += 8 * 50 {
				var inputs []string
				for i, name := range a.columns {
					var data []string
					for r := from; r < from+50; r++ {
						data = append(data, a.value(r, i))
					}
					datatype := "BYTES"
					if a.numbers[name] {
						datatype = "FP32"
					}
					inputs = append(inputs, fmt.Sprintf(`{"name":%q,"shape":[50,1],"datatype":"%s","data":[%s]}`, name, datatype, strings.Join(data, ",")))
				}
				got := ask(t, "POST", s.URL("/v2/models/credit/infer"), `{"inputs":[`+strings.Join(inputs, ",")+`]}`)
				var out struct {
					Outputs []struct {
						Name string
						Data []json.RawMessage
					}
				}
				if err := json.Unmarshal([]byte(got.body), &out); err != nil || got.code != 200 {
					t.Errorf("online: %d: %.300s", got.code, got.body)
					return
				}
				values := map[string][]json.RawMessage{}
				for _, o := range out.Outputs {
					values[o.Name] = o.Data
				}
				if len(values["risk"]) != 50 || len(values["default_probability"]) != 50 {
					t.Errorf("online: %.300s", got.body)
					return
				}
				for r := range 50 {
					v.add(from+r, strings.Trim(string(values["risk"][r]), `"`), json.Number(values["default_probability"][r]))
				}
			}
		})
	}
	clients.Wait()
}

// streamed waits until a stream has written n results.
func streamed(t *testing.T, s *testkit.Server, name string, n float64) {
	t.Helper()
	label := `stream="` + name + `"`
	for end := time.Now().Add(wait); sample(t, s, "serval_stream_written_total", label) < n; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v of %v results after %v: %s", sample(t, s, "serval_stream_written_total", label), n, wait, ask(t, "GET", "http://"+s.Admin+"/api/v1/streams/"+name, "").body)
		}
	}
}

// throughNATS publishes to the server that runs inside Serval.
func throughNATS(t *testing.T, s *testkit.Server, port int, a *borrowers, v *judgements) {
	t.Helper()
	conn, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(len(a.rows)))
	if err != nil {
		t.Fatal(err)
	}
	for r := range a.rows {
		if _, err := js.PublishAsync(fmt.Sprintf("applicants.%d", r%97), a.message(r)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(wait):
		t.Fatal("the messages were not confirmed")
	}
	streamed(t, s, "nats", float64(len(a.rows)))
	c, err := js.OrderedConsumer(t.Context(), "scores", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for range a.rows {
		m, err := c.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		v.message(t, m.Data())
	}
	if m, err := c.Next(jetstream.FetchMaxWait(200 * time.Millisecond)); err == nil {
		t.Errorf("one more result: %s", m.Data())
	}
}

// inBatch has the server do the rows as a job, from file to file.
func inBatch(t *testing.T, s *testkit.Server, dir string, a *borrowers, v *judgements) {
	t.Helper()
	a.csv(t, filepath.Join(dir, "in.csv"))
	out := filepath.Join(dir, "out.csv")
	spec, _ := json.Marshal(map[string]any{"model": "credit", "input": []string{filepath.Join(dir, "in.csv")}, "output": out, "passthrough": []string{"id"}}) // plain data
	c := admin(t, s)
	if j := until(t, c, submit(t, c, &jobclient.Submission{Job: spec}).ID, "end", over); j.State != "succeeded" || j.Result.Rows != int64(len(a.rows)) {
		t.Fatalf("%+v", j)
	}
	table, err := csv.NewReader(strings.NewReader(read(t, out))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, name := range table[0] {
		at[name] = i
	}
	for _, row := range table[1:] {
		id, err := strconv.Atoi(row[at["id"]])
		if err != nil {
			t.Fatal(err)
		}
		v.add(id, row[at["risk"]], json.Number(row[at["default_probability"]]))
	}
}
