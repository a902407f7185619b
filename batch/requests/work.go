package requests

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"serval/batch"
	"serval/internal/jsontensor"
	"serval/protocol"
)

// shift is one turn at a piece of a batch.
type shift struct {
	*Service
	t       *batch.Turn
	b       *protocol.Batch
	model   string // that the endpoint names
	in      *os.File
	j       *journal
	total   int
	began   time.Time
	resumed int64 // answered by turns before

	mu        sync.Mutex
	rows, bad int64
	logged    time.Time            // when a refusal was last told
	last      map[string]time.Time // when a model last answered
	gone      map[string]bool      // models whose requests are left for another turn
	paced     bool                 // the rest is left for another turn, as the tenant's rate is used up
}

// work asks the requests of a piece that have no answer yet, many at the same time.
func (s *Service) work(ctx context.Context, t *batch.Turn, b *protocol.Batch) batch.Outcome {
	var spec pieceSpec
	if err := json.Unmarshal(t.Piece.Spec, &spec); err != nil {
		return batch.Outcome{Err: err.Error()}
	}
	dir := s.folder(b.ID)
	places, err := readPlan(dir, spec.From, spec.To)
	if err != nil {
		return again(err)
	}
	w := &shift{Service: s, t: t, b: b, total: len(places), began: time.Now(), last: map[string]time.Time{}, gone: map[string]bool{}}
	w.model, _ = endpointModel(b.Endpoint)
	done := map[uint32]bool{}
	if w.j, err = openJournal(dir, t.Piece.Number, t.Fence, func(e *entry) {
		done[e.line] = true
		w.rows++
		if e.failed {
			w.bad++
		}
	}); err != nil {
		return again(err)
	}
	if w.resumed = w.rows; t.Piece.Attempts > 1 && s.away.tell("resumed "+b.ID) {
		t.Log("piece %d: attempt %d goes on after %d of %d requests", t.Piece.Number, t.Piece.Attempts, w.rows, w.total)
	}
	w.progress()
	if w.in, err = os.Open(filepath.Join(dir, inputName)); err == nil {
		err = w.askAll(ctx, places, done)
		_ = w.in.Close()
	}
	if e := w.j.close(); err == nil {
		err = e
	}
	m := w.measure()
	switch {
	case ctx.Err() != nil && m.Rows < int64(w.total):
		return batch.Outcome{Again: true, Measure: m}
	case err != nil:
		out := again(diskError(err))
		out.Measure = m
		return out
	case m.Rows < int64(w.total): // the place is others' for a while
		out := batch.Outcome{Again: true, After: s.o.Rest, Measure: m}
		if len(w.gone) == 0 {
			out.After = min(time.Second, s.o.Rest)
		}
		return out
	}
	return batch.Outcome{Measure: m}
}

// askAll keeps as many requests under way as their models take. Those of models that answer nothing are left for another turn.
func (w *shift) askAll(ctx context.Context, places []place, done map[uint32]bool) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan struct{}, 1024) // more than are ever under way
	var all sync.WaitGroup
	defer all.Wait()
	flying := 0
	for i := range places {
		p := &places[i]
		if done[p.line] {
			continue
		}
		l, err := request(w.in, p)
		if err != nil {
			return err
		}
		name := w.model
		if name == "" {
			var a struct{ Model string }
			_ = json.Unmarshal(l.Body, &a) // it was read before
			name = a.Model
		}
		if w.left(name) {
			continue
		}
		for flying >= min(max(1, w.o.Width(name)), cap(ended)) {
			select {
			case <-ended:
				flying--
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		flying++
		all.Go(func() {
			defer func() { ended <- struct{}{} }()
			if err := w.ask(ctx, name, p, l); err != nil {
				stop(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// ask has one request answered and notes the answer. An error is the disk's; one that ctx has cut, or that is left, has no answer.
func (w *shift) ask(ctx context.Context, model string, p *place, l *line) error {
	a, ok := w.insist(ctx, model, l.Body)
	if !ok {
		return nil
	}
	e := &entry{line: p.line, failed: a.Status < 200 || a.Status > 299, usage: a.Usage, text: w.answerText(p.line, *l.CustomID, &a)}
	if err := w.j.add(e); err != nil {
		return err
	}
	w.mu.Lock()
	w.rows++
	if e.failed {
		w.bad++
	}
	w.mu.Unlock()
	w.progress()
	return nil
}

// Bounds of asking again: how often what may be a fault of the request, and how long at most between two attempts.
const (
	fewTries = 3
	longest  = 5 * time.Second
)

// insist asks until there is an answer: what is refused for now is asked again, until the batch has ended; false if ctx has, or if the
// request is left for another turn. What may be the request's fault is asked a few times.
func (w *shift) insist(ctx context.Context, model string, body []byte) (Answer, bool) {
	if w.left(model) || !w.mayAsk(ctx, model) {
		return Answer{}, false
	}
	since, faults := time.Now(), 0
	for attempt := 0; ; attempt++ {
		a := w.o.Call(ctx, w.b.Tenant, w.b.Endpoint, body)
		if ctx.Err() != nil && a.Status != http.StatusOK {
			return a, false
		}
		wait := min(50*time.Millisecond<<min(attempt, 8), longest)
		switch a.Status {
		case http.StatusTooManyRequests, http.StatusServiceUnavailable, 499:
			if a.After > 0 && a.Status == http.StatusTooManyRequests {
				wait = max(wait, min(a.After, time.Minute))
			}
		case http.StatusInternalServerError, http.StatusGatewayTimeout:
			if faults++; faults >= fewTries {
				return a, true
			}
		case http.StatusNotFound: // the model was there when the batch was checked, and may come back
			if w.away.since(model, w.o.Patience) > w.o.Patience {
				return a, true
			}
			wait = max(wait, time.Second)
		default:
			w.answered(model)
			return a, true
		}
		w.refused(&a, since)
		if w.leave(model, since, &a) || !sleep(ctx, wait) {
			return a, false
		}
	}
}

// sleep waits; false: ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// refused tells of what has kept a request waiting for long, now and then.
func (w *shift) refused(a *Answer, since time.Time) {
	const every = time.Minute
	w.mu.Lock()
	tell := time.Since(since) > 10*time.Second && time.Since(w.logged) > every
	if tell {
		w.logged = time.Now()
	}
	w.mu.Unlock()
	if tell {
		w.t.Log("a request has been refused for %v, the last time with %d: %.300s", time.Since(since).Round(time.Second), a.Status, a.Body)
	}
}

func (w *shift) measure() batch.Measure {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := batch.Measure{Rows: w.rows, Bad: w.bad, Done: float64(w.rows) / float64(max(1, w.total))}
	if secs := time.Since(w.began).Seconds(); secs > 0 {
		m.Rate = float64(w.rows-w.resumed) / secs
	}
	return m
}

func (w *shift) progress() { w.t.Progress(w.measure()) }

// answerID is the id of a request's answer: the same whenever it is asked.
func answerID(b string, line uint32) string {
	sum := sha256.Sum256([]byte(b + " " + strconv.Itoa(int(line))))
	return "batch_req_" + hex.EncodeToString(sum[:12])
}

// answerText is a line of the output.
func (w *shift) answerText(line uint32, custom string, a *Answer) []byte {
	buf := make([]byte, 0, len(a.Body)+256)
	buf = append(buf, `{"id":`...)
	buf = jsontensor.AppendString(buf, answerID(w.b.ID, line))
	buf = append(buf, `,"custom_id":`...)
	buf = jsontensor.AppendString(buf, custom)
	if a.Status == http.StatusGatewayTimeout {
		buf = append(buf, `,"response":null,"error":{"code":"request_timeout","message":`...)
		buf = jsontensor.AppendString(buf, "the model did not answer in time (limits.answer_timeout, limits.request_timeout)")
		return append(buf, "}}"...)
	}
	buf = append(buf, `,"response":{"status_code":`...)
	buf = strconv.AppendInt(buf, int64(a.Status), 10)
	buf = append(buf, `,"request_id":`...)
	buf = jsontensor.AppendString(buf, a.ID)
	buf = append(buf, `,"body":`...)
	compact := bytes.NewBuffer(buf)
	if json.Compact(compact, a.Body) != nil { // an answer that is no JSON
		compact.Truncate(len(buf))
		text, _ := json.Marshal(string(a.Body)) // a string always can
		compact.Write(text)
	}
	return append(compact.Bytes(), `},"error":null}`...)
}

// lostText is a line of the error file for a request that was not answered.
func lostText(b string, line uint32, custom, code, message string) []byte {
	buf := append([]byte(nil), `{"id":`...)
	buf = jsontensor.AppendString(buf, answerID(b, line))
	buf = append(buf, `,"custom_id":`...)
	buf = jsontensor.AppendString(buf, custom)
	buf = append(buf, `,"response":null,"error":{"code":`...)
	buf = jsontensor.AppendString(buf, code)
	buf = append(buf, `,"message":`...)
	buf = jsontensor.AppendString(buf, message)
	return append(buf, "}}"...)
}
