//go:build linux

package packed

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

func one(n int, f func(i int)) {
	for i := range n {
		f(i)
	}
}

func content(n int) []byte {
	r, data := rand.New(rand.NewPCG(1, uint64(n))), make([]byte, n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

func key(b byte) Key { return Key{0: b, 20: b} }

func names(t *testing.T, s *Store) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func written(t *testing.T, s *Store, k Key, data []byte) {
	t.Helper()
	if err := s.Write(t.Context(), k, data); err != nil {
		t.Fatal(err)
	}
}

// What was written is mapped, from the beginning of a huge page on, and gone from memory after Close.
func TestKept(t *testing.T) {
	s := New(filepath.Join(t.TempDir(), "not", "there"), 0).All(true)
	data := content(piece + 12345)
	if _, err := s.Open(key(1), int64(len(data)), one); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	written(t, s, key(1), data)
	m, err := s.Open(key(1), int64(len(data)), one)
	if err != nil || !bytes.Equal(m.Data(), data) || uintptr(unsafe.Pointer(&m.Data()[0]))%begin != 0 {
		t.Fatalf("%v", err)
	}
	maps := func() string { raw, _ := os.ReadFile("/proc/self/maps"); return string(raw) }
	if !strings.Contains(maps(), suffix) {
		t.Error("it is not mapped")
	}
	if err := m.Close(); err != nil || strings.Contains(maps(), suffix) {
		t.Errorf("it is still mapped: %v", err)
	}
	if a, b, c := s.Counts(); a != 1 || b != 1 || c != 0 {
		t.Error(a, b, c)
	}
}

// A file that is not what it should be in any byte is an error, is removed, and can be written anew.
func TestDamaged(t *testing.T) {
	data := content(100_000)
	size := int64(len(data))
	for name, hurt := range map[string]func(raw []byte) []byte{
		"magic":       func(raw []byte) []byte { raw[3] ^= 1; return raw },
		"version":     func(raw []byte) []byte { raw[8]++; return raw },
		"key":         func(raw []byte) []byte { raw[40] ^= 0x80; return raw },
		"size":        func(raw []byte) []byte { raw[48]++; return raw },
		"count":       func(raw []byte) []byte { raw[12]++; return raw },
		"header sum":  func(raw []byte) []byte { raw[57] ^= 4; return raw },
		"a sum":       func(raw []byte) []byte { raw[fixed] ^= 4; return raw },
		"first byte":  func(raw []byte) []byte { raw[begin] ^= 1; return raw },
		"last byte":   func(raw []byte) []byte { raw[len(raw)-1] ^= 1; return raw },
		"a byte less": func(raw []byte) []byte { return raw[:len(raw)-1] },
		"a byte more": func(raw []byte) []byte { return append(raw, 0) },
		"only header": func(raw []byte) []byte { return raw[:begin] },
		"half header": func(raw []byte) []byte { return raw[:30] },
		"nothing":     func([]byte) []byte { return nil },
		"zeros":       func(raw []byte) []byte { clear(raw); return raw },
	} {
		s := New(t.TempDir(), 0).All(true)
		written(t, s, key(1), data)
		raw, err := os.ReadFile(s.path(key(1)))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path(key(1)), hurt(raw), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(key(1), size, one); !errors.Is(err, errOther) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, refused := s.Counts(); refused != 1 || len(names(t, s)) != 0 {
			t.Errorf("%s: %v is left", name, names(t, s))
		}
		written(t, s, key(1), data)
		if m, err := s.Open(key(1), size, one); err != nil || m.Close() != nil {
			t.Errorf("%s, written anew: %v", name, err)
		}
	}
	// The file of other weights under this name, and of other sizes.
	s := New(t.TempDir(), 0).All(true)
	written(t, s, key(2), data)
	if err := os.Rename(s.path(key(2)), s.path(key(1))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(key(1), size, one); !errors.Is(err, errOther) {
		t.Error(err)
	}
}

// Files that were not used for longest make room; what somebody began to write and forgot goes, too, and nothing else.
func TestEvict(t *testing.T) {
	const size = 100_000
	s := New(t.TempDir(), 3*(size+begin)+10).All(true)
	for i := range byte(3) {
		written(t, s, key(i), content(size))
		then := time.Now().Add(time.Duration(int(i)-100) * time.Minute)
		if err := os.Chtimes(s.path(key(i)), then, then); err != nil {
			t.Fatal(err)
		}
	}
	for name, age := range map[string]time.Duration{temp + "old": 2 * forgotten, temp + "young": 0, "somebody's": 2 * forgotten} {
		path, then := filepath.Join(s.dir, name), time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, then, then)); err != nil {
			t.Fatal(err)
		}
	}
	m, err := s.Open(key(0), size, one) // the oldest is used
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Open(key(1), size, one) // and this one is mapped
	if err != nil {
		t.Fatal(err)
	}
	then := time.Now().Add(-time.Hour)
	if err := os.Chtimes(s.path(key(1)), then, then); err != nil {
		t.Fatal(err)
	}
	written(t, s, key(3), content(size))
	written(t, s, key(4), content(size))
	for i, want := range []bool{true, false, false, true, true} {
		if _, err := os.Stat(s.path(key(byte(i)))); (err == nil) != want {
			t.Errorf("file %d: %v", i, err)
		}
	}
	if list := names(t, s); len(list) != 5 || list[0] != temp+"young" || list[4] != "somebody's" {
		t.Errorf("%v", list)
	}
	if !bytes.Equal(second.Data(), content(size)) {
		t.Error("what is mapped is gone with its name")
	}
	if err := errors.Join(m.Close(), second.Close()); err != nil {
		t.Error(err)
	}
	if s.Keeps(4*size+3*begin+11) || !s.Keeps(size) {
		t.Error("what is larger than the bound is not to be kept")
	}
}

// Where nothing can be written, nothing is, and nothing is left.
func TestNoRoom(t *testing.T) {
	data := content(100_000)
	s := New(t.TempDir(), 0).All(true)
	s.spare = 1 << 60
	if err := s.Write(t.Context(), key(1), data); err == nil || !strings.Contains(err.Error(), "MB left") || len(names(t, s)) != 0 {
		t.Errorf("%v, %v", err, names(t, s))
	}
	s.spare = 0
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Write(ctx, key(1), data); !errors.Is(err, context.Canceled) || len(names(t, s)) != 0 {
		t.Errorf("%v, %v", err, names(t, s))
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(filepath.Join(file, "x"), 0).All(true).Write(t.Context(), key(1), data); err == nil {
		t.Error("a folder in a file was made")
	}
	disk := t.TempDir()
	if err := syscall.Mount("none", disk, "tmpfs", 0, "size=3m"); err != nil {
		t.Skipf("no small disk can be made: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	}()
	s = New(disk, 0).All(true)
	s.spare = -1 << 60 // as if somebody else took the room meanwhile
	if err := s.Write(t.Context(), key(1), content(5<<20)); !errors.Is(err, syscall.ENOSPC) || len(names(t, s)) != 0 {
		t.Errorf("a full disk: %v, %v", err, names(t, s))
	}
	written(t, s, key(1), data)
	if err := syscall.Mount("none", disk, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=3m"); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), key(2), data); !errors.Is(err, syscall.EROFS) {
		t.Errorf("a disk that cannot be written: %v", err)
	}
	if m, err := s.Open(key(1), int64(len(data)), one); err != nil || m.Close() != nil {
		t.Errorf("a disk that can only be read: %v", err)
	}
}

// Who writes, reads, evicts and damages at once never gets other bytes.
func TestAtOnce(t *testing.T) {
	const size = 300_000
	dir, data := t.TempDir(), content(size)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			s := New(dir, 2*(size+begin)).All(true)
			for i := range 10 {
				k := key(byte(i % 3))
				if m, err := s.Open(k, size, one); err == nil {
					if !bytes.Equal(m.Data(), data) {
						t.Error("other bytes")
					}
					if err := m.Close(); err != nil {
						t.Error(err)
					}
				} else if errors.Is(err, errOther) {
					t.Error(err)
				}
				if err := s.Write(t.Context(), k, data); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if list := names(t, &Store{dir: dir}); len(list) == 0 || len(list) > 3 || strings.HasPrefix(list[0], temp) {
		t.Errorf("%v", list)
	}
}

// A file that is cut short while it is mapped is an error; any other panic stays one.
func TestGuard(t *testing.T) {
	s, data := New(t.TempDir(), 0).All(true), content(100_000)
	written(t, s, key(1), data)
	m, err := s.Open(key(1), int64(len(data)), one)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	sum := 0
	read := func() {
		for _, b := range m.Data() {
			sum += int(b)
		}
	}
	if err := m.Guard(read); err != nil || sum == 0 {
		t.Fatal(err)
	}
	if err := os.Truncate(s.path(key(1)), begin+5000); err != nil {
		t.Fatal(err)
	}
	if err := m.Guard(read); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	for _, f := range []func(){func() { panic("mine") }, func() { var p *int; *p = sum }, func() { _ = data[len(data)+sum-sum] }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a panic was taken for a fault")
				}
			}()
			_ = m.Guard(f)
		}()
	}
}

// An identity changes with its file, also if size and times are set back, and is that of the file under another name.
func TestIdentify(t *testing.T) {
	s := New(t.TempDir(), 0).All(true)
	path := filepath.Join(t.TempDir(), "a")
	data := content(1 << 20)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	of := func(path string) Identity {
		t.Helper()
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		id, err := s.Identify([]*os.File{f})
		if err != nil || !id.Settled() {
			t.Fatal(err)
		}
		return id
	}
	first := of(path)
	if of(path) != first {
		t.Error("it changes by itself")
	}
	if first.Key([]byte("a")) == first.Key([]byte("b")) || first.Key([]byte("a")) != of(path).Key([]byte("a")) {
		t.Error("a key is what is packed of a file")
	}
	link := path + "link"
	if err := os.Symlink(path, link); err != nil || of(link) != first {
		t.Errorf("under another name it is another: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // longer than the file system's clock ticks
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{data[5000] ^ 1}, 5000); err != nil { // between the samples
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	if again, err := os.Stat(path); err != nil || again.Size() != info.Size() || !again.ModTime().Equal(info.ModTime()) {
		t.Fatalf("%v", err)
	}
	if of(path) == first {
		t.Error("a byte was changed, and size and time set back: it is still the same")
	}
	now := New(t.TempDir(), 0)
	f, err = os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if id, err := now.Identify([]*os.File{f}); err != nil || id.Settled() {
		t.Errorf("a file of this moment is not settled: %v", err)
	}
}

// A file of any bytes is taken only if it is the one that was written.
func FuzzOpen(f *testing.F) {
	data := content(1000)
	s := New(f.TempDir(), 0).All(true)
	if err := s.Write(f.Context(), key(1), data); err != nil {
		f.Fatal(err)
	}
	raw, err := os.ReadFile(s.path(key(1)))
	if err != nil {
		f.Fatal(err)
	}
	head, tail := raw[:fixed+4], raw[begin:]
	f.Add(head, tail)
	f.Add(head[:10], tail)
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		s := New(t.TempDir(), 0).All(true)
		raw := append(bytes.Clone(a), make([]byte, max(0, begin-len(a)))...)
		raw = append(raw[:begin], b...)
		if err := os.WriteFile(s.path(key(1)), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := s.Open(key(1), int64(len(data)), one)
		if err == nil {
			if !bytes.Equal(m.Data(), data) {
				t.Error("other bytes were taken")
			}
			_ = m.Close()
		}
	})
}
