package native

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOfflineArchive(t *testing.T) {
	l := onnx(t)
	offline := t.TempDir()
	copyFile(t, filepath.Join(archives(t), l.Package.File), filepath.Join(offline, l.Package.File))
	noClients(t)
	s := New(Options{Cache: t.TempDir(), Offline: offline})
	path, err := s.Find(l.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyFile(path, l.Package.digestOf(l.Path)); err != nil {
		t.Error(err)
	}
	if again, err := s.Ensure(t.Context(), l.Name); err != nil || again != path {
		t.Errorf("%q, %v", again, err)
	}

	if _, err := New(Options{Offline: offline}).Find(l.Name); err == nil {
		t.Error("an archive was unpacked without a cache folder")
	}
}

func TestOfflineLibrary(t *testing.T) {
	l := onnx(t)
	fetched, err := New(Options{Cache: filepath.Dir(archives(t))}).Find(l.Name)
	if err != nil {
		t.Fatal(err)
	}
	offline := t.TempDir()
	spot := filepath.Join(offline, filepath.Base(l.Path))
	copyFile(t, fetched, spot)
	noClients(t)
	s := New(Options{Cache: t.TempDir(), Offline: offline})
	if path, err := s.Find(l.Name); err != nil || path != spot {
		t.Errorf("%q, %v; want %q", path, err, spot)
	}
	r := s.Report(t.Context())
	at := slices.IndexFunc(r.Libraries, func(f LibraryReport) bool { return f.Name == l.Name })
	if at < 0 || !r.Libraries[at].Verified || r.Libraries[at].From != "offline" {
		t.Errorf("%+v", r.Libraries)
	}

	if err := os.WriteFile(spot, []byte("\x7fELF and more that is not what was pinned"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = s.Find(l.Name)
	wantError(t, err, "serval doctor --fix", "--dest "+offline)
}

func TestExplicitPathWins(t *testing.T) {
	l := onnx(t)
	fetched, err := New(Options{Cache: filepath.Dir(archives(t))}).Find(l.Name)
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), "my.so")
	copyFile(t, fetched, own)
	find := func(path string) (string, error) {
		return New(Options{Cache: filepath.Dir(archives(t)), Libraries: map[string]string{"onnxruntime": path}}).Find("onnxruntime")
	}
	if path, err := find(own); err != nil || path != own {
		t.Errorf("%q, %v", path, err)
	}

	_, err = find(filepath.Join(t.TempDir(), "none.so"))
	wantError(t, err, "library onnxruntime: the given path cannot be used", "none.so")
	_, err = find(t.TempDir())
	wantError(t, err, "no plain file")
	if runtime.GOOS != "linux" {
		return
	}
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("INPUT(libonnxruntime.so.1)"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = find(text)
	wantError(t, err, "no ELF shared library")

	b, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	b[18], b[19] = 0xf3, 0 // e_machine: RISC-V
	if err := os.WriteFile(own, b, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = find(own)
	wantError(t, err, "EM_RISCV", runtime.GOARCH)
}

func TestFindOfNoSuchLibrary(t *testing.T) {
	s := New(Options{Cache: t.TempDir()})
	_, err := s.Find("onnx")
	wantError(t, err, `"onnx" is not known`, "onnxruntime")
	elsewhere := onnx(t)
	elsewhere.OS = "plan9"
	_, err = New(Options{Cache: t.TempDir(), Manifest: []Library{elsewhere}}).Find("onnxruntime")
	wantError(t, err, "no build for "+runtime.GOOS+"/"+runtime.GOARCH)
}

func TestFindFallsBackToTheOtherPackage(t *testing.T) {
	wheel := onnx(t)
	other := wheel
	other.Package.Files = wheel.Package.Files[:1] // stands for another package: another folder in the cache
	offline := archives(t)
	noClients(t)
	first := wheel
	first.Package.SHA256 = onesDigest // one that nobody has
	s := New(Options{Cache: t.TempDir(), Offline: offline, Manifest: []Library{first, other}})
	path, err := s.Find("onnxruntime")
	if err != nil || !strings.Contains(path, other.Package.folder()) {
		t.Errorf("%q, %v", path, err)
	}
}

func TestLockGivesUpWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path, func() { t.Error("nobody held it") })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := false
	if _, err := lock(ctx, path, func() { waited = true; cancel() }); err != context.Canceled || !waited {
		t.Errorf("%v, waited %v", err, waited)
	}
	unlock()
	unlock, err = lock(t.Context(), path, func() { t.Error("it was given back") })
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestProgressText(t *testing.T) {
	p := Package{Name: "a", Version: "1", Size: 20_000_000}
	cases := []struct {
		p    Package
		got  int64
		bar  bool
		want string
	}{
		{p, 0, true, "a 1: 3s"},
		{p, 5_000_000, false, "a 1: 5.0 MB of 20.0 MB, 25 %, 3s"},
		{p, 5_000_000, true, "a 1 [███████░░░░░░░░░░░░░░░░░░░░░] 5.0 MB of 20.0 MB, 25 %, 3s"},
		{p, 99_000_000, true, "a 1 [████████████████████████████] 20.0 MB of 20.0 MB, 100 %, 3s"},
		{Package{Name: "a", Version: "1"}, 1500, true, "a 1: 1.5 kB, 3s"},
	}
	for _, c := range cases {
		if got := progressText(c.p, c.got, 3*time.Second, c.bar); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

// A library in several files counts only with all of them beside it.
func TestOfflineLibraryOfSeveralFiles(t *testing.T) {
	whole := func(name string) string {
		sum := sha256.Sum256([]byte(name))
		return hex.EncodeToString(sum[:])
	}
	l := Library{Name: "several", Path: "lib/libone.so", Whole: true, Package: Package{Files: []File{
		{Path: "lib/libone.so", SHA256: whole("one")}, {Path: "lib/libtwo.so", SHA256: whole("two")}, {Path: "LICENSE"},
	}}}
	dir := t.TempDir()
	for i, name := range []string{"one", "two"} {
		if l.standsIn(dir) {
			t.Errorf("with %d of its files it counts as there", i)
		}
		if err := os.WriteFile(filepath.Join(dir, "lib"+name+".so"), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !l.standsIn(dir) {
		t.Error("with all of its files it does not count as there")
	}
}
