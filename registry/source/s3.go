package source

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"serval"
)

// S3 is where s3: finds its buckets, and with which keys. Without keys, requests are not signed: a public bucket needs none.
type S3 struct {
	Endpoint     string // of a store that is compatible; "" = Amazon's, in Region
	Region       string // "" = us-east-1
	AccessKey    string
	SecretKey    string
	SessionToken string
}

// object is an object in a bucket, with the other parts of the model that it may be the first of.
type object struct {
	p           *Puller
	bucket, key string
}

func (p *Puller) parseS3(text string) (source, error) {
	rest, ok := strings.CutPrefix(text[len("s3:"):], "//")
	bucket, key, _ := strings.Cut(rest, "/")
	if !ok || !hubWord(bucket) || !safePath(path.Base(key)) || strings.HasSuffix(key, "/") || strings.ContainsAny(key, "\x00\r\n") {
		return nil, serval.Errorf(serval.InvalidArgument, "%q is no object: write s3://bucket/path/to/file, the whole key of the model's file", text).At("source")
	}
	s := p.opt.S3
	if s.Endpoint != "" {
		if u, err := url.Parse(s.Endpoint); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, serval.Errorf(serval.InvalidArgument, "the store's address %q (AWS_ENDPOINT_URL_S3) must be like https://host", plainURL(s.Endpoint)).At("AWS_ENDPOINT_URL_S3")
		}
	}
	if (s.AccessKey == "") != (s.SecretKey == "") {
		return nil, serval.Errorf(serval.InvalidArgument, "s3: set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither").At("AWS_ACCESS_KEY_ID")
	}
	return &object{p, bucket, key}, nil
}

func (o *object) name() string  { return path.Base(o.key) }
func (o *object) settled() bool { return false }

func (o *object) resolve(ctx context.Context, _ string) (*plan, error) {
	keys, err := parts(o.key)
	if err != nil {
		return nil, err
	}
	out := &plan{}
	for _, k := range keys {
		f, err := o.p.look(ctx, path.Base(k), o.web(k))
		if err != nil {
			return nil, err
		}
		out.files = append(out.files, f)
	}
	return out, nil
}

// web is the object's address with the bucket in its path, which every store understands.
func (o *object) web(key string) *web {
	base := strings.TrimSuffix(o.p.opt.S3.Endpoint, "/")
	if base == "" {
		base = "https://s3." + o.p.opt.S3.region() + ".amazonaws.com"
	}
	return &web{
		p: o.p, url: base + "/" + escapeS3(o.bucket+"/"+key), prepare: o.prepare,
		refuse: func(status int, head http.Header) error { return o.refuse(status, head, key) },
		digest: func(head http.Header) string { // of the whole object; one of its parts' digests has a dash
			sum, err := base64.StdEncoding.DecodeString(head.Get("X-Amz-Checksum-Sha256"))
			if err != nil || len(sum) != sha256.Size {
				return ""
			}
			return hex.EncodeToString(sum)
		},
	}
}

func (o *object) prepare(req *http.Request) error {
	req.Header.Set("X-Amz-Checksum-Mode", "ENABLED")
	if s := o.p.opt.S3; s.AccessKey != "" {
		s.sign(req, time.Now())
	}
	return nil
}

func (o *object) refuse(status int, head http.Header, key string) error {
	what := "s3://" + o.bucket + "/" + key
	region := head.Get("X-Amz-Bucket-Region")
	switch {
	case region != "" && region != o.p.opt.S3.region():
		return serval.Errorf(serval.InvalidArgument, "%s lies in the region %s; set AWS_REGION=%s", what, region, region).At("AWS_REGION")
	case status == http.StatusForbidden && o.p.opt.S3.AccessKey == "":
		return serval.Errorf(serval.PermissionDenied, "%s is not public, or is not there; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", what).At("source")
	case status == http.StatusForbidden:
		return serval.Errorf(serval.PermissionDenied, "%s: the key %s may not read it, or the secret or the clock is wrong, or there is no such object", what, o.p.opt.S3.AccessKey).At("source")
	case status == http.StatusNotFound:
		return serval.Errorf(serval.NotFound, "there is no %s", what).At("source")
	}
	return nil
}

func (s *S3) region() string {
	if s.Region == "" {
		return "us-east-1"
	}
	return s.Region
}

// emptySHA256 is the digest of the empty body that a GET has.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// sign adds AWS's signature, version 4, for the service s3, over the host and the headers that matter. Source: "Authenticating
// Requests (AWS Signature Version 4)", Amazon S3 API Reference.
func (s *S3) sign(req *http.Request, now time.Time) {
	stamp := now.UTC().Format("20060102T150405Z")
	day := stamp[:8]
	req.Header.Set("X-Amz-Date", stamp)
	req.Header.Set("X-Amz-Content-Sha256", emptySHA256)
	if s.SessionToken != "" {
		req.Header.Set("X-Amz-Security-Token", s.SessionToken)
	}
	names := []string{"host"}
	for name := range req.Header {
		if low := strings.ToLower(name); low == "range" || strings.HasPrefix(low, "x-amz-") {
			names = append(names, low)
		}
	}
	slices.Sort(names)
	scope := day + "/" + s.region() + "/s3/aws4_request"
	signed := strings.Join(names, ";")
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,Signature=%s",
		s.AccessKey, scope, signed, signature(s.SecretKey, scope, stamp, canonicalRequest(req, names))))
}

// canonicalRequest is the request as both sides spell it before they sign it.
func canonicalRequest(req *http.Request, names []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%s\n", req.Method, req.URL.EscapedPath(), req.URL.Query().Encode())
	for _, n := range names {
		value := req.Header.Get(n)
		if n == "host" {
			if value = req.Host; value == "" {
				value = req.URL.Host
			}
		}
		fmt.Fprintf(&b, "%s:%s\n", n, strings.TrimSpace(value))
	}
	fmt.Fprintf(&b, "\n%s\n%s", strings.Join(names, ";"), req.Header.Get("X-Amz-Content-Sha256"))
	return b.String()
}

// signature is that of a canonical request, in hex.
func signature(secret, scope, stamp, canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	text := "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + hex.EncodeToString(sum[:])
	key := []byte("AWS4" + secret)
	for _, part := range append(strings.Split(scope, "/"), text) {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return hex.EncodeToString(key)
}

// escapeS3 escapes a key as the signature wants it: all but letters, digits and - . _ ~ and the slashes.
func escapeS3(key string) string {
	var b strings.Builder
	for _, c := range []byte(key) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
