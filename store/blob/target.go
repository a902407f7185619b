package blob

import (
	"context"
	"os"
)

// octets is what objects are said to be.
const octets = "application/octet-stream"

// target is an object that a job writes, a batch.Target.
type target struct {
	bucket *bucket
	key    string
	name   string
}

// Name is the location.
func (t *target) Name() string { return t.name }

// Path is "": it lies elsewhere.
func (t *target) Path() string { return "" }

// Exists asks the store.
func (t *target) Exists(ctx context.Context) (bool, error) {
	ok, err := t.bucket.Exists(ctx, t.key)
	if err != nil {
		return false, t.fault("", err)
	}
	return ok, nil
}

func (t *target) fault(suffix string, err error) error {
	return t.bucket.fault(t.name+suffix, err, "output")
}

// Publish uploads a file, a large one in parts. It is seen whole, once all of it is there; an upload that fails is given up: S3's
// parts are removed, those of the other clouds' stores by the stores, after a week.
func (t *target) Publish(ctx context.Context, path, suffix string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.bucket.put(ctx, t.bucket.Bucket, t.bucket.id.name, t.key+suffix, f, info.Size()); err != nil {
		return t.fault(suffix, err)
	}
	return nil
}

// Remove deletes what an earlier job published.
func (t *target) Remove(ctx context.Context, suffix string) error {
	if err := t.bucket.Delete(ctx, t.key+suffix); err != nil && t.bucket.judge(err) != missing {
		return t.fault(suffix, err)
	}
	return nil
}
