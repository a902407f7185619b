package blob

import (
	"context"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"serval"
)

// target is an object that a job writes, a batch.Target.
type target struct {
	bucket *blob.Bucket
	in     string // the bucket's name
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
	return storeError(t.name+suffix, err, "output")
}

// Publish uploads a file, a large one in parts. It is seen whole, once all of it is there; an upload that fails is given up, and
// its parts are removed.
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
	var client *s3.Client
	if !t.bucket.As(&client) {
		return serval.Errorf(serval.Internal, "%s: no store of S3's kind", t.name)
	}
	size, key := info.Size(), t.key+suffix
	if size <= partBytes {
		_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: &t.in, Key: &key, Body: f, ContentLength: &size, ContentType: aws.String("application/octet-stream")})
	} else {
		u := upload{client: client, bucket: t.in, key: key, f: f, size: size, part: max(partBytes, (size+partMost-1)/partMost)}
		err = u.run(ctx)
	}
	if err != nil {
		return t.fault(suffix, err)
	}
	return nil
}

// Remove deletes what an earlier job published.
func (t *target) Remove(ctx context.Context, suffix string) error {
	if err := t.bucket.Delete(ctx, t.key+suffix); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return t.fault(suffix, err)
	}
	return nil
}
