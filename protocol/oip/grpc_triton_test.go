package oip

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	_ "google.golang.org/grpc/encoding/gzip"

	"serval"
)

// TestTritonClient runs NVIDIA's own Python client, unchanged, against the service. It needs a virtual environment with
// tritonclient, which test/setup.sh makes at serval-test/venv-triton in the user's cache folder.
func TestTritonClient(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	python := filepath.Join(cache, "serval-test", "venv-triton", "bin", "python")
	if _, err := os.Stat(python); err != nil || runtime.GOOS != "linux" {
		t.Skipf("no tritonclient at %s", python)
	}
	f := startGRPC(t, func(ctx context.Context, r *serval.Request, sink serval.Sink) error {
		if r.Model.Name == "parts" {
			return parts(ctx, r, sink)
		}
		return echo(ctx, r, sink)
	})
	out, err := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "triton_client.py"), f.addr, "parts").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := []string{"load echo", "load echo", "unload echo"}
	if got := f.control.done; len(got) != len(want) || got[2] != want[2] {
		t.Errorf("control did %v", got)
	}
	if f.control.override == nil || f.control.override.Batching.Max != 8 {
		t.Errorf("override %+v", f.control.override)
	}
}
