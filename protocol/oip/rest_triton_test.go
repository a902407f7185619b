package oip

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// TestTritonHTTPClient runs NVIDIA's own Python client, unchanged, against the routes. It needs a virtual environment with
// tritonclient, which test/setup.sh makes at serval-test/venv-triton in the user's cache folder.
func TestTritonHTTPClient(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	python := filepath.Join(cache, "serval-test", "venv-triton", "bin", "python")
	if _, err := os.Stat(python); err != nil || runtime.GOOS != "linux" {
		t.Skipf("no tritonclient at %s", python)
	}
	_, mux, control := newREST(answerInputs)
	server := httptest.NewServer(mux)
	defer server.Close()
	out, err := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "rest_client.py"), server.Listener.Addr().String()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(control.calls) != 2 || control.calls[0] != "load m max=8 delay=0s instances=2" {
		t.Errorf("control did %v", control.calls)
	}
}
