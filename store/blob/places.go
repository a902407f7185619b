package blob

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"serval"
	"serval/batch"
)

// S3 is where s3:// finds its buckets, and with which keys, named as in registry/source. What is empty is found as AWS's own
// programs find it: environment, shared files, the machine's role.
type S3 struct {
	Endpoint     string // of a store that is compatible; "" = Amazon's, in Region
	Region       string // "" = as configured, else us-east-1
	AccessKey    string
	SecretKey    string
	SessionToken string
	Anonymous    bool // requests are not signed: a public bucket needs no keys
}

// Options of Places.
type Options struct {
	S3    S3
	HTTP  *http.Client // nil: http.DefaultClient
	Stdin io.Reader    // what "-" stands for; nil: nothing
}

// Places is a batch.Locator of all that this build knows. It is safe for concurrent use. Close it when no object is read any more.
type Places struct {
	opt     Options
	mu      sync.Mutex
	buckets map[bucketID]*blob.Bucket
}

type bucketID struct {
	name, endpoint, region string
	anonymous              bool
}

// New makes Places. It asks nobody for anything yet.
func New(opt Options) *Places {
	if opt.HTTP == nil {
		opt.HTTP = http.DefaultClient
	}
	return &Places{opt: opt, buckets: map[bucketID]*blob.Bucket{}}
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

// unknown refuses a scheme, with what helps.
func unknown(location, scheme, param string) error {
	const known = "use a path, s3://bucket/key, or, to read, https://host/path or -"
	switch scheme {
	case "gs":
		return serval.Errorf(serval.Unimplemented, "%s: this build has no driver for Google's store; it speaks S3's protocol too: s3://bucket/key?endpoint=https://storage.googleapis.com, with the keys of an HMAC key", plain(location)).At(param)
	case "azblob", "az", "abfs", "abfss", "wasbs":
		return serval.Errorf(serval.Unimplemented, "%s: this build has no driver for Azure's store; read a blob by its https:// address with a signature (SAS)", plain(location)).At(param)
	}
	return serval.Errorf(serval.InvalidArgument, "%s: %s:// is not known; %s", plain(location), scheme, known).At(param)
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
	case "s3":
		return p.list(ctx, location)
	case "http", "https":
		return p.web(ctx, location)
	default:
		return nil, unknown(location, s, "input")
	}
}

// Find is the object of a name, as Locate's objects have it: no character in it stands for others.
func (p *Places) Find(ctx context.Context, name string) (batch.Object, error) {
	if scheme(name) != "s3" {
		list, err := p.Locate(ctx, name)
		if err != nil {
			return nil, err
		}
		return list[0], nil
	}
	bucket, key, _ := strings.Cut(name[len("s3://"):], "/")
	a := &address{bucketID: bucketID{name: bucket}, key: key}
	b, err := p.bucket(ctx, a)
	if err != nil {
		return nil, err
	}
	return p.one(ctx, b, a)
}

// one is the object at a key.
func (p *Places) one(ctx context.Context, b *blob.Bucket, a *address) (batch.Object, error) {
	at, err := b.Attributes(ctx, a.key)
	if err != nil {
		return nil, storeError(a.name(a.key), err, "input")
	}
	return newObject(b, a.name(a.key), a.key, at.Size, at.ETag), nil
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
	case "s3":
		a, err := parseS3(location, "output")
		if err != nil {
			return nil, err
		}
		if a.pattern || strings.HasSuffix(a.key, "/") || a.key == "" {
			return nil, serval.Errorf(serval.InvalidArgument, "%s: name the object to write, as in s3://bucket/scored.parquet", plain(location)).At("output")
		}
		b, err := p.bucket(ctx, a)
		if err != nil {
			return nil, err
		}
		return &target{bucket: b, in: a.bucketID.name, key: a.key, name: a.name(a.key)}, nil
	case "http", "https":
		return nil, serval.Errorf(serval.InvalidArgument, "%s: a web server is read from, not written to; use a path or s3://bucket/key", plain(location)).At("output")
	default:
		return nil, unknown(location, s, "output")
	}
}

func filePath(location, param string) (string, error) {
	u, err := url.Parse(location)
	if err != nil || u.Host != "" && u.Host != "localhost" || u.Path == "" {
		return "", serval.Errorf(serval.InvalidArgument, "%s: write file:///path/to/file, or the path alone", location).At(param)
	}
	return u.Path, nil
}

// address is an s3:// location.
type address struct {
	bucketID
	key     string
	pattern bool
}

func (a *address) name(key string) string { return "s3://" + a.bucketID.name + "/" + key }

// parseS3 takes s3://bucket/key?endpoint=…&region=…&anonymous=true apart. A question mark in a pattern is one, unless such a name follows it.
func parseS3(location, param string) (*address, error) {
	rest := location[len("s3://"):]
	a := &address{}
	if at := strings.LastIndexByte(rest, '?'); at >= 0 {
		if q, err := url.ParseQuery(rest[at+1:]); err == nil && (q.Has("endpoint") || q.Has("region") || q.Has("anonymous")) {
			a.endpoint, a.region, a.anonymous = q.Get("endpoint"), q.Get("region"), q.Get("anonymous") == "true"
			for name := range q {
				if name != "endpoint" && name != "region" && name != "anonymous" {
					return nil, serval.Errorf(serval.InvalidArgument, "%s: no setting %q; there are endpoint, region and anonymous", plain(location), name).At(param)
				}
			}
			rest = rest[:at]
		}
	}
	if u, err := url.Parse(a.endpoint); a.endpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: the endpoint %q must be like https://host", plain(location), plain(a.endpoint)).At("endpoint")
	}
	a.bucketID.name, a.key, _ = strings.Cut(rest, "/")
	if a.bucketID.name == "" || strings.ContainsAny(a.bucketID.name, "*?[@:") || strings.ContainsAny(a.key, "\x00\r\n") {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: write s3://bucket/path/to/object, where a * in the path stands for many", plain(location)).At(param)
	}
	if a.pattern = strings.ContainsAny(a.key, "*?["); a.pattern {
		if _, err := path.Match(a.key, ""); err != nil {
			return nil, serval.Errorf(serval.InvalidArgument, "%s: the pattern has a [ without its ]", plain(location)).At(param)
		}
	}
	return a, nil
}

// bucket opens a bucket, once.
func (p *Places) bucket(ctx context.Context, a *address) (*blob.Bucket, error) {
	id := a.bucketID
	id.endpoint, id.region = cmp.Or(id.endpoint, p.opt.S3.Endpoint), cmp.Or(id.region, p.opt.S3.Region)
	id.anonymous = id.anonymous || p.opt.S3.Anonymous
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.buckets[id]; b != nil {
		return b, nil
	}
	s := p.opt.S3
	if (s.AccessKey == "") != (s.SecretKey == "") {
		return nil, serval.Errorf(serval.InvalidArgument, "s3: set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither").At("AWS_ACCESS_KEY_ID")
	}
	var set []func(*config.LoadOptions) error
	if id.region != "" {
		set = append(set, config.WithRegion(id.region))
	}
	switch {
	case id.anonymous:
		set = append(set, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	case s.AccessKey != "":
		set = append(set, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, s.SessionToken)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, set...)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "s3: the configuration of AWS cannot be read: %w", err).At("input")
	}
	cfg.Region = cmp.Or(cfg.Region, "us-east-1")
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		if id.endpoint != "" {
			o.BaseEndpoint = aws.String(id.endpoint)
		}
		o.UsePathStyle = o.BaseEndpoint != nil // which every store understands
		if o.BaseEndpoint != nil {             // not every store knows the newer checksums
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		}
		o.DisableLogOutputChecksumValidationSkipped = true
	})
	b, err := s3blob.OpenBucket(ctx, client, id.name, nil)
	if err != nil {
		return nil, storeError("s3://"+id.name, err, "input")
	}
	p.buckets[id] = b
	return b, nil
}

// list finds the objects of an s3:// location: one, those of a pattern, whose * stops at a slash, or, behind a slash at its end,
// all that lie there and do not begin with a dot.
func (p *Places) list(ctx context.Context, location string) ([]batch.Object, error) {
	a, err := parseS3(location, "input")
	if err != nil {
		return nil, err
	}
	b, err := p.bucket(ctx, a)
	if err != nil {
		return nil, err
	}
	if !a.pattern && a.key != "" && !strings.HasSuffix(a.key, "/") {
		o, err := p.one(ctx, b, a)
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
			return nil, storeError(a.name(a.key), err, "input")
		}
		base := path.Base(o.Key)
		fits := !strings.HasPrefix(base, ".") && !strings.Contains(strings.TrimPrefix(o.Key, prefix), "/")
		if a.pattern {
			fits, _ = path.Match(a.key, o.Key) // it was tried before
		}
		if !fits || strings.HasSuffix(o.Key, "/") {
			continue
		}
		var raw types.Object
		etag := ""
		if o.As(&raw) {
			etag = aws.ToString(raw.ETag)
		}
		objects = append(objects, newObject(b, a.name(o.Key), o.Key, o.Size, etag))
	}
	if len(objects) == 0 {
		return nil, serval.Errorf(serval.NotFound, "%s: there is no such object", a.name(a.key)).At("input")
	}
	slices.SortFunc(objects, func(x, y batch.Object) int { return strings.Compare(x.Name(), y.Name()) })
	return objects, nil
}

// storeError says what a store refused.
func storeError(name string, err error, param string) error {
	var code serval.Code
	what := ""
	kind := gcerrors.Code(err)
	var api interface{ ErrorCode() string } // of AWS's SDK, where it is used without gocloud
	if kind == gcerrors.Unknown && errors.As(err, &api) {
		switch api.ErrorCode() {
		case "NoSuchBucket", "NoSuchKey", "NotFound":
			kind = gcerrors.NotFound
		case "AccessDenied", "Forbidden", "SignatureDoesNotMatch", "InvalidAccessKeyId":
			kind = gcerrors.PermissionDenied
		}
	}
	switch kind {
	case gcerrors.NotFound:
		code, what = serval.NotFound, "there is no such object or bucket"
	case gcerrors.PermissionDenied:
		code, what = serval.PermissionDenied, "the store refuses it: the keys may not do this, or none are set (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
	case gcerrors.Canceled, gcerrors.DeadlineExceeded:
		return err
	default:
		if strings.Contains(err.Error(), "get credentials") { // the SDK has no error of its own for it
			code, what = serval.PermissionDenied, "there are no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or add ?anonymous=true for a public bucket"
			break
		}
		return serval.Errorf(serval.Unavailable, "%s: %w", name, err).At(param)
	}
	return serval.Errorf(code, "%s: %s", name, what).At(param).Because(err)
}
