package native

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"serval"
)

func TestEnsureWithPip(t *testing.T) {
	l, cache, said := onnx(t), t.TempDir(), new(lines)
	s := New(Options{Cache: cache, Progress: said})
	_, err := s.Find("onnxruntime")
	wantError(t, err, "serval doctor --fix", "pip download --no-deps --only-binary=:all:", "onnxruntime=="+l.Package.Version, cache)

	path, err := s.Ensure(t.Context(), "onnxruntime")
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyFile(path, l.Package.digestOf(l.Path)); err != nil {
		t.Error(err)
	}
	if err := checkLibrary(path); err != nil {
		t.Error(err)
	}
	if !strings.Contains(said.String(), "fetching with pip") || !strings.Contains(said.String(), "sha256 verified") {
		t.Errorf("progress: %q", said)
	}
	if found, err := s.Find("onnxruntime"); err != nil || found != path {
		t.Errorf("Find: %q, %v; want %q", found, err, path)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), "__init__.py")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("more was unpacked than wanted: %v", err)
	}
	if left := leftovers(t, cache); left != nil {
		t.Errorf("left behind: %q", left)
	}

	noClients(t)
	before := said.String()
	if again, err := s.Ensure(t.Context(), "onnxruntime"); err != nil || again != path || said.String() != before {
		t.Errorf("second Ensure: %q, %v, said %q", again, err, strings.TrimPrefix(said.String(), before))
	}
}

func TestFetchWithNPM(t *testing.T) {
	p, cache := common(), t.TempDir()
	s := New(Options{Cache: cache})
	dir, err := s.Fetch(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range p.Files {
		if _, err := os.Stat(filepath.Join(dir, f.Path)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "package", "README.md")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("more was unpacked than wanted: %v", err)
	}

	all := p
	all.Files = nil
	noClients(t) // the archive is kept: other files of it need no download
	whole, err := s.Fetch(t.Context(), all)
	if err != nil || whole == dir {
		t.Fatalf("%q, %v", whole, err)
	}
	if _, err := os.Stat(filepath.Join(whole, "package", "README.md")); err != nil {
		t.Error(err)
	}
}

func TestFetchRefusesOtherBytes(t *testing.T) {
	p, cache := common(), t.TempDir()
	p.SHA256 = strings.Repeat("0", 64)
	s := New(Options{Cache: cache})
	_, err := s.Fetch(t.Context(), p)
	wantError(t, err, "onnxruntime-common 1.30.0", "sha256 "+common().SHA256, "expected "+p.SHA256)
	if e := (*serval.Error)(nil); !errors.As(err, &e) || e.Code != serval.Unavailable {
		t.Errorf("%#v", err)
	}
	if _, err := os.Stat(filepath.Join(s.archives(), p.File)); !errors.Is(err, os.ErrNotExist) {
		t.Error("the wrong archive was kept")
	}
	if left := leftovers(t, cache); left != nil {
		t.Errorf("left behind: %q", left)
	}
}

func TestFetchOfNoSuchVersion(t *testing.T) {
	p := onnx(t).Package
	p.Version = "0.0.1"
	_, err := New(Options{Cache: t.TempDir()}).Fetch(t.Context(), p)
	wantError(t, err, "pip ended with exit status 1", "No matching distribution", "by hand: pip download")
}

func TestFetchWithoutClient(t *testing.T) {
	noClients(t)
	s := New(Options{Cache: t.TempDir()})
	_, err := s.Fetch(t.Context(), common())
	wantError(t, err, "no package client npm", "apt-get install npm", "npm pack --ignore-scripts onnxruntime-common@1.30.0")
	l := onnx(t)
	_, err = s.Ensure(t.Context(), l.Name)
	wantError(t, err, "serval doctor --fix", "pip download")
}

func TestCorruptArchiveIsNotUnpacked(t *testing.T) {
	l := onnx(t)
	cache := t.TempDir()
	s := New(Options{Cache: cache})
	spot := filepath.Join(s.archives(), l.Package.File)
	copyFile(t, filepath.Join(archives(t), l.Package.File), spot)
	noClients(t)

	f, err := os.OpenFile(spot, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("\xff\x00\xff"), l.Package.Size/2); err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, err = s.Find(l.Name)
	wantError(t, err, "serval doctor --fix")
	if _, err = os.Stat(s.dir(l.Package)); !errors.Is(err, os.ErrNotExist) {
		t.Error("something was unpacked")
	}
}

func TestDamagedFolderIsUnpackedAgain(t *testing.T) {
	l := onnx(t)
	s := New(Options{Cache: t.TempDir()})
	copyFile(t, filepath.Join(archives(t), l.Package.File), filepath.Join(s.archives(), l.Package.File))
	noClients(t)
	path, err := s.Find(l.Name)
	if err != nil {
		t.Fatal(err)
	}
	harms := map[string]func() error{
		"truncated":   func() error { return os.Truncate(path, 1000) },
		"touched":     func() error { return os.WriteFile(path, make([]byte, sizeOf(path)), 0o644) },
		"removed":     func() error { return os.Remove(path) },
		"no record":   func() error { return os.Remove(filepath.Join(s.dir(l.Package), recordName)) },
		"folder gone": func() error { return os.RemoveAll(s.dir(l.Package)) },
		"copied":      func() error { return os.Chtimes(path, time.Time{}, time.Unix(1, 0)) },
	}
	for name, harm := range harms {
		os.Chmod(path, 0o644)
		if err := harm(); err != nil {
			t.Fatal(name, err)
		}
		again, err := s.Find(l.Name)
		if err != nil || again != path {
			t.Fatalf("%s: %q, %v", name, again, err)
		}
		if err := verifyFile(path, l.Package.digestOf(l.Path)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKilledFetch kills a process in the middle of pip's download, then one in the middle of unpacking, with SIGKILL.
func TestKilledFetch(t *testing.T) {
	l := onnx(t)
	cache := t.TempDir()
	s := New(Options{Cache: cache})
	moments := []struct{ name, pattern string }{
		{"download", filepath.Join(s.archives(), ".tmp-*", "scratch", "*")},
		{"unpack", filepath.Join(filepath.Dir(s.dir(l.Package)), ".tmp-*", "new", "*")},
	}
	kept := archives(t)
	for _, m := range moments {
		if m.name == "unpack" {
			copyFile(t, filepath.Join(kept, l.Package.File), filepath.Join(s.archives(), l.Package.File))
		}
		cmd, _, stderr := child(t, cache)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for reached := false; !reached; {
			select {
			case err := <-ended:
				t.Fatalf("%s: the child ended before it could be killed: %v %s", m.name, err, stderr)
			case <-time.After(time.Millisecond):
				hits, _ := filepath.Glob(m.pattern)
				reached = len(hits) > 0
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-ended
		if len(leftovers(t, cache)) == 0 {
			t.Fatalf("%s: the kill came too late to test anything", m.name)
		}
		if verify(l.Package, s.dir(l.Package), false) == nil {
			t.Fatalf("%s: the folder is there although the fetch was cut off", m.name)
		}
	}
	noClients(t) // the archive was complete: no download to go on from there
	path, err := s.Find(l.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyFile(path, l.Package.digestOf(l.Path)); err != nil {
		t.Error(err)
	}
	if left := leftovers(t, cache); left != nil {
		t.Errorf("left behind: %q", left)
	}
}

// TestCanceledFetch cancels while pip runs: pip must be gone, and so must its files.
func TestCanceledFetch(t *testing.T) {
	cache := t.TempDir()
	s := New(Options{Cache: cache})
	ctx, cancel := context.WithCancel(t.Context())
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for t.Context().Err() == nil && ctx.Err() == nil {
			if hits, _ := filepath.Glob(filepath.Join(s.archives(), ".tmp-*", "scratch", "*")); len(hits) > 0 {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	})
	_, err := s.Fetch(ctx, onnx(t).Package)
	cancel()
	watcher.Wait()
	wantError(t, err, "was stopped", "fetch it again")
	if e := (*serval.Error)(nil); !errors.As(err, &e) || e.Code != serval.Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("%#v", err)
	}
	if left := leftovers(t, cache); left != nil {
		t.Errorf("left behind: %q", left)
	}
}

// TestConcurrentFetch has two processes and two goroutines of a third fetch into one cache: one download, one result.
func TestConcurrentFetch(t *testing.T) {
	l, cache, said := onnx(t), t.TempDir(), new(lines)
	s := New(Options{Cache: cache, Progress: said})
	paths, logs := make(chan string, 4), make(chan string, 2)
	var group sync.WaitGroup
	for range 2 {
		cmd, stdout, stderr := child(t, cache)
		group.Go(func() {
			if err := cmd.Run(); err != nil {
				t.Errorf("%v: %s", err, stderr)
			}
			paths <- stdout.String()
			logs <- stderr.String()
		})
		group.Go(func() {
			path, err := s.Ensure(t.Context(), l.Name)
			if err != nil {
				t.Error(err)
			}
			paths <- path
		})
	}
	group.Wait()
	want := filepath.Join(s.dir(l.Package), filepath.FromSlash(l.Path))
	for range 4 {
		if got := <-paths; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	all := said.String() + <-logs + <-logs
	if n := strings.Count(all, "fetching with"); n != 1 {
		t.Errorf("%d downloads: %s", n, all)
	}
	if err := verify(l.Package, s.dir(l.Package), true); err != nil {
		t.Error(err)
	}
}

func TestReadOnlyCache(t *testing.T) {
	if syscall.Getuid() == 0 {
		t.Log("root writes everywhere: this shows only that Find takes no lock")
	}
	l := onnx(t)
	cache := t.TempDir()
	s := New(Options{Cache: cache})
	copyFile(t, filepath.Join(archives(t), l.Package.File), filepath.Join(s.archives(), l.Package.File))
	if _, err := s.Find(l.Name); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.archives()); err != nil { // and with it the lock files
		t.Fatal(err)
	}
	if err := os.Chmod(cache, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(cache, 0o755)
	if _, err := s.Find(l.Name); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.archives()); !errors.Is(err, os.ErrNotExist) {
		t.Error("Find wrote into the cache")
	}
}
