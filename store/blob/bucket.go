package blob

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"serval"
	"serval/batch"
)

// driver is what differs between the clouds' stores, beyond what gocloud.dev does away with. Safe for concurrent use.
type driver interface {
	open(ctx context.Context, id bucketID) (*blob.Bucket, error)

	// version is that of an object that was listed or asked about; as is gocloud's As of it. "": the store does not say.
	version(as func(any) bool) string

	// pin has a read give exactly that version, or be judged replaced. The context returned is that of the read.
	pin(ctx context.Context, version string) (context.Context, func(as func(any) bool) error)

	// put uploads a file. It is seen whole once all of it is there; what was uploaded of one that fails is given up.
	put(ctx context.Context, b *blob.Bucket, in, key string, f *os.File, size int64) error

	judge(err error) verdict
}

// bucket is one that is open.
type bucket struct {
	*blob.Bucket
	driver
	id bucketID
}

// bucket opens a bucket, once.
func (p *Places) bucket(ctx context.Context, a *address) (*bucket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.buckets[a.bucketID]; b != nil {
		return b, nil
	}
	b := &bucket{id: a.bucketID}
	switch a.scheme {
	case "s3":
		b.driver = p.opt.S3
	case "gs":
		b.driver = p.opt.GCS
	case "azblob":
		b.driver = p.opt.Azure
	}
	var err error
	if b.Bucket, err = b.open(ctx, b.id); err != nil {
		return nil, b.fault(a.scheme+"://"+a.bucketID.name, err, "input")
	}
	p.buckets[a.bucketID] = b
	return b, nil
}

// one is the object at a key.
func (b *bucket) one(ctx context.Context, a *address) (batch.Object, error) {
	at, err := b.Attributes(ctx, a.key)
	if err != nil {
		return nil, b.fault(a.name(a.key), err, "input")
	}
	return b.object(a.name(a.key), a.key, at.Size, b.version(at.As)), nil
}

// object is one that is read. An object that changed meanwhile is refused: by the store, or because its answer names another version.
func (b *bucket) object(name, key string, size int64, version string) *remote {
	r := &remote{name: name, size: size, version: version, ranges: true}
	r.fetch = func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
		ctx, pin := b.pin(ctx, version)
		body, err := b.NewRangeReader(ctx, key, off, n, &blob.ReaderOptions{BeforeRead: pin})
		if err != nil {
			switch b.judge(err) {
			case replaced:
				return nil, changed(name)
			case missing, refused, keyless:
				return nil, b.fault(name, err, "input")
			}
			return nil, err
		}
		if got := b.version(body.As); got != "" && version != "" && got != version {
			_ = body.Close() // nothing of it is used
			return nil, changed(name)
		}
		return body, nil
	}
	return r
}

// list finds the objects of a location in a bucket: one, those of a pattern, whose * stops at a slash, or, behind a slash at its end,
// all that lie there and do not begin with a dot.
func (p *Places) list(ctx context.Context, location string) ([]batch.Object, error) {
	a, err := parse(location, "input")
	if err != nil {
		return nil, err
	}
	b, err := p.bucket(ctx, a)
	if err != nil {
		return nil, err
	}
	if !a.pattern && a.key != "" && !strings.HasSuffix(a.key, "/") {
		o, err := b.one(ctx, a)
		if err != nil {
			return nil, err
		}
		return []batch.Object{o}, nil
	}
	prefix := a.key
	if a.pattern {
		prefix = a.key[:strings.IndexAny(a.key, "*?[\\")]
	}
	var objects []batch.Object
	for it := b.List(&blob.ListOptions{Prefix: prefix}); ; {
		o, err := it.Next(ctx)
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, b.fault(a.name(a.key), err, "input")
		}
		base := path.Base(o.Key)
		fits := !strings.HasPrefix(base, ".") && !strings.Contains(strings.TrimPrefix(o.Key, prefix), "/")
		if a.pattern {
			fits, _ = path.Match(a.key, o.Key) // it was tried before
		}
		if !fits || strings.HasSuffix(o.Key, "/") {
			continue
		}
		objects = append(objects, b.object(a.name(o.Key), o.Key, o.Size, b.version(o.As)))
	}
	if len(objects) == 0 {
		return nil, serval.Errorf(serval.NotFound, "%s: there is no such object", a.name(a.key)).At("input")
	}
	slices.SortFunc(objects, func(x, y batch.Object) int { return strings.Compare(x.Name(), y.Name()) })
	return objects, nil
}

// verdict is what kind an error of a store is.
type verdict int

const (
	unknown  verdict = iota // it may work later
	missing                 // no such object, bucket or container
	refused                 // the keys may not do this
	keyless                 // there are no keys
	replaced                // there is another version of the object
	ended                   // the caller's context has
)

// general is the verdict on what gocloud.dev told apart.
func general(err error) verdict {
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		return missing
	case gcerrors.PermissionDenied:
		return refused
	case gcerrors.FailedPrecondition:
		return replaced
	case gcerrors.Canceled, gcerrors.DeadlineExceeded:
		return ended
	}
	return unknown
}

// keysOf is what to set where keys are at fault.
var keysOf = map[string]string{
	"s3":     "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
	"gs":     "GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account",
	"azblob": "AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_CONNECTION_STRING",
}

// fault says what a store refused.
func (b *bucket) fault(name string, err error, param string) error {
	if e := (*serval.Error)(nil); errors.As(err, &e) {
		return err
	}
	code, what := serval.PermissionDenied, ""
	switch b.judge(err) {
	case missing:
		code, what = serval.NotFound, "there is no such object or "+word(b.id.scheme)
	case refused:
		what = "the store refuses it: the keys may not do this, or none are set (" + keysOf[b.id.scheme] + ")"
	case keyless:
		what = "there are no keys: set " + keysOf[b.id.scheme] + ", or add ?anonymous=true for a public " + word(b.id.scheme)
	case ended:
		return err
	default:
		return serval.Errorf(serval.Unavailable, "%s: %w", name, err).At(param)
	}
	return serval.Errorf(code, "%s: %s", name, what).At(param).Because(err)
}
