package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serval"
	"serval/batch"
	"serval/internal/testkit"
)

// random is n bytes, the same ones for a seed.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	c := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = c.Read(b) // it never fails
	return b
}

func places(t *testing.T, b *testkit.Bucket) *Places {
	t.Helper()
	p := New(Options{S3: S3{Endpoint: b.Endpoint, Region: b.Region, AccessKey: b.AccessKey, SecretKey: b.SecretKey}})
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func put(t *testing.T, p *Places, location string, data []byte) {
	t.Helper()
	at, err := p.Target(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := at.Publish(t.Context(), path, ""); err != nil {
		t.Fatal(err)
	}
}

func one(t *testing.T, p *Places, location string) batch.Object {
	t.Helper()
	found, err := p.Locate(t.Context(), location)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %d objects, %v", location, len(found), err)
	}
	return found[0]
}

func names(objects []batch.Object) (out []string) {
	for _, o := range objects {
		out = append(out, o.Name())
	}
	return out
}

func code(err error) serval.Code {
	var e *serval.Error
	if !errors.As(err, &e) {
		return serval.Internal
	}
	return e.Code
}

// proxy passes connections on to a server, and cuts each off once so many bytes came back; 0: never.
type proxy struct {
	address string
	after   atomic.Int64
	cuts    atomic.Int64
	sent    atomic.Int64 // bytes that went to the server
}

func newProxy(t *testing.T, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: "http://" + l.Addr().String()}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(c, to)
		}
	}()
	return p
}

func (p *proxy) pass(c net.Conn, to string) {
	defer c.Close()
	s, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer s.Close()
	go func() { _, _ = io.Copy(io.MultiWriter(s, counter{&p.sent}), c) }()
	if n := p.after.Load(); n > 0 {
		if k, _ := io.CopyN(c, s, n); k == n {
			p.cuts.Add(1)
			_ = c.(*net.TCPConn).SetLinger(0) // a reset, not an end
		}
		return
	}
	_, _ = io.Copy(c, s)
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

func TestS3(t *testing.T) {
	b := testkit.S3(t)
	p := places(t, b)
	large := random(1, 40<<20+17)
	for key, data := range map[string][]byte{"in/a.csv": []byte("a\n1\n"), "in/b.csv": []byte("a\n2\n"), "in/.c.csv": {'x'}, "in/deep/d.csv": {'y'}, "in/large 1%.bin": large} {
		put(t, p, "s3://rows/"+key, data)
	}
	for location, want := range map[string][]string{
		"s3://rows/in/*.csv":  {"s3://rows/in/.c.csv", "s3://rows/in/a.csv", "s3://rows/in/b.csv"},
		"s3://rows/in/[ab].*": {"s3://rows/in/a.csv", "s3://rows/in/b.csv"},
		"s3://rows/in/?.csv":  {"s3://rows/in/a.csv", "s3://rows/in/b.csv"},
		"s3://rows/*/deep/*":  {"s3://rows/in/deep/d.csv"},
		"s3://rows/in/":       {"s3://rows/in/a.csv", "s3://rows/in/b.csv", "s3://rows/in/large 1%.bin"},
		"s3://rows/in/a.csv":  {"s3://rows/in/a.csv"},
		"s3://rows/in/a.csv?endpoint=" + url.QueryEscape(b.Endpoint) + "&region=us-east-1": {"s3://rows/in/a.csv"},
	} {
		found, err := p.Locate(t.Context(), location)
		if got := names(found); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", location, got, err)
		}
	}
	for location, want := range map[string]serval.Code{
		"s3://rows/none": serval.NotFound, "s3://rows/none*": serval.NotFound, "s3://nobucket/x": serval.NotFound, "s3:///x": serval.InvalidArgument,
		"s3://rows/[": serval.InvalidArgument, "s3://rows/x?endpoint=foo": serval.InvalidArgument, "gcs://b/k": serval.InvalidArgument,
		"abfss://b/k": serval.InvalidArgument, "ftp://b/k": serval.InvalidArgument, "-": serval.InvalidArgument, "file://elsewhere/x": serval.InvalidArgument,
	} {
		if _, err := p.Locate(t.Context(), location); code(err) != want {
			t.Errorf("%s: %v", location, err)
		}
	}
	wrong := New(Options{S3: S3{Endpoint: b.Endpoint, Region: b.Region, AccessKey: b.AccessKey, SecretKey: "wrong"}})
	defer wrong.Close()
	if _, err := wrong.Locate(t.Context(), "s3://rows/in/a.csv"); err == nil || strings.Contains(err.Error(), b.SecretKey) {
		t.Errorf("with a wrong key: %v", err)
	}

	// The settings of AWS's own programs.
	for name, value := range map[string]string{"AWS_ENDPOINT_URL_S3": b.Endpoint, "AWS_REGION": b.Region, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_CONFIG_FILE": "/nowhere", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""} {
		t.Setenv(name, value)
	}
	none := New(Options{})
	defer none.Close()
	for location, want := range map[string]string{"s3://rows/in/a.csv": "anonymous=true", "s3://rows/in/a.csv?anonymous=true": "refuses"} {
		if _, err := none.Locate(t.Context(), location); code(err) != serval.PermissionDenied || !strings.Contains(err.Error(), want) {
			t.Errorf("%s, without keys: %v", location, err)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", b.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", b.SecretKey)
	some := New(Options{})
	defer some.Close()
	one(t, some, "s3://rows/in/a.csv")

	o := one(t, p, "s3://rows/in/large 1%.bin")
	if o.Size() != int64(len(large)) || o.Version() == "" {
		t.Errorf("%d bytes, version %q", o.Size(), o.Version())
	}
	readAnywhere(t, o, large)
}

// readAnywhere reads an object in order and at places all over.
func readAnywhere(t *testing.T, o batch.Object, want []byte) {
	t.Helper()
	for _, off := range []int{0, len(want) / 3, len(want)} {
		r, err := o.Open(t.Context(), int64(off))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want[off:]) {
			t.Errorf("from %d on: %d bytes of %d, %v", off, len(got), len(want)-off, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		off := rng.IntN(len(want))
		n := min(len(want)-off, []int{8, 1000, 300 << 10, 1 << 20}[rng.IntN(4)])
		for range 3 { // and what follows
			buf := make([]byte, n)
			if k, err := o.At().ReadAt(buf, int64(off)); k != n || err != nil || !bytes.Equal(buf, want[off:off+n]) {
				t.Fatalf("%d bytes at %d: %d, %v", n, off, k, err)
			}
			if off += n; off+n > len(want) {
				break
			}
		}
	}
	if k, err := o.At().ReadAt(make([]byte, 10), int64(len(want)-3)); k != 3 || err != io.EOF {
		t.Errorf("over the end: %d, %v", k, err)
	}
}

// A connection that drops again and again costs time, no bytes; an object that changes is an error.
func TestS3Drops(t *testing.T) {
	b := testkit.S3(t)
	p := places(t, b)
	data := random(2, 6<<20)
	put(t, p, "s3://rows/x", data)
	via := newProxy(t, strings.TrimPrefix(b.Endpoint, "http://"))
	at := "s3://rows/x?endpoint=" + url.QueryEscape(via.address)
	o := one(t, p, at)
	via.after.Store(1 << 20)
	readAnywhere(t, o, data)
	if via.cuts.Load() < 5 {
		t.Errorf("only %d connections were cut off", via.cuts.Load())
	}
	via.after.Store(0)
	o = one(t, p, at)
	r, err := o.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil { // before its end
		t.Fatal(err)
	}
	put(t, p, "s3://rows/x", random(3, 6<<20))
	if r, err = o.Open(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); code(err) != serval.Conflict {
		t.Errorf("an object that changed, in order: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.At().ReadAt(make([]byte, 100), 5<<20); code(err) != serval.Conflict {
		t.Errorf("an object that changed, anywhere: %v", err)
	}
}

// An upload is seen whole or not at all, and leaves nothing behind when it is given up.
func TestS3Target(t *testing.T) {
	b := testkit.S3(t)
	p := places(t, b)
	at, err := p.Target(t.Context(), "s3://rows/out/scored.bin")
	if err != nil {
		t.Fatal(err)
	}
	if there, err := at.Exists(t.Context()); there || err != nil || at.Path() != "" || at.Name() != "s3://rows/out/scored.bin" {
		t.Errorf("%v, %v, %q, %q", there, err, at.Path(), at.Name())
	}
	data := random(4, 70<<20)
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // gives it up as soon as the store knows of it
		defer cancel()
		for ctx.Err() == nil {
			if begun, _ := filepath.Glob(filepath.Join(b.Dir, ".sgwtmp/multipart/*/*")); len(begun) > 0 {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if err := at.Publish(ctx, path, ""); err == nil {
		t.Error("an upload that was given up succeeded")
	}
	if there, err := at.Exists(t.Context()); there || err != nil {
		t.Errorf("an upload that was given up is there: %v, %v", there, err)
	}
	if parts, _ := filepath.Glob(filepath.Join(b.Dir, ".sgwtmp/multipart/*/*")); len(parts) > 0 {
		t.Errorf("an upload that was given up leaves %v", parts)
	}
	for _, suffix := range []string{"", "", batch.ErrorsSuffix} { // twice, as after a kill
		if err := at.Publish(t.Context(), path, suffix); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"out/scored.bin", "out/scored.bin" + batch.ErrorsSuffix} {
		if got, err := os.ReadFile(filepath.Join(b.Dir, name)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(data), err)
		}
	}
	for range 2 {
		if err := at.Remove(t.Context(), batch.ErrorsSuffix); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(b.Dir, "out/scored.bin"+batch.ErrorsSuffix)); !os.IsNotExist(err) {
		t.Errorf("removed, and there: %v", err)
	}
	for location, want := range map[string]serval.Code{"s3://rows/": serval.InvalidArgument, "s3://rows/a*": serval.InvalidArgument, "https://h/x": serval.InvalidArgument, "gcs://b/x": serval.InvalidArgument} {
		if _, err := p.Target(t.Context(), location); code(err) != want {
			t.Errorf("%s: %v", location, err)
		}
	}
	if nowhere, err := p.Target(t.Context(), "s3://nobucket/x"); err == nil {
		if err := nowhere.Publish(t.Context(), path, ""); code(err) != serval.NotFound {
			t.Errorf("into no bucket: %v", err)
		}
	}
}

func TestWeb(t *testing.T) {
	data := random(5, 6<<20)
	var etag atomic.Value
	etag.Store(`"one"`)
	serve := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", etag.Load().(string))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
	var failures atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/x", serve)
	mux.HandleFunc("/shaky", func(w http.ResponseWriter, r *http.Request) {
		if failures.Add(1)%3 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		serve(w, r)
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(""))
	})
	mux.HandleFunc("/whole", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
	mux.HandleFunc("/secret", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	s := httptest.NewServer(mux)
	defer s.Close()
	via := newProxy(t, s.Listener.Addr().String())
	via.after.Store(1 << 20)
	p := New(Options{Stdin: strings.NewReader("a\n1\n")})
	for _, at := range []string{s.URL + "/x", s.URL + "/shaky", via.address + "/x"} {
		o := one(t, p, at+"?token=secret")
		if o.Name() != at || o.Size() != int64(len(data)) || o.Version() != `"one"` {
			t.Errorf("%s: %d bytes, version %q", o.Name(), o.Size(), o.Version())
		}
		readAnywhere(t, o, data)
	}
	o := one(t, p, s.URL+"/x")
	etag.Store(`"two"`)
	if _, err := o.At().ReadAt(make([]byte, 10), 0); code(err) != serval.Conflict {
		t.Errorf("a file that changed: %v", err)
	}
	if o = one(t, p, s.URL+"/empty"); o.Size() != 0 {
		t.Errorf("an empty file has %d bytes", o.Size())
	}
	o = one(t, p, s.URL+"/whole")
	r, err := o.Open(t.Context(), 0)
	if err != nil || o.At() != nil {
		t.Fatal(err, o.At())
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := o.Open(t.Context(), 5); code(err) != serval.InvalidArgument {
		t.Errorf("in the middle of what cannot be read there: %v", err)
	}
	for path, want := range map[string]serval.Code{"/none": serval.NotFound, "/secret?token=abc": serval.PermissionDenied} {
		if _, err := p.Locate(t.Context(), s.URL+path); code(err) != want || strings.Contains(fmt.Sprint(err), "abc") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if o = one(t, p, "-"); o.Name() != "standard input" {
		t.Errorf("- is %s", o.Name())
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a b.csv")
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := New(Options{})
	for _, at := range []string{path, filepath.Join(dir, "*.csv"), "file://" + strings.ReplaceAll(path, " ", "%20")} {
		if o := one(t, p, at); o.Name() != path {
			t.Errorf("%s is %s", at, o.Name())
		}
	}
	if at, err := p.Target(t.Context(), "file://"+dir+"/out.csv"); err != nil || at.Path() != dir+"/out.csv" {
		t.Errorf("%v", err)
	}
}
