package blob

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"serval"
	"serval/batch"
)

// Options of Places. What is empty in S3, GCS and Azure is found as those clouds' own programs find it.
type Options struct {
	S3    S3
	GCS   GCS
	Azure Azure
	HTTP  *http.Client // nil: http.DefaultClient
	Stdin io.Reader    // what "-" stands for; nil: nothing
}

// Places is a batch.Locator of all that this build knows. It is safe for concurrent use. Close it when no object is read any more.
type Places struct {
	opt     Options
	mu      sync.Mutex
	buckets map[bucketID]*bucket
}

// New makes Places. It asks nobody for anything yet.
func New(opt Options) *Places {
	if opt.HTTP == nil {
		opt.HTTP = http.DefaultClient
	}
	return &Places{opt: opt, buckets: map[bucketID]*bucket{}}
}

// Close lets go of the stores.
func (p *Places) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	for _, b := range p.buckets {
		err = errors.Join(err, b.Close())
	}
	clear(p.buckets)
	return err
}

// scheme of a location; "": a path.
func scheme(location string) string {
	s, _, ok := strings.Cut(location, "://")
	if !ok || s == "" {
		return ""
	}
	return strings.ToLower(s)
}

// strange refuses a scheme, with what helps.
func strange(location, scheme, param string) error {
	what := "use a path, s3://bucket/key, gs://bucket/key, azblob://container/key, or, to read, https://host/path or -"
	switch scheme {
	case "gcs":
		what = "write gs://bucket/key"
	case "az", "azure", "abfs", "abfss", "wasb", "wasbs":
		what = "write azblob://container/key, with the account in AZURE_STORAGE_ACCOUNT or as ?account=NAME"
	}
	return serval.Errorf(serval.InvalidArgument, "%s: %s:// is not known; %s", plain(location), scheme, what).At(param)
}

// plain is a location without what may be secret in it.
func plain(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.Scheme == "" {
		return location
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// Locate lists the objects at a location.
func (p *Places) Locate(ctx context.Context, location string) ([]batch.Object, error) {
	switch s := scheme(location); s {
	case "":
		if location == "-" {
			if p.opt.Stdin == nil {
				return nil, serval.Errorf(serval.InvalidArgument, "standard input cannot be read here; name a file").At("input")
			}
			return []batch.Object{&batch.Stream{Label: "standard input", Source: p.opt.Stdin}}, nil
		}
		return batch.Files{}.Locate(ctx, location)
	case "file":
		name, err := filePath(location, "input")
		if err != nil {
			return nil, err
		}
		return batch.Files{}.Locate(ctx, name)
	case "s3", "gs", "azblob":
		return p.list(ctx, location)
	case "http", "https":
		return p.web(ctx, location)
	default:
		return nil, strange(location, s, "input")
	}
}

// Find is the object of a name, as Locate's objects have it: no character in it stands for others.
func (p *Places) Find(ctx context.Context, name string) (batch.Object, error) {
	kind := scheme(name)
	if settings[kind] == nil {
		list, err := p.Locate(ctx, name)
		if err != nil {
			return nil, err
		}
		return list[0], nil
	}
	in, key, _ := strings.Cut(name[len(kind+"://"):], "/")
	a := &address{bucketID: bucketID{scheme: kind, name: in}, key: key}
	b, err := p.bucket(ctx, a)
	if err != nil {
		return nil, err
	}
	return b.one(ctx, a)
}

// Target is where a job's output goes.
func (p *Places) Target(ctx context.Context, location string) (batch.Target, error) {
	switch s := scheme(location); s {
	case "":
		return batch.Files{}.Target(ctx, location)
	case "file":
		name, err := filePath(location, "output")
		if err != nil {
			return nil, err
		}
		return batch.Files{}.Target(ctx, name)
	case "s3", "gs", "azblob":
		a, err := parse(location, "output")
		if err != nil {
			return nil, err
		}
		if a.pattern || strings.HasSuffix(a.key, "/") || a.key == "" {
			return nil, serval.Errorf(serval.InvalidArgument, "%s: name the object to write, as in %s://%s/scored.parquet", plain(location), s, word(s)).At("output")
		}
		b, err := p.bucket(ctx, a)
		if err != nil {
			return nil, err
		}
		return &target{bucket: b, key: a.key, name: a.name(a.key)}, nil
	case "http", "https":
		return nil, serval.Errorf(serval.InvalidArgument, "%s: a web server is read from, not written to; use a path, s3://, gs:// or azblob://", plain(location)).At("output")
	default:
		return nil, strange(location, s, "output")
	}
}

func filePath(location, param string) (string, error) {
	u, err := url.Parse(location)
	if err != nil || u.Host != "" && u.Host != "localhost" || u.Path == "" {
		return "", serval.Errorf(serval.InvalidArgument, "%s: write file:///path/to/file, or the path alone", location).At(param)
	}
	return u.Path, nil
}
