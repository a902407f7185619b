package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"serval"
)

// The example "GET Object" of the Amazon S3 API Reference, "Signature Calculations for the Authorization Header".
func TestSignatureOfTheReference(t *testing.T) {
	req, err := http.NewRequest(http.MethodGet, "https://examplebucket.s3.amazonaws.com/test.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", "bytes=0-9")
	s := S3{AccessKey: "AKIAIOSFODNN7EXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	s.sign(req, time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC))
	const want = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date," +
		"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
	if got := req.Header.Get("Authorization"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=KEY/(\d{8}/eu-west-3/s3/aws4_request),SignedHeaders=([a-z0-9;-]+),Signature=([0-9a-f]{64})$`)

// bucket is a store that checks the signature of what came over the wire.
func bucket(t *testing.T, store *storage, sum string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
		stamp := r.Header.Get("X-Amz-Date")
		at, err := time.Parse("20060102T150405Z", stamp)
		if m == nil || err != nil || time.Since(at).Abs() > 15*time.Minute || r.Header.Get("X-Amz-Security-Token") != "TOKEN" ||
			signature("SECRET", m[1], stamp, canonicalRequest(r, strings.Split(m[2], ";"))) != m[3] {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.Header.Get("Range") != "" && !strings.Contains(m[2], "range") {
			t.Errorf("the range is not signed: %s", m[2])
		}
		if sum != "" && r.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" {
			w.Header().Set("X-Amz-Checksum-Sha256", sum)
		}
		store.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestS3(t *testing.T) {
	data, models := gguf(2<<20, 1), t.TempDir()
	store := newStorage(t)
	sum := sha256.Sum256(data)
	s := bucket(t, store, base64.StdEncoding.EncodeToString(sum[:]))
	const key = "/models/a b+c/ü=1/m.gguf"
	store.put(key, data, cut(1<<20), status(http.StatusServiceUnavailable))
	keys := S3{Endpoint: s.URL + "/", Region: "eu-west-3", AccessKey: "KEY", SecretKey: "SECRET", SessionToken: "TOKEN"}
	p := newQuick(Options{S3: keys})
	got, err := p.Pull(t.Context(), Request{Source: "s3:/" + key, Models: models})
	if err != nil || got.Name != "m" || !got.Verified {
		t.Fatalf("%+v %v", got, err)
	}
	if !bytes.Equal(content(t, models, "m/1/m.gguf"), data) {
		t.Error("other bytes")
	}
	if gets := store.gets(key); len(gets) != 3 || gets[2].span != "bytes=1048576-" {
		t.Errorf("%+v", gets)
	}
	if got, err := p.Pull(t.Context(), Request{Source: "s3:/" + key, Models: models}); err != nil || got.Fresh {
		t.Errorf("%+v %v", got, err)
	}
	for name, c := range map[string]struct {
		keys  S3
		text  string
		code  serval.Code
		words string
	}{
		"no keys":      {S3{Endpoint: s.URL}, "s3:/" + key, serval.PermissionDenied, "AWS_ACCESS_KEY_ID"},
		"wrong secret": {S3{Endpoint: s.URL, Region: "eu-west-3", AccessKey: "KEY", SecretKey: "OTHER", SessionToken: "TOKEN"}, "s3:/" + key, serval.PermissionDenied, "the key KEY may not"},
		"half a key":   {S3{Endpoint: s.URL, AccessKey: "KEY"}, "s3:/" + key, serval.InvalidArgument, "both"},
		"no address":   {S3{Endpoint: "minio:9000"}, "s3:/" + key, serval.InvalidArgument, "AWS_ENDPOINT_URL_S3"},
		"not there":    {keys, "s3://models/none.gguf", serval.NotFound, "there is no s3://models/none.gguf"},
	} {
		if _, err := newQuick(Options{S3: c.keys}).Pull(t.Context(), Request{Source: c.text, Name: "n", Models: models}); err == nil || code(err) != c.code || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Bucket-Region", "ap-south-1")
		w.WriteHeader(http.StatusMovedPermanently)
	}))
	defer away.Close()
	if _, err := newQuick(Options{S3: S3{Endpoint: away.URL}}).Pull(t.Context(), Request{Source: "s3:/" + key, Name: "n", Models: models}); err == nil || !strings.Contains(err.Error(), "AWS_REGION=ap-south-1") {
		t.Errorf("%v", err)
	}
	clean(t, models, "m")
}
