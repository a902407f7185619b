package blob

import (
	"context"
	"io"
	"os"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// target is an object that a job writes, a batch.Target.
type target struct {
	bucket *blob.Bucket
	key    string
	name   string
}

const (
	partBytes = 16 << 20 // of an upload; S3 takes 10,000 parts, which is 160 GB
	partMost  = 10_000
	partsAt   = 3 // once
)

// Name is the location.
func (t *target) Name() string { return t.name }

// Path is "": it lies elsewhere.
func (t *target) Path() string { return "" }

// Exists asks the store.
func (t *target) Exists(ctx context.Context) (bool, error) {
	ok, err := t.bucket.Exists(ctx, t.key)
	if err != nil {
		return false, storeError(t.name, err, "output")
	}
	return ok, nil
}

// Publish uploads a file, a large one in parts. It is seen whole, once all of it is there; an upload that fails is given up, and
// its parts are removed.
func (t *target) Publish(ctx context.Context, path, suffix string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before Close it gives the upload up
	size := max(partBytes, (info.Size()+partMost-1)/(partMost-1))
	w, err := t.bucket.NewWriter(ctx, t.key+suffix, &blob.WriterOptions{BufferSize: int(size), MaxConcurrency: partsAt, ContentType: "application/octet-stream"})
	if err != nil {
		return storeError(t.name+suffix, err, "output")
	}
	if _, err := io.Copy(w, f); err != nil {
		cancel()
		_ = w.Close() // its error is that it was given up
		return storeError(t.name+suffix, err, "output")
	}
	if err := w.Close(); err != nil {
		return storeError(t.name+suffix, err, "output")
	}
	return nil
}

// Remove deletes what an earlier job published.
func (t *target) Remove(ctx context.Context, suffix string) error {
	if err := t.bucket.Delete(ctx, t.key+suffix); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return storeError(t.name+suffix, err, "output")
	}
	return nil
}
