package testkit

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// GoogleBucket is a store that speaks the protocol of Google's, with one empty bucket, on this machine. It asks for no keys.
type GoogleBucket struct {
	Component
	Endpoint string // http://127.0.0.1:PORT, also what STORAGE_EMULATOR_HOST takes
	Name     string // of the bucket
	Dir      string // where its objects lie as files
}

// GCS starts a fake-gcs-server over an empty folder.
func GCS(t testing.TB) *GoogleBucket {
	t.Helper()
	bin := Cache(t, "bin", "fake-gcs-server")
	root, at := t.TempDir(), Port(t)
	b := &GoogleBucket{Endpoint: fmt.Sprintf("http://127.0.0.1:%d", at), Name: "rows", Dir: filepath.Join(root, "rows")}
	b.Component = Component{t: t, name: "fake-gcs-server", stop: syscall.SIGTERM,
		line: func() *exec.Cmd {
			// The host without a port stands for any, so that requests may come by way of a proxy.
			return exec.Command(bin, "-backend", "filesystem", "-filesystem-root", root, "-scheme", "http", "-host", "127.0.0.1", "-port", fmt.Sprint(at),
				"-public-host", "127.0.0.1", "-log-level", "warn")
		},
		up: func() error {
			r, err := http.Get(b.Endpoint + "/_internal/healthcheck")
			if err != nil {
				return err
			}
			return r.Body.Close()
		},
	}
	b.keep()
	r, err := http.Post(b.Endpoint+"/storage/v1/b?project=test", "application/json", strings.NewReader(`{"name": "`+b.Name+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		t.Fatalf("the bucket %s: %s", b.Name, r.Status)
	}
	return b
}

// Put writes an object, Get reads one, and List names those that begin so: by requests of their own, not by the program's code.
func (b *GoogleBucket) Put(key, data string) {
	b.t.Helper()
	call(b.t, http.MethodPost, b.Endpoint+"/upload/storage/v1/b/"+b.Name+"/o?uploadType=media&name="+url.QueryEscape(key), data)
}

// Get reads an object.
func (b *GoogleBucket) Get(key string) string {
	b.t.Helper()
	return call(b.t, http.MethodGet, b.Endpoint+"/storage/v1/b/"+b.Name+"/o/"+url.PathEscape(key)+"?alt=media", "")
}

// List names the objects that begin so, in order.
func (b *GoogleBucket) List(prefix string) (keys []string) {
	b.t.Helper()
	var list struct{ Items []struct{ Name string } }
	if err := json.Unmarshal([]byte(call(b.t, http.MethodGet, b.Endpoint+"/storage/v1/b/"+b.Name+"/o?prefix="+url.QueryEscape(prefix), "")), &list); err != nil {
		b.t.Fatal(err)
	}
	for _, o := range list.Items {
		keys = append(keys, o.Name)
	}
	slices.Sort(keys)
	return keys
}

// call asks a store, which must agree, and gives its answer. More are pairs of headers.
func call(t testing.TB, method, address, data string, more ...string) string {
	t.Helper()
	req, err := http.NewRequest(method, address, strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(more); i += 2 {
		req.Header.Set(more[i], more[i+1])
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	said, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode >= http.StatusMultipleChoices {
		t.Fatalf("%s %s: %s, %s, %v", method, req.URL.Path, r.Status, said, err)
	}
	return string(said)
}
