package requests_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serval"
	"serval/batch"
	"serval/batch/requests"
	"serval/protocol"
	"serval/store/sqlite"
)

const embed = "/v1/embeddings"

// rig is a service on a store of its own, whose endpoint is a function.
type rig struct {
	*requests.Service
	t     *testing.T
	dir   string
	db    *sqlite.DB
	files *requests.Files
	stop  func()
}

// newRig makes one; width 0: nothing is done but by Tend.
func newRig(t *testing.T, dir string, width int, call func(ctx context.Context, body string) requests.Answer, change ...func(*requests.Options, *requests.FilesOptions)) *rig {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	owner, err := db.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, db: db}
	f := requests.FilesOptions{
		Dir: filepath.Join(dir, "files"), Rows: db, Largest: 2 << 20, Total: 6 << 20, Owner: owner,
		Aside: func(ctx context.Context, tenant string) (int64, error) { return r.Held(ctx, tenant) },
	}
	var w *batch.Worker
	o := requests.Options{
		Dir: filepath.Join(dir, "batches"), Store: db, Jobs: db, Owner: owner, Most: 20000, Longest: 1 << 20, Patience: time.Nanosecond, Log: log,
		Call: func(ctx context.Context, tenant, path string, body []byte) requests.Answer {
			if tenant != "a" || path != embed {
				t.Errorf("%s is asked as %s", path, tenant)
			}
			return call(ctx, string(body))
		},
		Known: func(serval.Ref) error { return nil }, Width: func(string) int { return 8 }, Wake: func() { w.Wake() },
		Hooks: func(string, string) []string { return []string{"h"} }, Hook: func(string, string) bool { return false },
	}
	for _, c := range change {
		c(&o, &f)
	}
	r.files = requests.NewFiles(f)
	o.Files = r.files
	r.Service = requests.New(o)
	w = batch.NewWorker(batch.WorkerOptions{Name: t.Name() + fmt.Sprint(time.Now()), Queue: db, Jobs: db, Runners: []batch.Runner{r.Service}, Width: width, Lease: time.Second, Poll: 10 * time.Millisecond, Log: log})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { w.Run(ctx) })
	all.Go(func() { r.Tend(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		all.Wait()
		_ = db.Close()
	})
	t.Cleanup(r.stop)
	return r
}

func (r *rig) submit(n int, window, key string) *protocol.Batch {
	r.t.Helper()
	f, err := r.files.AddFile(r.t.Context(), func(w io.Writer) (*protocol.File, error) {
		for i := range n {
			if _, err := fmt.Fprintf(w, `{"custom_id":"%d","method":"POST","url":%q,"body":{"model":"m","input":"%d"}}`+"\n", i, embed, i); err != nil {
				return nil, err
			}
		}
		return &protocol.File{Tenant: "a", Purpose: "batch"}, nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	b := &protocol.Batch{Tenant: "a", Endpoint: embed, Input: f.ID, Window: window}
	if err := r.SubmitBatch(r.t.Context(), b, key); err != nil {
		r.t.Fatal(err)
	}
	return b
}

// wait waits until ok.
func (r *rig) wait(id string, ok func(*protocol.Batch) bool) *protocol.Batch {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		b, err := r.Batch(r.t.Context(), "a", id)
		if err != nil {
			r.t.Fatal(err)
		}
		if ok(b) {
			return b
		}
		if time.Now().After(end) {
			r.t.Fatalf("still %+v", b)
		}
	}
}

// waitJob waits until its job is ok.
func (r *rig) waitJob(id string, ok func(*batch.Record) bool) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		j, err := r.db.Job(r.t.Context(), "a", id)
		if err != nil {
			r.t.Fatal(err)
		}
		if ok(j) {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("still %+v", j)
		}
	}
}

func ended(b *protocol.Batch) bool { return b.Status.Ended() }

// lines are those of a file, decoded.
func (r *rig) lines(id string) (list []map[string]any) {
	r.t.Helper()
	if id == "" {
		return nil
	}
	_, f, err := r.files.OpenFile(r.t.Context(), "a", id)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	for d := json.NewDecoder(f); ; {
		var l map[string]any
		if err := d.Decode(&l); err == io.EOF {
			return list
		} else if err != nil {
			r.t.Fatal(err)
		}
		list = append(list, l)
	}
}

func said(status int, body string) requests.Answer {
	return requests.Answer{Status: status, ID: "req", Body: []byte(body), Usage: serval.Usage{Prompt: 2, Completion: 1}}
}

// TestRetries: what is refused for now is asked again until there is an answer, what may be the request's fault a few times.
func TestRetries(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]int{}
	r := newRig(t, t.TempDir(), 1, func(_ context.Context, body string) requests.Answer {
		mu.Lock()
		defer mu.Unlock()
		asked[body]++
		n := asked[body]
		var b struct{ Input string }
		_ = json.Unmarshal([]byte(body), &b)
		switch {
		case b.Input == "1" && n < 3:
			return said(http.StatusServiceUnavailable, "{}")
		case b.Input == "2" && n < 3:
			return said(http.StatusTooManyRequests, "{}")
		case b.Input == "3":
			return said(http.StatusInternalServerError, `{"error":"broken"}`)
		case b.Input == "4":
			return said(http.StatusGatewayTimeout, "{}")
		case b.Input == "5":
			return said(http.StatusNotFound, "{}")
		case b.Input == "6":
			return said(http.StatusBadRequest, "no \n JSON \xff")
		}
		return said(http.StatusOK, "{\n \"n\": "+b.Input+"}")
	})
	b := r.wait(r.submit(9, "24h", "").ID, ended)
	if b.Status != protocol.Completed || b.Total != 9 || b.Completed != 5 || b.Failed != 4 || b.Usage != (serval.Usage{Prompt: 18, Completion: 9}) || b.Model != "m" {
		t.Errorf("%+v", b)
	}
	r.waitJob(b.ID, func(j *batch.Record) bool { return j.State == batch.Succeeded && j.Tally.Rows == 9 && j.Tally.Bad == 4 })
	var ids []string
	for _, l := range r.lines(b.Output) {
		ids = append(ids, fmt.Sprint(l["custom_id"], l["response"].(map[string]any)["body"].(map[string]any)["n"]))
	}
	if got := strings.Join(ids, " "); got != "00 11 22 77 88" {
		t.Errorf("%s", got)
	}
	bad := r.lines(b.ErrorFile)
	for i, want := range []string{`"status_code":500`, `"request_timeout"`, `"status_code":404`, `"no \n JSON �"`} {
		if raw, _ := json.Marshal(bad[i]); !strings.Contains(string(raw), want) {
			t.Errorf("%s, want %s", raw, want)
		}
	}
	if n := asked[`{"model":"m","input":"3"}`]; n != 3 {
		t.Errorf("a fault was asked %d times", n)
	}
}

// TestRestart: a batch of several pieces goes on where a server stopped, and each request has one answer.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	var answers atomic.Int64
	call := func(ctx context.Context, body string) requests.Answer {
		answers.Add(1)
		return said(http.StatusOK, body)
	}
	const n = 12000
	r := newRig(t, dir, 2, call)
	id := r.submit(n, "24h", "").ID
	for range 4 {
		before := answers.Load()
		for answers.Load() < min(before+500, n) {
			time.Sleep(time.Millisecond)
		}
		r.stop()
		r = newRig(t, dir, 2, call)
	}
	b := r.wait(id, ended)
	out := r.lines(b.Output)
	if b.Status != protocol.Completed || len(out) != n || b.Completed != n {
		t.Fatalf("%+v: %d lines", b, len(out))
	}
	for i, l := range out {
		if l["custom_id"] != fmt.Sprint(i) {
			t.Fatalf("line %d is %v", i, l)
		}
	}
	if extra := answers.Load() - n; extra > 4*2*8 {
		t.Errorf("%d requests were asked again, and no more than what was under way should be", extra)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "batches")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestEarlyEnds: batches that are cancelled, expire, or whose job is taken from them, keep what was answered, and tell of it once.
func TestEarlyEnds(t *testing.T) {
	dir := t.TempDir()
	some := func(ctx context.Context, body string) requests.Answer {
		if !strings.Contains(body, `9"`) && !strings.Contains(body, `4"`) { // fewer than may be under way
			return said(http.StatusOK, "{}")
		}
		<-ctx.Done()
		return said(499, "{}")
	}
	r := newRig(t, dir, 3, some)
	begun := func(b *protocol.Batch) bool { return b.Completed > 0 }
	cancelled, expired, admin := r.submit(20, "24h", ""), r.submit(20, "4s", ""), r.submit(20, "24h", "")
	for _, b := range []*protocol.Batch{cancelled, expired, admin} {
		r.wait(b.ID, begun)
	}
	waiting := r.submit(20, "24h", "") // there is no worker left for it
	for _, id := range []string{cancelled.ID, waiting.ID} {
		if b, err := r.CancelBatch(t.Context(), "a", id); err != nil || b.Status != protocol.Cancelling && b.Status != protocol.Cancelled {
			t.Errorf("%+v %v", b, err)
		}
	}
	if _, err := r.db.Change(t.Context(), "", admin.ID, batch.Cancel); err != nil { // by another door
		t.Fatal(err)
	}
	for _, c := range []struct {
		b      *protocol.Batch
		status protocol.BatchStatus
		code   string
		n      int64
	}{{cancelled, protocol.Cancelled, "batch_cancelled", 20}, {expired, protocol.Expired, "batch_expired", 20}, {admin, protocol.Cancelled, "batch_cancelled", 20}, {waiting, protocol.Cancelled, "", 0}} {
		b := r.wait(c.b.ID, ended)
		out, lost := r.lines(b.Output), r.lines(b.ErrorFile)
		if b.Status != c.status || b.Total != c.n || int64(len(out)+len(lost)) != c.n || b.Completed != int64(len(out)) || c.n > 0 && len(out) == 0 {
			t.Errorf("%s: %+v, %d answers, %d errors", c.status, b, len(out), len(lost))
		}
		for _, l := range lost {
			if e, _ := l["error"].(map[string]any); e["code"] != c.code {
				t.Errorf("%s: %v", c.status, l)
			}
		}
		if _, err := r.CancelBatch(t.Context(), "a", b.ID); serval.AsError(err).Code != serval.Conflict {
			t.Errorf("one that has ended was cancelled: %v", err)
		}
	}
	list, err := r.db.ClaimEvents(t.Context(), time.Hour)
	if err != nil || len(list) != 4 {
		t.Errorf("%d events, %v", len(list), err)
	}
}

// TestFiles: limits, a quota, and what is left when a client gives up.
func TestFiles(t *testing.T) {
	r := newRig(t, t.TempDir(), 0, nil)
	add := func(n int, broken error) error {
		_, err := r.files.AddFile(t.Context(), func(w io.Writer) (*protocol.File, error) {
			if _, err := w.Write(bytes.Repeat([]byte("x"), n)); err != nil {
				return nil, err
			}
			return &protocol.File{Tenant: "a", Purpose: "user_data"}, broken
		})
		return err
	}
	if err := add(2<<20+1, nil); serval.AsError(err).Code != serval.TooLarge {
		t.Error(err)
	}
	if err := add(5, serval.Errorf(serval.InvalidArgument, "purpose")); serval.AsError(err).Code != serval.InvalidArgument {
		t.Error(err)
	}
	for range 3 {
		if err := add(2<<20, nil); err != nil {
			t.Error(err)
		}
	}
	if err := add(1, nil); serval.AsError(err).Code != serval.ResourceExhausted {
		t.Error(err)
	}
	if names, err := os.ReadDir(filepath.Join(r.dir, "files")); err != nil || len(names) != 3 {
		t.Errorf("%v %v", names, err)
	}
}
