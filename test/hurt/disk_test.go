//go:build hurt

package hurt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"serval/bench/load"
)

// TestDisk: disks that are full, read-only or gone, files that change while they are read, and no descriptors left. What
// serves goes on serving.
func TestDisk(t *testing.T) {
	both(t, func(t *testing.T, b build) {
		t.Run("full", func(t *testing.T) { diskFull(t, b) })
		t.Run("readonly", func(t *testing.T) { diskReadOnly(t, b) })
		t.Run("vanish", func(t *testing.T) { diskVanish(t, b) })
		t.Run("replace", func(t *testing.T) { diskReplace(t, b) })
		t.Run("weights", func(t *testing.T) { diskWeights(t, b) })
		t.Run("descriptors", func(t *testing.T) { diskDescriptors(t, b) })
	})
}

// mount makes a small file system of its own, until the test ends.
func mount(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a tmpfs: %v; this test runs as root", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes until nothing more fits.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{4096, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// diskFull has no room for what the server keeps (--data) and for its log. The model serves all the same: both are
// conveniences.
func diskFull(t *testing.T, b build) {
	models, full := t.TempDir(), mount(t, "64k")
	m := mlp(t, models, "mlp", "")
	s := start(t, b, setup{models: models, data: full, config: "log: {level: debug}\n"})
	healthy(t, s, m)
	s.Term()
	ends(t, s, 10*time.Second, 0)

	fill(t, full)
	s = start(t, b, setup{models: models, data: full})
	healthy(t, s, m)
	// Changed, so that it is probed anew and what is remembered cannot be written.
	mlp(t, models, "mlp", "")
	if a, err := control(client(t, time.Minute), s, "mlp", "load"); err != nil || a.status != 200 {
		t.Errorf("reload with a full --data: %v %v", a, err)
	}
	healthy(t, s, m)
	s.Term()
	ends(t, s, 10*time.Second, 0)

	// The log fills the disk up while the server runs.
	log := filepath.Join(mount(t, "64k"), "serval.log")
	s = start(t, b, setup{models: models, config: "log: {file: " + log + "}\n", log: log})
	r, err := load.Run(context.Background(), load.Options{Addr: s.HTTP, Payload: m.payload(t, load.JSON, 1), Concurrency: 4, Count: 2000})
	if err != nil || r.Errors > 0 || r.Requests != 2000 {
		t.Errorf("with a full disk for the log: %v\n%s", err, r.Text())
	}
	eventually(t, 5*time.Second, "lost lines are counted", func() bool { return count(t, s, "serval_access_log_dropped_total") > 0 })
	healthy(t, s, m)
	s.Term()
	ends(t, s, 10*time.Second, 0)
}

// diskReadOnly serves from a file system that cannot be written, as images and shared volumes are.
func diskReadOnly(t *testing.T, b build) {
	dir := mount(t, "16m")
	m := mlp(t, dir, "mlp", "")
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{t.TempDir(), dir} { // and --data there too
		s := start(t, b, setup{models: dir, data: data})
		healthy(t, s, m)
		if a, err := control(client(t, time.Minute), s, "mlp", "load"); err != nil || a.status != 200 {
			t.Errorf("reload: %v %v", a, err)
		}
		s.Term()
		ends(t, s, 10*time.Second, 0)
	}
}

// diskVanish takes the models folder away under a running server, and brings it back.
func diskVanish(t *testing.T, b build) {
	root := t.TempDir()
	models, away := filepath.Join(root, "models"), filepath.Join(root, "away")
	m := mlp(t, models, "mlp", "")
	f := fake(t, models, "echo", "1ms", "")
	s := start(t, b, setup{models: models})
	if err := os.Rename(models, away); err != nil {
		t.Fatal(err)
	}
	c := client(t, time.Minute)
	healthy(t, s, m)
	healthy(t, s, f)
	for _, name := range []string{"mlp", "echo"} {
		a, err := control(c, s, name, "load")
		if err != nil || a.status == 200 || contains(a.body, name, models) != nil {
			t.Errorf("reload without its folder: %v %v; want an error that names the model and the folder", a, err)
		}
	}
	healthy(t, s, m)
	if a, err := control(c, s, "echo", "unload"); err != nil || a.status != 200 {
		t.Errorf("unload without its folder: %v %v", a, err)
	}
	if err := os.Rename(away, models); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mlp", "echo"} {
		if a, err := control(c, s, name, "load"); err != nil || a.status != 200 {
			t.Errorf("load with its folder back: %v %v", a, err)
		}
	}
	healthy(t, s, m)
	healthy(t, s, f)
}

// diskReplace changes a model's file again and again, half of the time half-copied, while it is reloaded and called.
func diskReplace(t *testing.T, b build) {
	models := t.TempDir()
	m := mlp(t, models, "mlp", "")
	file := filepath.Join(models, "mlp", "1", "model.onnx")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, b, setup{models: models})
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	var r load.Result
	work.Go(func() {
		r, err = load.Run(ctx, load.Options{Addr: s.HTTP, Payload: m.payload(t, load.JSON, 1), Concurrency: 4, Duration: time.Minute})
	})
	// In place, as cp does: truncated, then written in pieces.
	work.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			end := len(whole)
			if i%2 == 0 {
				end = (i * 7919) % len(whole)
			}
			f, err := os.Create(file)
			if err != nil {
				t.Error(err)
				return
			}
			for at := 0; at < end && err == nil; at += 1 << 16 {
				_, err = f.Write(whole[at:min(at+1<<16, end)])
				time.Sleep(time.Millisecond)
			}
			_ = f.Close()
			time.Sleep(20 * time.Millisecond)
		}
	})
	c := client(t, time.Minute)
	loaded, failed := 0, 0
	for end := time.Now().Add(pick(b, 8*time.Second, 6*time.Second)); time.Now().Before(end); {
		a, err := control(c, s, "mlp", "load")
		switch {
		case err != nil:
			t.Fatalf("reload: %v", err)
		case a.status == 200:
			loaded++
		case a.status >= 500 || contains(a.body, "mlp") != nil:
			t.Fatalf("reload: %v", a)
		default:
			failed++
		}
	}
	stop()
	work.Wait()
	t.Logf("%d reloads, %d refused; %d requests", loaded, failed, r.Requests)
	if err != nil || r.Errors > 0 || r.Requests == 0 {
		t.Errorf("%v\n%s", err, r.Text())
	}
	// A truncated file for certain: what was loaded before serves on, and the index says why.
	write(t, file, whole[:len(whole)/2])
	if a, err := control(c, s, "mlp", "load"); err != nil || a.status != 400 {
		t.Errorf("reload of half a model: %v %v", a, err)
	}
	if e := stateOf(t, s, "mlp"); e.State != "READY" || e.Reason == "" {
		t.Errorf("after a failed reload: %+v", e)
	}
	healthy(t, s, m)
	write(t, file, whole)
	if a, err := control(c, s, "mlp", "load"); err != nil || a.status != 200 {
		t.Errorf("reload of the whole model: %v %v", a, err)
	}
	if e := stateOf(t, s, "mlp"); e.State != "READY" || e.Reason != "" {
		t.Errorf("after a good reload: %+v", e)
	}
}

// diskWeights overwrites and truncates the external weights of a model that serves: what is mapped into memory from a file
// that shrinks is a SIGBUS.
func diskWeights(t *testing.T, b build) {
	models := t.TempDir()
	m := matrix(t, models, "big", 1000, "big.weights")
	s := start(t, b, setup{models: models})
	c := client(t, 30*time.Second)
	before, err := post(c, s.URL(m.path()), m.json())
	if err != nil || before.status != 200 {
		t.Fatalf("%v %v", before, err)
	}
	file := filepath.Join(models, "big", "1", "big.weights")
	if err := os.Truncate(file, 100); err != nil {
		t.Fatal(err)
	}
	for _, rows := range []int64{1, 16, 64} {
		if a, err := post(c, s.URL(m.path()), m.jsonRows(rows)); err != nil || a.status != 200 {
			t.Fatalf("with its weights truncated on the disk: %v %v", a, err)
		}
	}
	if a, err := control(c, s, "big", "load"); err != nil || a.status != 400 {
		t.Errorf("reload with truncated weights: %v %v", a, err)
	}
	healthy(t, s, m)
}

// diskDescriptors leaves the server 64 open files: connections beyond them wait or fail, those that there are do not, and
// when they have gone all is as before.
func diskDescriptors(t *testing.T, b build) {
	models := t.TempDir()
	m := mlp(t, models, "mlp", "")
	s := start(t, b, setup{models: models, under: []string{"prlimit", "--nofile=64:64"}})
	healthy(t, s, m)
	steady := client(t, 20*time.Second) // has a connection already when they run out
	if a, err := post(steady, s.URL(m.path()), m.json()); err != nil || a.status != 200 {
		t.Fatalf("%v %v", a, err)
	}
	for _, addr := range []string{s.HTTP, s.GRPC} {
		var held []net.Conn
		for range 100 {
			c, err := net.DialTimeout("tcp", addr, 2*time.Second)
			if err != nil {
				break
			}
			held = append(held, c)
		}
		if len(held) < 40 {
			t.Errorf("only %d connections", len(held))
		}
		for range 20 {
			if a, err := post(steady, s.URL(m.path()), m.json()); err != nil || a.status != 200 {
				t.Errorf("a connection that was there before: %v %v", a, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		// A reload needs files, and a child. It may fail, cleanly.
		if a, err := control(steady, s, "mlp", "load"); err != nil {
			t.Errorf("reload without descriptors: %v %v", a, err)
		}
		for _, c := range held {
			_ = c.Close()
		}
		eventually(t, 15*time.Second, "the server accepts again", func() bool {
			a, err := post(client(t, 2*time.Second), s.URL(m.path()), m.json())
			return err == nil && a.status == 200
		})
		healthy(t, s, m)
	}
	if a, err := control(steady, s, "mlp", "load"); err != nil || a.status != 200 {
		t.Errorf("reload afterwards: %v %v", a, err)
	}
}

// remembered reads probed.json, which must be whole if it is there.
func remembered(t *testing.T, data string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(data, "probed.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var list map[string]string
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(&list); err != nil {
		t.Errorf("probed.json is not whole: %v: %.200s", err, raw)
	}
	return list
}
