package requests_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serval"
	"serval/batch"
	"serval/batch/requests"
	"serval/protocol"
)

// upload adds an input whose lines ask these models, one after the other.
func (r *rig) upload(models ...string) *protocol.File {
	r.t.Helper()
	f, err := r.files.AddFile(r.t.Context(), func(w io.Writer) (*protocol.File, error) {
		for i, m := range models {
			if _, err := fmt.Fprintf(w, `{"custom_id":"%d","method":"POST","url":%q,"body":{"model":%q,"input":"%d"}}`+"\n", i, embed, m, i); err != nil {
				return nil, err
			}
		}
		return &protocol.File{Tenant: "a", Purpose: "batch"}, nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

func (r *rig) begin(f *protocol.File) *protocol.Batch {
	r.t.Helper()
	b := &protocol.Batch{Tenant: "a", Endpoint: embed, Input: f.ID, Window: "24h"}
	if err := r.SubmitBatch(r.t.Context(), b, ""); err != nil {
		r.t.Fatal(err)
	}
	return b
}

// TestAway: batches of a model that is away give their place up, whether it refuses or is not found, and a batch of several models has
// those answered that are there. When the model comes back everything has one answer.
func TestAway(t *testing.T) {
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusNotFound} {
		var back atomic.Bool
		var answers atomic.Int64
		call := func(_ context.Context, body string) requests.Answer {
			var b struct{ Model string }
			_ = json.Unmarshal([]byte(body), &b)
			if b.Model == "away" && !back.Load() {
				return said(status, "{}")
			}
			answers.Add(1)
			return said(http.StatusOK, "{}")
		}
		r := newRig(t, t.TempDir(), 1, call, func(o *requests.Options, _ *requests.FilesOptions) {
			o.Patience, o.Linger, o.Rest = time.Hour, 50*time.Millisecond, 200*time.Millisecond
		})
		var stuck []*protocol.Batch
		for range 3 {
			stuck = append(stuck, r.begin(r.upload("away", "away", "here", "away")))
		}
		if b := r.wait(r.begin(r.upload("here", "here")).ID, ended); b.Status != protocol.Completed || b.Completed != 2 {
			t.Errorf("%d: %+v", status, b)
		}
		for _, b := range stuck {
			r.wait(b.ID, func(b *protocol.Batch) bool { return !b.Status.Ended() && b.Completed == 1 })
		}
		back.Store(true)
		for _, b := range stuck {
			if b := r.wait(b.ID, ended); b.Status != protocol.Completed || b.Completed != 4 || b.Failed != 0 || len(r.lines(b.Output)) != 4 {
				t.Errorf("%d: %+v", status, b)
			}
		}
		if n := answers.Load(); n != 3*4+2 {
			t.Errorf("%d: %d requests were answered, want 14", status, n)
		}
		r.stop()
	}
}

// TestPaced: the requests of a batch wait for what their tenant may ask; none fails, and none is asked beyond that.
func TestPaced(t *testing.T) {
	var may, asked atomic.Int64
	r := newRig(t, t.TempDir(), 1, func(context.Context, string) requests.Answer {
		asked.Add(1)
		return said(http.StatusOK, "{}")
	}, func(o *requests.Options, _ *requests.FilesOptions) {
		o.Pace = func(tenant string) time.Duration {
			if tenant != "a" {
				t.Errorf("the rate of %q", tenant)
			}
			if may.Add(-1) >= 0 {
				return 0
			}
			may.Add(1)
			return time.Millisecond
		}
	})
	b := r.submit(20, "24h", "")
	for n := range int64(4) {
		may.Add(5)
		if n < 3 {
			r.wait(b.ID, func(b *protocol.Batch) bool { return b.Completed == 5*(n+1) && asked.Load() == 5*(n+1) })
		}
	}
	if b := r.wait(b.ID, ended); b.Status != protocol.Completed || b.Completed != 20 || asked.Load() != 20 {
		t.Errorf("%+v, asked %d", b, asked.Load())
	}
}

// TestOpen: how many batches may be open, and that what lies on the disk for them counts.
func TestOpen(t *testing.T) {
	r := newRig(t, t.TempDir(), 0, nil, func(o *requests.Options, f *requests.FilesOptions) { o.MaxOpen, f.Total = 3, 3000 })
	f := r.upload(strings.Split(strings.Repeat("m ", 10)+"m", " ")...)
	held := func() int64 {
		n, err := r.Held(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := r.begin(f)
	begun := held() // all but the input
	if begun >= f.Size {
		t.Errorf("%d bytes of a batch whose input is a file of %d", begun, f.Size)
	}
	if err := r.files.RemoveFile(t.Context(), "a", f.ID); err != nil {
		t.Fatal(err)
	}
	if n := held(); n != begun+f.Size {
		t.Errorf("%d bytes, want %d and the input's %d", n, begun, f.Size)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "batches", first.ID, "p1.1.seg"), make([]byte, 3000-f.Size), 0o600); err != nil {
		t.Fatal(err)
	}
	add := func() error {
		_, err := r.files.AddFile(t.Context(), func(w io.Writer) (*protocol.File, error) {
			_, err := io.WriteString(w, "x")
			return &protocol.File{Tenant: "a", Purpose: "batch"}, err
		})
		return err
	}
	if err := add(); serval.AsError(err).Reason != "file_quota_exceeded" {
		t.Errorf("beside an open batch: %v", err)
	}
	if err := os.Remove(filepath.Join(r.dir, "batches", first.ID, "p1.1.seg")); err != nil {
		t.Fatal(err)
	}
	f = r.upload("m")
	r.begin(f)
	again := &protocol.Batch{Tenant: "a", Endpoint: embed, Input: f.ID, Window: "24h"}
	if err := r.SubmitBatch(t.Context(), again, "key"); err != nil {
		t.Fatal(err)
	}
	b := &protocol.Batch{Tenant: "a", Endpoint: embed, Input: f.ID, Window: "24h"}
	if e := serval.AsError(r.SubmitBatch(t.Context(), b, "")); e.Code != serval.ResourceExhausted || !strings.Contains(e.Message, "files.max_open") {
		t.Errorf("a fourth batch: %v", e)
	}
	if err := r.SubmitBatch(t.Context(), b, "key"); err != nil || b.ID != again.ID {
		t.Errorf("a repeated one: %+v %v", b, err)
	}
	if folders, _ := filepath.Glob(filepath.Join(r.dir, "batches", "batch_*")); len(folders) != 3 {
		t.Errorf("%d folders", len(folders))
	}
	if _, err := r.db.Change(t.Context(), "", first.ID, batch.Cancel); err != nil {
		t.Fatal(err)
	}
	r.wait(first.ID, ended)
	r.begin(f)
}
