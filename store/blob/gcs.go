package blob

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"serval"
)

// GCS is where gs:// finds its buckets, and with which keys. What is empty is found as Google's own programs find it:
// GOOGLE_APPLICATION_CREDENTIALS, what gcloud left, the machine's service account; with STORAGE_EMULATOR_HOST there, without keys.
type GCS struct {
	Endpoint    string // of another store that speaks the protocol; "" = Google's
	Credentials string // path of the JSON file with a service account's key, or with a workload's identity
	Anonymous   bool   // a public bucket needs no keys
}

const (
	gcsAttempts  = 4                // of a call, in the client; what is read is tried again above it, too
	chunkRetries = 15 * time.Second // for a piece of an upload
)

func (g GCS) open(ctx context.Context, id bucketID) (*blob.Bucket, error) {
	var set []option.ClientOption
	if endpoint := cmp.Or(id.endpoint, g.Endpoint); endpoint != "" {
		set = append(set, option.WithEndpoint(strings.TrimSuffix(endpoint, "/")+"/storage/v1/"))
	}
	switch {
	case id.anonymous || g.Anonymous:
		set = append(set, option.WithoutAuthentication())
	case g.Credentials != "":
		kind, err := credentialsKind(g.Credentials)
		if err != nil {
			return nil, err
		}
		set = append(set, option.WithAuthCredentialsFile(kind, g.Credentials))
	}
	// The client outlives ctx, which is of the job that came first.
	client, err := storage.NewClient(context.WithoutCancel(ctx), set...)
	if err != nil {
		return nil, err
	}
	// Whoever reads or writes here tries again by itself, and must hear of a store that is away. Each call may be repeated: names are
	// of contents.
	client.SetRetry(storage.WithPolicy(storage.RetryAlways), storage.WithMaxAttempts(gcsAttempts),
		storage.WithBackoff(gax.Backoff{Initial: firstPause, Max: longestPause, Multiplier: 2}))
	return gcsblob.OpenBucket(ctx, nil, id.name, &gcsblob.Options{Client: client})
}

// credentialsKind is what a key file says it is; the operator's file is trusted to be it.
func credentialsKind(path string) (option.CredentialsType, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", serval.Errorf(serval.InvalidArgument, "gs: the key file cannot be read: %w", err).At("credentials")
	}
	var file struct{ Type option.CredentialsType }
	if err := json.Unmarshal(raw, &file); err != nil {
		return "", serval.Errorf(serval.InvalidArgument, "gs: %s is not a key file of Google's, in JSON", path).At("credentials")
	}
	switch file.Type {
	case option.ServiceAccount, option.ExternalAccount, option.AuthorizedUser, option.ImpersonatedServiceAccount:
		return file.Type, nil
	}
	return "", serval.Errorf(serval.InvalidArgument, "gs: %s is no key file of a service account or workload: its type is %q", path, file.Type).At("credentials")
}

// version is the generation, which stays with the bytes, also where metadata are changed.
func (GCS) version(as func(any) bool) string {
	var attrs storage.ObjectAttrs
	var read *storage.Reader
	switch {
	case as(&attrs):
		return strconv.FormatInt(attrs.Generation, 10)
	case as(&read) && read.Attrs.Generation != 0:
		return strconv.FormatInt(read.Attrs.Generation, 10)
	}
	return ""
}

func (GCS) pin(ctx context.Context, version string) (context.Context, func(as func(any) bool) error) {
	return ctx, func(as func(any) bool) error {
		var o **storage.ObjectHandle
		if !as(&o) {
			return nil
		}
		*o = (*o).ReadCompressed(true) // the bytes as they lie there: others have no ranges, and another size
		if n, err := strconv.ParseInt(version, 10, 64); err == nil && n > 0 {
			*o = (*o).If(storage.Conditions{GenerationMatch: n})
		}
		return nil
	}
}

// put uploads in pieces of partBytes, one after the other, since a resumable upload takes them so. The client adds and compares
// checksums. It would try to upload for as long as ctx lasts; here gcsAttempts in a row fail for good.
func (GCS) put(ctx context.Context, b *blob.Bucket, _, key string, f *os.File, size int64) error {
	var failed atomic.Int32 // since the last piece
	again := func(err error) bool { return storage.ShouldRetry(err) && failed.Add(1) < gcsAttempts }
	return b.Upload(ctx, key, f, &blob.WriterOptions{ContentType: octets, BufferSize: int(min(size+1, partBytes)), BeforeWrite: func(as func(any) bool) error {
		var o **storage.ObjectHandle
		if as(&o) {
			*o = (*o).Retryer(storage.WithErrorFunc(again))
		}
		var w *storage.Writer
		if as(&w) {
			w.ChunkRetryDeadline = chunkRetries
			w.ProgressFunc = func(int64) { failed.Store(0) }
		}
		return nil
	}})
}

func (GCS) judge(err error) verdict {
	var api *googleapi.Error
	switch {
	case errors.As(err, &api):
		switch api.Code {
		case http.StatusUnauthorized, http.StatusForbidden: // gocloud.dev takes the latter for an object that is not there
			return refused
		case http.StatusNotFound:
			return missing
		case http.StatusPreconditionFailed:
			return replaced
		}
		return unknown
	case strings.Contains(err.Error(), "could not find default credentials"): // no error of its own
		return keyless
	}
	return general(err)
}
