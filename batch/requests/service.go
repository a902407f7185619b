package requests

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"serval"
	"serval/batch"
	"serval/protocol"
)

// Bounds of what a client may say of a batch, as OpenAI has them.
const (
	maxPairs  = 16
	maxName   = 64
	maxValue  = 512
	leastKeep = time.Hour
	mostKeep  = 30 * 24 * time.Hour
	maxWindow = 30 * 24 * time.Hour
	maxKey    = 200
)

// jobSpec is the Spec of a batch's job, by which a key knows it again.
type jobSpec struct {
	Endpoint string            `json:"endpoint"`
	Input    string            `json:"input_file_id"`
	Window   string            `json:"completion_window"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// SubmitBatch begins one.
func (s *Service) SubmitBatch(ctx context.Context, b *protocol.Batch, key string) error {
	window, err := checkBatch(b, key)
	if err != nil {
		return err
	}
	file, err := s.o.Files.File(ctx, b.Tenant, b.Input)
	if err != nil {
		if e := serval.AsError(err); e.Code == serval.NotFound {
			return serval.Errorf(serval.NotFound, "input_file_id: there is no file '%.100s'", b.Input).At("input_file_id").Named("file_not_found")
		} else if e.Code == serval.InvalidArgument {
			return e.At("input_file_id")
		}
		return err
	}
	if file.Purpose != "batch" {
		return serval.Errorf(serval.InvalidArgument, "input_file_id: the purpose of file '%s' is %s; upload it with purpose batch", file.ID, file.Purpose).At("input_file_id")
	}
	if err := s.o.Files.room(ctx, b.Tenant); err != nil {
		return err
	}
	if b.Hook != "" && !s.o.Hook(b.Tenant, b.Hook) {
		return serval.Errorf(serval.InvalidArgument, "webhook_id: there is no webhook %.64q that your key may use; this server's operator configures them", b.Hook).At("webhook_id")
	}
	spec, err := json.Marshal(jobSpec{Endpoint: b.Endpoint, Input: b.Input, Window: b.Window, Metadata: b.Metadata})
	if err != nil {
		return err
	}
	if key != "" {
		key = Kind + ":" + key
	}
	id := protocol.NewID("batch_")
	dir := s.folder(id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return diskError(err)
	}
	err = s.own(dir)
	if err == nil {
		err = linkOrCopy(s.o.Files.path(file.ID), filepath.Join(dir, inputName))
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return elsewhere(file.ID)
		}
		return diskError(err)
	}
	b.Status, b.Expires = protocol.Validating, time.Now().Add(window).Truncate(time.Microsecond)
	r := &batch.Record{ID: id, Tenant: b.Tenant, Kind: Kind, Name: b.Endpoint, Priority: 5, Key: key, Spec: spec, Expires: b.Expires}
	added, err := s.o.Store.AddBatch(ctx, b, r, s.o.MaxOpen)
	if errors.Is(err, ErrUnknown) {
		var row *protocol.Batch
		if !lookAgain(ctx, func(ctx context.Context) (err error) { row, err = s.o.Store.Batch(ctx, "", id); return err }) {
			return unsure(err) // its folder stays, as it may be there yet: sweep looks
		}
		*b, added, err = *row, true, nil
	}
	if err == nil && added {
		s.o.Wake()
		return nil
	}
	_ = os.RemoveAll(dir)
	if err != nil {
		return err
	}
	before, err := s.Batch(ctx, b.Tenant, r.ID)
	if err == nil {
		*b = *before
	}
	return err
}

// checkBatch says what is wrong with what a client asks for, and how long the batch may take.
func checkBatch(b *protocol.Batch, key string) (window time.Duration, err error) {
	if err := checkEndpoint(b.Endpoint); err != nil {
		return 0, err
	}
	if b.Input == "" {
		return 0, serval.Errorf(serval.InvalidArgument, "input_file_id is missing; upload a file with purpose batch first").At("input_file_id")
	}
	if window, err = parseWindow(b.Window); err != nil {
		return 0, err
	}
	if len(b.Metadata) > maxPairs {
		return 0, serval.Errorf(serval.InvalidArgument, "metadata has %d pairs; at most %d are taken", len(b.Metadata), maxPairs).At("metadata")
	}
	for name, value := range b.Metadata {
		if utf8.RuneCountInString(name) > maxName || utf8.RuneCountInString(value) > maxValue {
			return 0, serval.Errorf(serval.InvalidArgument, "metadata: %.64q is too long; a name has at most %d characters, and a value %d", name, maxName, maxValue).At("metadata")
		}
	}
	if b.OutputKeep != 0 && (b.OutputKeep < leastKeep || b.OutputKeep > mostKeep) {
		return 0, serval.Errorf(serval.InvalidArgument, "output_expires_after.seconds is %d; it must be between %d and %d", int64(b.OutputKeep/time.Second), int64(leastKeep/time.Second), int64(mostKeep/time.Second)).At("output_expires_after.seconds")
	}
	if len(key) > maxKey {
		return 0, serval.Errorf(serval.InvalidArgument, "the Idempotency-Key has %d bytes; at most %d are taken", len(key), maxKey).At("idempotency_key")
	}
	return window, nil
}

// parseWindow reads completion_window: OpenAI's 24h, or another span: 90s, 30m, 7d.
func parseWindow(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(min(max(n, 0), 1000)) * 24 * time.Hour
	}
	if err != nil || d < time.Second || d > maxWindow {
		return 0, serval.Errorf(serval.InvalidArgument, "completion_window is %.50q; write 24h, or another span from 1s to 30d", text).At("completion_window")
	}
	return d, nil
}

// Batch returns one, with the counts of this moment.
func (s *Service) Batch(ctx context.Context, tenant, id string) (*protocol.Batch, error) {
	b, err := s.o.Store.Batch(ctx, tenant, id)
	if err == nil {
		err = s.count(ctx, b)
	}
	return b, err
}

// Held is how many bytes a tenant's open batches have on the disk that are not those of a file of its own: answers, and inputs whose files
// were removed meanwhile.
func (s *Service) Held(ctx context.Context, tenant string) (n int64, err error) {
	list, err := s.o.Store.OpenBatches(ctx, tenant)
	for _, b := range list {
		names, e := os.ReadDir(s.folder(b.ID))
		if e != nil { // another server's, or it has just ended
			continue
		}
		file, e := os.Stat(s.o.Files.path(b.Input))
		if e != nil {
			file = nil
		}
		for _, name := range names {
			if info, e := name.Info(); e == nil && (file == nil || !os.SameFile(info, file)) {
				n += info.Size()
			}
		}
	}
	return n, err
}

// count fills in how far a batch is that has not ended.
func (s *Service) count(ctx context.Context, b *protocol.Batch) error {
	if b.Status.Ended() || b.InProgressAt.IsZero() {
		return nil
	}
	j, err := s.o.Jobs.Job(ctx, "", b.ID)
	if err != nil {
		if serval.AsError(err).Code == serval.NotFound {
			return nil
		}
		return err
	}
	b.Completed, b.Failed = j.Tally.Rows-j.Tally.Bad, j.Tally.Bad
	return nil
}

// Batches lists them.
func (s *Service) Batches(ctx context.Context, f protocol.BatchFilter) ([]*protocol.Batch, error) {
	list, err := s.o.Store.Batches(ctx, f)
	for i := 0; err == nil && i < len(list); i++ {
		err = s.count(ctx, list[i])
	}
	return list, err
}

// CancelBatch ends one early. The job first: what is stored of a batch only ever follows it.
func (s *Service) CancelBatch(ctx context.Context, tenant, id string) (*protocol.Batch, error) {
	b, err := s.o.Store.Batch(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	if b.Status.Ended() {
		return nil, serval.Errorf(serval.Conflict, "batch '%s' is %s and cannot be cancelled any more", id, b.Status).At("batch_id")
	}
	if _, err := s.o.Jobs.Change(ctx, "", id, batch.Cancel); err != nil {
		if c := serval.AsError(err).Code; c != serval.Conflict && c != serval.NotFound { // it has just ended, which settles the rest
			return nil, err
		}
	}
	if b, err = s.change(ctx, id, func(b *protocol.Batch) {
		b.Status, b.CancellingAt = protocol.Cancelling, first(b.CancellingAt)
	}); err == nil {
		err = s.count(ctx, b)
	}
	s.settleSoon()
	return b, err
}

func (s *Service) settleSoon() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// How often jobs are looked for that have ended before their batches, and what is old.
const (
	settleEvery = time.Second
	tidyEvery   = time.Minute
	orphanEvery = time.Hour
)

// Tend brings batches to an end until ctx ends: those that were cancelled, whose time is over, whose jobs were given up. It also
// removes what is old.
func (s *Service) Tend(ctx context.Context) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	var tidied, swept time.Time
	for {
		if err := s.settle(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.Warn("batches could not be brought to their end", "error", err)
		}
		if now := time.Now(); now.Sub(tidied) > tidyEvery {
			orphans := now.Sub(swept) > orphanEvery
			if err := s.tidy(ctx, orphans); err != nil && ctx.Err() == nil {
				s.o.Log.Warn("old files and batches could not be removed", "error", err)
			}
			if tidied = now; orphans {
				swept = now
			}
		}
		select {
		case <-tick.C:
		case <-s.wake:
		case <-ctx.Done():
			return
		}
	}
}

// lastCall is how long a server that lacks a batch's folder leaves its end to others.
const lastCall = 10 * time.Minute

// settle ends batches whose jobs have ended.
func (s *Service) settle(ctx context.Context) error {
	list, err := s.o.Store.UnsettledBatches(ctx)
	for _, b := range list {
		err = errors.Join(err, s.settleOne(ctx, b))
	}
	return err
}

func (s *Service) settleOne(ctx context.Context, b *protocol.Batch) error {
	j, err := s.o.Jobs.Job(ctx, "", b.ID)
	if err != nil && serval.AsError(err).Code != serval.NotFound {
		return err
	}
	v := verdict{without: err != nil || time.Since(j.Ended) > lastCall}
	failed := func(why string) {
		v.status, v.errors = protocol.Failed, []protocol.BatchError{{Code: "server_error", Message: why}}
	}
	switch {
	case err != nil && b.CancellingAt.IsZero():
		failed("its job was deleted")
	case err != nil, j.State == batch.Cancelled:
		v.status = protocol.Cancelled
	case j.State == batch.Expired:
		v.status = protocol.Expired
	case j.State == batch.Failed:
		failed(j.Reason)
	case j.State == batch.Succeeded:
		v.status = protocol.Completed
	default:
		return nil // it goes on after all
	}
	return s.end(ctx, b, v)
}

// tidy removes old batches and files, and once in a while what kills have left.
func (s *Service) tidy(ctx context.Context, orphans bool) error {
	err := s.o.Files.tidy(ctx, orphans)
	if s.o.Keep > 0 {
		ids, e := s.o.Store.ForgetBatches(ctx, s.o.Keep)
		err = errors.Join(err, e)
		for _, id := range ids {
			if e := s.o.Jobs.Delete(ctx, "", id); e != nil && serval.AsError(e).Code != serval.NotFound {
				err = errors.Join(err, e)
			}
		}
	}
	if !orphans {
		return err
	}
	return errors.Join(err, s.sweep(ctx))
}
