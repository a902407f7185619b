package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"serval"
	"serval/store/blob"
	"serval/stream"
)

// target is a stream.Deferred. The worker's writer uses it; Flush publishes several files at a time.
type target struct {
	opt     *TargetOptions
	env     stream.Env
	path    folders
	places  *blob.Places
	parquet map[string]string // options of its writer
	schema  *schema

	groups map[groupKey]*group
	rows   int
	bytes  int64
	since  time.Time // the first row came

	folders struct { // the last folder's name, and what it was made of
		hour  int64
		topic string
		name  string
	}
}

var _ stream.Deferred = (*target)(nil)

// groupKey says which file a row goes to.
type groupKey struct {
	folder, topic string
	lane          string // the messages come in the order of their offsets, also when they come again
	ids           bool   // they stand in no order, and are known by their ids
	dead          bool   // they are dead letters
}

// group is the rows of one file.
type group struct {
	groupKey
	rows        []row
	first, last int64     // offsets
	since       time.Time // of the first message
}

// Take implements stream.Deferred. It keeps the messages until Flush.
func (t *target) Take(_ context.Context, messages []*stream.Message) error {
	now := time.Now()
	failed := map[int]error{}
	for i, m := range messages {
		r := row{m: m}
		if t.opt.Format == "parquet" {
			var err error
			if r.cells, err = t.schema.take(m); err != nil {
				failed[i] = stream.Permanent(err)
				continue
			}
		}
		p := &m.Position
		key := groupKey{folder: t.folder(m, now), topic: p.Topic}
		if p.ID != "" || m.Lane == nil {
			key.ids = true
		} else {
			key.lane = m.Lane.Name
		}
		_, key.dead = m.Header(stream.HeaderError)
		g := t.groups[key]
		if g == nil {
			g = &group{groupKey: key, first: p.Offset, last: p.Offset, since: m.Time}
			if g.since.IsZero() {
				g.since = now
			}
			t.groups[key] = g
		}
		g.first, g.last = min(g.first, p.Offset), max(g.last, p.Offset)
		g.rows = append(g.rows, r)
		if t.rows == 0 {
			t.since = now
		}
		t.rows++
		t.bytes += int64(len(m.Value) + len(m.Key))
	}
	if len(failed) > 0 {
		return &stream.WriteError{Failed: failed}
	}
	return nil
}

// Due implements stream.Deferred.
func (t *target) Due() time.Time {
	switch {
	case t.rows == 0:
		return time.Time{}
	case t.opt.RollRows > 0 && t.rows >= t.opt.RollRows, t.opt.RollBytes > 0 && t.bytes >= t.opt.RollBytes:
		return t.since
	}
	return t.since.Add(t.opt.RollEvery)
}

// Write implements stream.Target: a file at once, as dead letters need it.
func (t *target) Write(ctx context.Context, messages []*stream.Message) error {
	err := t.Take(ctx, messages)
	if flushed := t.Flush(ctx); flushed != nil { // what was taken is given again
		t.forget()
		return flushed
	}
	return err
}

func (t *target) forget() {
	clear(t.groups)
	t.rows, t.bytes = 0, 0
}

// uploads is how many files are written at the same time.
const uploads = 4

// Flush implements stream.Deferred. Files that are finished are not written again when it is called again.
func (t *target) Flush(ctx context.Context) error {
	keys := slices.SortedFunc(maps.Keys(t.groups), func(a, b groupKey) int {
		return slices.Compare([]string{a.folder, a.topic, a.lane}, []string{b.folder, b.topic, b.lane})
	})
	if len(keys) == 0 {
		return nil
	}
	staging := t.staging()
	if err := t.folderFor(staging, !t.path.remote); err != nil {
		return err
	}
	work := make(chan groupKey)
	errs := make([]error, min(uploads, len(keys)))
	var done sync.Map
	var workers sync.WaitGroup
	for n := range errs {
		workers.Go(func() {
			for key := range work {
				if errs[n] != nil || ctx.Err() != nil {
					continue
				}
				if errs[n] = t.publish(ctx, t.groups[key], filepath.Join(staging, fmt.Sprintf("%d.part", n))); errs[n] == nil {
					done.Store(key, true)
				}
			}
		})
	}
	for _, key := range keys {
		work <- key
	}
	close(work)
	workers.Wait()
	for key := range done.Range {
		g := t.groups[key.(groupKey)]
		t.rows -= len(g.rows)
		delete(t.groups, key.(groupKey))
	}
	for _, err := range errs {
		if err != nil {
			return err // one is enough for people
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t.forget()
	return nil
}

// publish writes a group's file in the making, and puts it where it belongs.
func (t *target) publish(ctx context.Context, g *group, part string) error {
	location := t.location(g.folder, g.file(t))
	if !t.path.remote {
		if err := t.folderFor(filepath.Dir(location), true); err != nil {
			return err
		}
	}
	to, err := t.places.Target(ctx, location)
	if err != nil {
		return err
	}
	if err := remove(part); err != nil { // of an earlier attempt
		return err
	}
	write := t.linesFile
	if t.opt.Format == "parquet" {
		write = t.parquetFile
	}
	if err := write(g, part); err != nil {
		return errors.Join(disk(location, err), remove(part))
	}
	if err := to.Publish(ctx, part, ""); err != nil {
		return errors.Join(disk(location, err), remove(part))
	}
	return remove(part)
}

func remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// disk says what a failed write means for people.
func disk(name string, err error) error {
	var own *serval.Error
	switch {
	case err == nil, errors.As(err, &own):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return serval.Errorf(serval.ResourceExhausted, "files: %s cannot be written: the disk is full; free some of it, and writing goes on", name).Because(err)
	}
	return serval.Errorf(serval.Unavailable, "files: %w", err)
}

// folderFor makes a folder below the root, which must be there: a disk that is not mounted is not written to. Each new one is
// brought to the disk with what it lies in.
func (t *target) folderFor(folder string, below bool) error {
	if !below {
		return disk(folder, os.MkdirAll(folder, 0o755))
	}
	if info, err := os.Stat(t.path.root); err != nil || !info.IsDir() {
		return serval.Errorf(serval.NotFound, "files: there is no folder %s; make it, and writing goes on", t.path.root).At("path")
	}
	var missing []string
	for at := folder; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil {
			break
		}
		missing = append(missing, at)
	}
	for _, at := range slices.Backward(missing) {
		if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return disk(at, err)
		}
		if err := syncFolder(filepath.Dir(at)); err != nil {
			return disk(at, err)
		}
	}
	return nil
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// oldParts is how long a file in the making of another server may lie there, before it counts as left.
const oldParts = 24 * time.Hour

// clean removes files in the making that a killed process left: this server's, and others' of long ago.
func (t *target) clean() error {
	own := t.staging()
	if err := os.RemoveAll(own); err != nil {
		return disk(own, err)
	}
	if t.path.remote {
		return nil
	}
	parts, err := filepath.Glob(filepath.Join(filepath.Dir(own), "*", "*.part*"))
	if err != nil {
		return nil // the root has a character of patterns in it, which parsePath refuses
	}
	for _, p := range parts {
		if info, err := os.Stat(p); err == nil && time.Since(info.ModTime()) > oldParts {
			if err := remove(p); err != nil {
				return disk(p, err)
			}
		}
	}
	return nil
}

// Close implements stream.Target. What was not flushed is given again by the source.
func (t *target) Close() error {
	t.forget()
	own := t.staging()
	err := errors.Join(os.RemoveAll(own), t.places.Close())
	if !t.path.remote {
		_ = os.Remove(filepath.Dir(own)) // where it is empty
	}
	return err
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
