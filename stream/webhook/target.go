package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"serval"
	"serval/internal/webhook"
	"serval/stream"
)

// target is a stream.Target.
type target struct {
	opt    *TargetOptions
	sender *webhook.Sender
	stream string

	mu      sync.Mutex     // guards what follows
	refused map[string]int // answers of 5xx, by webhook-id
	calm    time.Time      // nothing is sent before: the receiver asked for it
}

// row is what is sent one after the other: the messages of a key, or those without one of a partition.
type row struct {
	lane *stream.Lane
	key  string
	none bool // there is no key
}

// outcome is what a Write found so far. Safe for concurrent use.
type outcome struct {
	mu     sync.Mutex
	failed map[int]error
	stop   error // why nothing more is sent
}

func (o *outcome) add(i int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed[i] = err
	if !stream.IsPermanent(err) && o.stop == nil {
		o.stop = err
	}
}

func (o *outcome) stopped() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stop
}

// Write implements stream.Target. After a failure that is not for good nothing more is sent: the receiver is down for all.
func (t *target) Write(ctx context.Context, messages []*stream.Message) error {
	if err := t.rest(ctx); err != nil {
		return err
	}
	var order []row
	rows := map[row][]int{}
	for i, m := range messages {
		r := row{lane: m.Lane, key: string(m.Key), none: m.Key == nil}
		if m.Key == nil && m.Lane == nil {
			r.key = fmt.Sprint(i) // in no order
		}
		if rows[r] == nil {
			order = append(order, r)
		}
		rows[r] = append(rows[r], i)
	}
	work := make(chan []int)
	out := &outcome{failed: map[int]error{}}
	var senders sync.WaitGroup
	for range min(t.opt.Concurrency, len(order)) {
		senders.Go(func() {
			for list := range work {
				t.row(ctx, messages, list, out)
			}
		})
	}
	for _, r := range order {
		work <- rows[r]
	}
	close(work)
	senders.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(out.failed) > 0:
		return &stream.WriteError{Failed: out.failed}
	}
	return nil
}

// row sends messages one after the other, until something is wrong with the receiver.
func (t *target) row(ctx context.Context, messages []*stream.Message, list []int, out *outcome) {
	for _, i := range list {
		if why := out.stopped(); why != nil {
			out.add(i, why)
			continue
		}
		if err := t.send(ctx, messages[i]); err != nil {
			out.add(i, err)
		}
	}
}

// rest waits as long as the receiver asked for.
func (t *target) rest(ctx context.Context) error {
	t.mu.Lock()
	d := time.Until(t.calm)
	t.mu.Unlock()
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *target) send(ctx context.Context, m *stream.Message) error {
	id := t.id(m)
	err := t.sender.Once(ctx, t.opt.URL, id, m.Value, t.headers(m))
	var f *webhook.Failure
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		delete(t.refused, id)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(err, &f):
		return stream.Permanent(err)
	case f.Status == 0 && f.Permanent: // an address that is not to be reached: it is the stream's fault, not the message's
		return serval.Errorf(serval.PermissionDenied, "webhook: %w", err)
	case f.Permanent && ofAll(f.Status):
		return serval.Errorf(serval.Unavailable, "webhook: %w", err)
	case f.Permanent:
		return stream.Permanent(serval.Errorf(serval.InvalidArgument, "webhook: %w", err))
	}
	if f.Status >= 500 && t.opt.GiveUp > 0 {
		if t.refused[id]++; t.refused[id] >= t.opt.GiveUp {
			delete(t.refused, id)
			return stream.Permanent(serval.Errorf(serval.Unavailable, "webhook: given up after %d answers: %w", t.opt.GiveUp, err))
		}
		if len(t.refused) > mostRefused {
			clear(t.refused)
		}
	}
	if until := time.Now().Add(min(f.After, t.opt.RetryAfter)); until.After(t.calm) {
		t.calm = until
	}
	code := serval.Unavailable
	if f.Status == http.StatusTooManyRequests {
		code = serval.ResourceExhausted
	}
	return serval.Errorf(code, "webhook: %w", err)
}

// mostRefused bounds what is remembered of messages that were answered with 5xx.
const mostRefused = 1 << 16

// ofAll says whether an answer is about the credentials or the address, which are the same for every message: then it would be
// wrong to make each a dead letter.
func ofAll(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return true
	}
	return status < 400
}

// id is the message's for ever: made of the stream, its position and its time, since positions begin anew where what was read is
// made again.
func (t *target) id(m *stream.Message) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", t.stream, m.Position, m.Time.UnixNano()))
	return "msg_" + base64.RawURLEncoding.EncodeToString(sum[:18])
}

// headers are those of a message's request. Of the message's own only those that Serval knows are sent: others may mean something
// to servers on the way.
func (t *target) headers(m *stream.Message) http.Header {
	h := http.Header{}
	h.Set("Serval-Stream", t.stream)
	h.Set("Serval-Position", m.Position.String())
	for _, name := range []string{stream.HeaderModel, stream.HeaderVersion, stream.HeaderTrace, stream.HeaderCode, stream.HeaderError, stream.HeaderParam} {
		if v, ok := m.Header(name); ok && plain(v) {
			h.Set(name, string(v))
		}
	}
	if m.Key != nil && plain(m.Key) {
		h.Set("Serval-Key", string(m.Key))
	}
	return h
}

// plain says whether bytes can be a header's value.
func plain(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 1024
}

// Close implements stream.Target.
func (t *target) Close() error {
	t.sender.Close()
	return nil
}
