package requests

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"serval"
	"serval/protocol"
)

// result is what a batch comes to, before it is acknowledged.
type result struct {
	files                     []*protocol.File // the output and the errors, on the disk already
	output, errors            string           // their ids; "": there is none
	total, completed, failing int64
	usage                     serval.Usage
	planned                   bool
}

// verdict is how a batch ends.
type verdict struct {
	status protocol.BatchStatus
	errors []protocol.BatchError
	// without ends it even if this server has nothing of what was answered, and nobody else came who has.
	without bool
}

// end ends a batch, which is changed accordingly: its files, counts and events are there, once, whoever else tries to. One that has
// ended stays as it ended. Files are in the order of the input, so they do not depend on when what was answered.
func (s *Service) end(ctx context.Context, b *protocol.Batch, v verdict) error {
	r, err := s.collect(ctx, b, v)
	if err != nil {
		return err
	}
	fresh := b
	for {
		if fresh.Status.Ended() {
			break
		}
		r.apply(fresh, v.status, v.errors)
		done, err := s.o.Store.EndBatch(ctx, fresh, r.files, s.events(fresh))
		if errors.Is(err, ErrUnknown) {
			return err // the files stay: the next attempt sees whether the batch has ended, and sweep whether they have rows
		}
		if err != nil {
			s.drop(r)
			return err
		}
		if done {
			for _, f := range r.files {
				s.o.Files.settled(f.ID)
			}
			*b = *fresh
			return os.RemoveAll(s.folder(b.ID))
		}
		if fresh, err = s.o.Store.Batch(ctx, "", b.ID); err != nil {
			s.drop(r)
			return err
		}
	}
	s.drop(r)
	*b = *fresh
	return nil
}

func (s *Service) drop(r *result) {
	for _, f := range r.files {
		if os.Remove(s.o.Files.path(f.ID)) == nil { // what is left, sweep finds
			s.o.Files.settled(f.ID)
		}
	}
}

// apply writes the end into a batch.
func (r *result) apply(b *protocol.Batch, status protocol.BatchStatus, errs []protocol.BatchError) {
	now := time.Now()
	if status == protocol.Completed && !b.CancellingAt.IsZero() {
		status = protocol.Cancelled // its client was told so
	}
	b.Status, b.Errors, b.Output, b.ErrorFile, b.Usage = status, errs, r.output, r.errors, r.usage
	if r.planned {
		b.Total, b.Completed, b.Failed = r.total, r.completed, r.failing
	}
	switch status {
	case protocol.Completed:
		b.FinalizingAt, b.CompletedAt = first(b.FinalizingAt), now
	case protocol.Failed:
		b.FailedAt = now
	case protocol.Expired:
		b.ExpiredAt = now
	case protocol.Cancelled:
		b.CancellingAt, b.CancelledAt = first(b.CancellingAt), now
	}
}

// events are those of the end of a batch.
func (s *Service) events(b *protocol.Batch) []*protocol.Event {
	kind := "batch." + string(b.Status)
	if b.Group {
		kind = GroupEvent
	}
	names := s.o.Hooks(b.Tenant, kind)
	if b.Hook != "" && !slices.Contains(names, b.Hook) {
		names = append(names, b.Hook)
	}
	id := protocol.NewID("evt_")
	var list []*protocol.Event
	for _, name := range names {
		list = append(list, &protocol.Event{ID: id, Hook: name, Tenant: b.Tenant, Type: kind, Subject: b.ID})
	}
	return list
}

// lost says why a request has no answer.
func lost(status protocol.BatchStatus) (code, message string) {
	switch status {
	case protocol.Expired:
		return "batch_expired", "This request could not be executed before the completion window expired."
	case protocol.Cancelled:
		return "batch_cancelled", "This request was not executed before the batch was cancelled."
	}
	return "batch_failed", "This request was not executed before the batch failed."
}

// collect puts what was answered together, in the order of the input.
func (s *Service) collect(ctx context.Context, b *protocol.Batch, v verdict) (*result, error) {
	dir := s.folder(b.ID)
	r := &result{}
	places, err := readPlan(dir, 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		if !b.InProgressAt.IsZero() && !v.without {
			return nil, missing(dir)
		}
		return r, nil // it was not planned
	} else if err != nil {
		return nil, err
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.line, b.line) })
	r.planned, r.total = true, int64(len(places))
	entries := map[uint32]entry{}
	list, err := pieces(dir)
	if err != nil {
		return nil, err
	}
	for _, piece := range list {
		// A batch that has failed, because of that perhaps, ends with what can be read.
		if _, err := answered(dir, piece, v.status != protocol.Completed, func(e *entry) {
			kept := *e
			kept.text = nil
			entries[e.line] = kept
		}); err != nil {
			return nil, err
		}
	}
	c := &collector{s: s, b: b, dir: dir, status: v.status, entries: entries, segments: map[string]*os.File{}}
	defer c.close()
	if c.in, err = os.Open(filepath.Join(dir, inputName)); err != nil && !(v.without && errors.Is(err, fs.ErrNotExist)) {
		return nil, err
	}
	if err := c.write(ctx, places, r); err != nil {
		return nil, diskError(err)
	}
	return r, nil
}

func missing(dir string) error {
	return serval.Errorf(serval.Unavailable, "this server does not have all of %s: servers that share a store must share batch.dir, too", dir)
}

// collector copies answers into the files that clients read.
type collector struct {
	s        *Service
	b        *protocol.Batch
	dir      string
	status   protocol.BatchStatus
	entries  map[uint32]entry
	in       *os.File
	segments map[string]*os.File
	out      [2]sheet // the output, the errors
	buf      []byte
}

// sheet is a file on its way; nil files have had no line yet.
type sheet struct {
	f    *os.File
	w    *bufio.Writer
	size int64
}

func (c *collector) close() {
	if c.in != nil {
		_ = c.in.Close()
	}
	for _, f := range c.segments {
		_ = f.Close()
	}
	for i := range c.out {
		if f := c.out[i].f; f != nil {
			_ = f.Close()
			_ = os.Remove(f.Name()) // unless it has another name by now
		}
	}
}

// write fills both files and gives them their names.
func (c *collector) write(ctx context.Context, places []place, r *result) error {
	for i := range places {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		text, failed, err := c.text(&places[i], r)
		if err != nil {
			return err
		}
		if text == nil { // nobody knows any more what it was called
			r.failing++
			continue
		}
		to := 0
		if failed {
			to = 1
			r.failing++
		} else {
			r.completed++
		}
		if err := c.append(&c.out[to], text); err != nil {
			return err
		}
	}
	for i, name := range []string{"_output.jsonl", "_error.jsonl"} {
		id, err := c.keep(&c.out[i], c.b.ID+name, r)
		if err != nil {
			c.s.drop(r)
			return err
		}
		if i == 0 {
			r.output = id
		} else {
			r.errors = id
		}
	}
	return nil
}

// text is a request's line; what it returns is valid until the next call.
func (c *collector) text(p *place, r *result) (text []byte, failed bool, err error) {
	e, ok := c.entries[p.line]
	if !ok {
		if c.status == protocol.Completed {
			return nil, false, missing(c.dir)
		}
		if c.in == nil {
			return nil, true, nil
		}
		l, err := request(c.in, p)
		if err != nil {
			return nil, false, err
		}
		code, message := lost(c.status)
		return lostText(c.b.ID, p.line, *l.CustomID, code, message), true, nil
	}
	f := c.segments[e.segment]
	if f == nil {
		if f, err = os.Open(filepath.Join(c.dir, e.segment)); err != nil {
			return nil, false, err
		}
		c.segments[e.segment] = f
	}
	c.buf = slices.Grow(c.buf[:0], int(e.size))[:e.size]
	if _, err := f.ReadAt(c.buf, e.offset); err != nil {
		return nil, false, err
	}
	r.usage.Add(e.usage)
	return c.buf, e.failed, nil
}

func (c *collector) append(s *sheet, text []byte) (err error) {
	if s.f == nil {
		if err := os.MkdirAll(c.s.o.Files.o.Dir, 0o700); err != nil {
			return err
		}
		if s.f, err = os.CreateTemp(c.s.o.Files.o.Dir, upload); err != nil {
			return err
		}
		s.w = bufio.NewWriterSize(s.f, 256<<10)
	}
	s.size += int64(len(text)) + 1
	_, _ = s.w.Write(text) // Flush has the error
	return s.w.WriteByte('\n')
}

// keep gives a finished file its place.
func (c *collector) keep(s *sheet, name string, r *result) (id string, err error) {
	if s.f == nil {
		return "", nil
	}
	if err := s.w.Flush(); err != nil {
		return "", err
	}
	if err := s.f.Sync(); err != nil {
		return "", err
	}
	f := &protocol.File{ID: protocol.NewID("file-"), Tenant: c.b.Tenant, Purpose: "batch_output", Name: name, Size: s.size}
	keep := c.b.OutputKeep
	if keep == 0 {
		keep = c.s.o.Keep
	}
	if keep > 0 {
		f.Expires = time.Now().Add(keep)
	}
	if err := c.s.o.Files.keep(s.f.Name(), f.ID); err != nil {
		return "", err
	}
	r.files = append(r.files, f)
	return f.ID, nil
}
