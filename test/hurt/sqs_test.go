//go:build hurt

package hurt

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"serval/internal/testkit"
)

// TestSQS kills the program again and again while messages flow through queues of SQS's protocol. None is lost; the results of a
// message group come in order, and, as the target is a FIFO queue, each once; a standard queue may have some twice. All are what
// the same model answers online.
func TestSQS(t *testing.T) {
	for _, fifo := range []bool{true, false} {
		t.Run(map[bool]string{true: "fifo", false: "standard"}[fifo], func(t *testing.T) {
			both(t, func(t *testing.T, b build) {
				n, kills := pick(b, 20_000, 5000), pick(b, 10, 5)
				if !fifo {
					n, kills = n/4, kills/2
				}
				killSQS(t, b, fifo, n, kills)
			})
		})
	}
}

// sqsRow is row i, the same every time.
func sqsRow(i int) (row [6]string) {
	for c := range row {
		row[c] = strconv.FormatFloat(math.Floor(float64(i*(7+3*c)%2001)-1000)/256, 'g', -1, 32)
	}
	return row
}

// sqsGroups is how many message groups there are.
const sqsGroups = 97

func killSQS(t *testing.T, b build, fifo bool, n, kills int) {
	q := testkit.SQS(t)
	name, suffix := "hurt"+rand.Text(), ""
	if fifo {
		suffix = ".fifo"
	}
	in, out := name+"-in"+suffix, name+"-out"+suffix
	q.Queue(t, in)
	q.Queue(t, out)
	models, data := t.TempDir(), t.TempDir()
	tree, err := os.ReadFile(filepath.Join(testkit.Root(), "engine", "tree", "testdata", "lgb_binary.txt"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(models, "tree", "1", "model.txt"), tree)
	config := fmt.Sprintf(`streams:
  scores:
    model: tree
    source: {sqs: {queue: "%s", visibility: 2s, wait: 1s, anonymous: true}}
    target: {sqs: {queue: "%s", anonymous: true}}
    format: {rows: {columns: [c0, c1, c2, c3, c4, c5], pass: [id]}}
    max_in_flight: 1000
    on_error: drop
log: {access: false}
`, *q.URL(in), *q.URL(out))
	var sent sync.WaitGroup
	sent.Go(func() {
		for i := 0; i < n; i += n / 100 {
			q.Send(t, in, sqsRows(i, min(n, i+n/100), fifo))
			for waiting := n; waiting > n/8 && t.Context().Err() == nil; { // the server of this test is slow with long queues
				time.Sleep(20 * time.Millisecond)
				waiting, _ = q.Counts(t, in)
			}
		}
	})
	var list []types.Message
	collect := func() {
		for range 20 {
			some := q.Receive(t, out)
			if list = append(list, some...); len(some) == 0 {
				return
			}
		}
	}
	for range kills {
		s := start(t, b, setup{models: models, data: data, config: config})
		before, some := len(list), mathrand.IntN(n/(2*kills))
		s.Await("some results", func() bool { collect(); return len(list) > before+some || len(list) >= n })
		s.Kill()
	}
	s := start(t, b, setup{models: models, data: data, config: config})
	s.Await("the end", func() bool {
		collect()
		waiting, flying := q.Counts(t, in)
		return len(list) >= n && waiting+flying == 0
	})
	sent.Wait()
	online := sqsOnline(t, s, n)
	s.Term()
	if code := s.Wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	list = append(list, q.Drain(t, out, 200*time.Millisecond)...)
	lost, again := sqsCheck(t, list, online, fifo)
	t.Logf("%d messages, %d kills: %d lost, %d came again", n, kills, lost, again)
	if lost > 0 {
		t.Errorf("%d of %d are lost", lost, n)
	}
	if fifo && again > 0 {
		t.Errorf("%d came again though the queue leaves out what it was sent before", again)
	}
}

func sqsRows(from, to int, fifo bool) (list []types.SendMessageBatchRequestEntry) {
	for i := from; i < to; i++ {
		row := sqsRow(i)
		e := types.SendMessageBatchRequestEntry{MessageBody: aws.String(fmt.Sprintf(`{"id":%d,"c0":%s,"c1":%s,"c2":%s,"c3":%s,"c4":%s,"c5":%s}`, i, row[0], row[1], row[2], row[3], row[4], row[5]))}
		if fifo {
			e.MessageGroupId, e.MessageDeduplicationId = aws.String("g"+strconv.Itoa(i%sqsGroups)), aws.String(strconv.Itoa(i))
		}
		list = append(list, e)
	}
	return list
}

// sqsOnline are the answers to all rows, from the same model.
func sqsOnline(t *testing.T, s *testkit.Server, n int) (scores []string) {
	t.Helper()
	c := client(t, time.Minute)
	for len(scores) < n {
		var values []string
		rows := min(1000, n-len(scores))
		for i := range rows {
			row := sqsRow(len(scores) + i)
			values = append(values, row[:]...)
		}
		a, err := post(c, s.URL("/v2/models/tree/infer"), fmt.Sprintf(`{"inputs":[{"name":"input__0","shape":[%d,6],"datatype":"FP32","data":[%s]}]}`, rows, strings.Join(values, ",")))
		var out struct {
			Outputs []struct{ Data []json.Number }
		}
		if err == nil {
			err = json.Unmarshal([]byte(a.body), &out)
		}
		if err != nil || len(out.Outputs) != 1 || len(out.Outputs[0].Data) != rows {
			t.Fatalf("online: %v: %s", err, a)
		}
		for _, v := range out.Outputs[0].Data {
			scores = append(scores, v.String())
		}
	}
	return scores
}

// sqsCheck counts what is lost and what came again; a result that differs from the one online, and one of a group that comes for
// the first time out of order, fail the test.
func sqsCheck(t *testing.T, list []types.Message, online []string, fifo bool) (lost, again int) {
	t.Helper()
	seen, next, early, differ := make([]bool, len(online)), map[string]int{}, 0, 0
	for _, m := range list {
		var v struct {
			ID         int
			Prediction map[string]json.Number
		}
		if err := json.Unmarshal([]byte(*m.Body), &v); err != nil || v.ID < 0 || v.ID >= len(online) {
			t.Fatalf("a result is %s", *m.Body)
		}
		if v.Prediction["output__0"].String() != online[v.ID] {
			differ++
		}
		if seen[v.ID] {
			again++
			continue
		}
		seen[v.ID] = true
		if !fifo {
			continue
		}
		group := m.Attributes["MessageGroupId"]
		if want := v.ID / sqsGroups; group != "g"+strconv.Itoa(v.ID%sqsGroups) || next[group] != want {
			early++
		}
		next[group] = v.ID/sqsGroups + 1
	}
	for _, ok := range seen {
		if !ok {
			lost++
		}
	}
	if early > 0 || differ > 0 {
		t.Errorf("%d results came out of order, %d are not what is answered online", early, differ)
	}
	return lost, again
}
