package requests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"serval"
	"serval/batch"
	"serval/protocol"
)

// Kind is the Kind of the jobs of batches.
const Kind = "requests"

// Answer is what an endpoint said.
type Answer struct {
	Status int    // of HTTP
	ID     string // of the request
	Body   []byte // JSON
	After  time.Duration
	Usage  serval.Usage
}

// Options are what a Service needs.
type Options struct {
	// Dir is where unfinished batches lie, each in a folder. Servers that share a store share it.
	Dir   string
	Store Store
	Jobs  batch.Jobs
	Files *Files
	// Call asks an endpoint as a tenant, in the background. A panic of what it calls is its own affair.
	Call func(ctx context.Context, tenant, path string, body []byte) Answer
	// Known says whether there is such a model: a NotFound if not. Width is how many requests to it may be under way.
	Known func(serval.Ref) error
	Width func(model string) int
	// Most is how many requests a batch may have, Longest how many bytes one of them. MaxOpen is how many batches of one tenant may be
	// open at the same time; 0: no limit.
	Most, Longest, MaxOpen int
	// Owner tells this store from others whose servers have the same Dir; see FilesOptions.
	Owner string
	// Pace takes a request from what a tenant may ask, or says how long it is until there is one. Nil: there is no limit.
	Pace func(tenant string) time.Duration
	// Keep is how long a batch that has ended and its files are kept; 0: until they are deleted.
	Keep time.Duration
	// Patience is how long a request is asked again that finds no model any more; 0: 2 min.
	Patience time.Duration
	// Linger is how long a piece of a batch keeps its place while a model answers nothing of it, Rest how long others then have it;
	// 0: 10 s and 15 s.
	Linger, Rest time.Duration
	// Hooks are the names of the webhooks that are told of an event of a tenant, beside those that a batch names.
	Hooks func(tenant, event string) []string
	// Hook says whether a tenant may name a webhook.
	Hook func(tenant, name string) bool
	// Wake has the workers look for work at once.
	Wake func()
	Log  *slog.Logger
}

// Service does batches. It is the batch.Runner of their jobs and implements protocol.Batches; Tend brings those to an end whose
// jobs have ended. Safe for concurrent use.
type Service struct {
	o    Options
	wake chan struct{}
	away absences
}

var (
	_ batch.Runner     = (*Service)(nil)
	_ protocol.Batches = (*Service)(nil)
)

// New makes one.
func New(o Options) *Service {
	if o.Patience <= 0 {
		o.Patience = 2 * time.Minute
	}
	if o.Linger <= 0 {
		o.Linger = 10 * time.Second
	}
	if o.Rest <= 0 {
		o.Rest = 15 * time.Second
	}
	return &Service{o: o, wake: make(chan struct{}, 1)}
}

// Kind is "requests".
func (s *Service) Kind() string { return Kind }

func (s *Service) folder(id string) string { return filepath.Join(s.o.Dir, id) }

// Run does a piece; see batch.Runner.
func (s *Service) Run(ctx context.Context, t *batch.Turn) batch.Outcome {
	b, err := s.o.Store.Batch(ctx, "", t.Job.ID)
	if err != nil {
		return again(err)
	}
	if b.Status.Ended() { // by a worker that could not tell the queue any more
		if b.Status == protocol.Completed || b.Status == protocol.Cancelled {
			return batch.Outcome{}
		}
		return batch.Outcome{Err: reason(b)}
	}
	switch t.Piece.Stage {
	case batch.Plan:
		return s.plan(ctx, t, b)
	case batch.Work:
		return s.work(ctx, t, b)
	}
	if b, err = s.change(ctx, b.ID, func(b *protocol.Batch) {
		if b.Status == protocol.InProgress {
			b.Status = protocol.Finalizing
		}
		b.FinalizingAt = first(b.FinalizingAt)
	}); err != nil {
		return again(err)
	}
	if err := t.Mine(ctx); err != nil {
		return again(err)
	}
	if err := s.end(ctx, b, verdict{status: protocol.Completed}); err != nil {
		return again(err)
	}
	t.Log("done: %d answered, %d failed", b.Completed, b.Failed)
	return batch.Outcome{} // the pieces have counted the rows
}

// Remove removes a batch's folder.
func (s *Service) Remove(_ context.Context, j *batch.Record) error {
	if !strings.HasPrefix(j.ID, "batch_") || filepath.Base(j.ID) != j.ID {
		return nil
	}
	return os.RemoveAll(s.folder(j.ID))
}

// again has a piece done once more: what went wrong is the disk's, the store's, or this server's.
func again(err error) batch.Outcome {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) { // it goes on when there is room; no attempt counts
		return batch.Outcome{Again: true, After: 15 * time.Second}
	}
	e := serval.AsError(err)
	text := e.Message
	if e.Code == serval.Internal {
		text = err.Error()
	}
	return batch.Outcome{Err: text, Again: true, After: 5 * time.Second}
}

func reason(b *protocol.Batch) string {
	if len(b.Errors) == 0 {
		return "the batch has ended: " + string(b.Status)
	}
	e := &b.Errors[0]
	text := e.Message
	if e.Line > 0 {
		text = fmt.Sprintf("line %d: %s", e.Line, text)
	}
	if n := len(b.Errors); n > 1 {
		text = fmt.Sprintf("%s (and %d more)", text, n-1)
	}
	return text
}

// first is a time that is set once.
func first(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now()
	}
	return t
}

// change changes a batch that has not ended, as often as others are faster; of one that has, nothing.
func (s *Service) change(ctx context.Context, id string, f func(*protocol.Batch)) (*protocol.Batch, error) {
	for {
		b, err := s.o.Store.Batch(ctx, "", id)
		if err != nil || b.Status.Ended() {
			return b, err
		}
		f(b)
		if done, err := s.o.Store.ChangeBatch(ctx, b); err != nil || done {
			return b, err
		}
	}
}

// pieceSpec is the Spec of a piece of work: a part of the plan.
type pieceSpec struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// perPiece is how many requests make a piece: servers that share a store share a batch of more than that.
const perPiece = 5000

// plan checks the input and orders it.
func (s *Service) plan(ctx context.Context, t *batch.Turn, b *protocol.Batch) batch.Outcome {
	dir := s.folder(b.ID)
	in, err := os.Open(filepath.Join(dir, inputName))
	if errors.Is(err, os.ErrNotExist) {
		return again(fmt.Errorf("this server does not have the input in %s: servers that share a store must share batch.dir, too", dir))
	} else if err != nil {
		return again(err)
	}
	defer in.Close()
	c := &checker{endpoint: b.Endpoint, most: s.o.Most, longest: s.o.Longest, known: s.o.Known}
	if err := c.read(ctx, in); err != nil {
		return again(err)
	}
	if len(c.errors) > 0 {
		b.Total = int64(len(c.places))
		if err := s.end(ctx, b, verdict{status: protocol.Failed, errors: c.errors}); err != nil {
			return again(err)
		}
		return batch.Outcome{Err: reason(b)}
	}
	c.order()
	if err := writePlan(dir, c.places); err != nil {
		return again(err)
	}
	if _, err := s.change(ctx, b.ID, func(b *protocol.Batch) {
		if b.Status == protocol.Validating {
			b.Status = protocol.InProgress
		}
		b.InProgressAt, b.Total = first(b.InProgressAt), int64(len(c.places))
		if c.model != "*" {
			b.Model = c.model
		}
	}); err != nil {
		return again(err)
	}
	n := len(c.places)
	parts := (n + perPiece - 1) / perPiece
	var out batch.Outcome
	for i := range parts {
		spec := pieceSpec{From: i * n / parts, To: (i + 1) * n / parts}
		raw, _ := json.Marshal(spec) // plain data
		out.Next = append(out.Next, batch.Piece{Spec: raw, Weight: float64(spec.To - spec.From)})
	}
	t.Log("planned: %d requests to %s in %d pieces", n, b.Endpoint, parts)
	return out
}
