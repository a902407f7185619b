package testkit

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
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
