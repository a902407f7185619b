package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"serval/engine"
	engines "serval/engine/all"
)

// TestMain is the probe child, too, when it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ProbeCommand {
		if err := ailing(os.Stdin, os.Stdout, os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// ailing is a child that does what models' names say before RunProbe gets to see them, as an engine's C code may. It notes
// its start, and each model that it is at, in a file.
func ailing(in io.Reader, out io.Writer, notes string) error {
	file, err := os.OpenFile(notes, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	note := func(what string) { _, _ = fmt.Fprintln(file, what) }
	note("start")
	orders, write := io.Pipe()
	go func() {
		spoilt := false
		lines := bufio.NewScanner(in)
		for n := 0; lines.Scan(); n++ {
			var req probeRequest
			if n > 0 && json.Unmarshal(lines.Bytes(), &req) == nil {
				note(req.Name)
				switch {
				case spoilt || strings.HasPrefix(req.Name, "abort"):
					fmt.Fprintln(os.Stderr, "the heap is on fire at", req.Name)
					_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
					select {}
				case strings.HasPrefix(req.Name, "exit"):
					os.Exit(0)
				case strings.HasPrefix(req.Name, "hang"):
					continue
				case strings.HasPrefix(req.Name, "noise"):
					fmt.Fprintf(out, "%s{\"error\":\"not\" \nhello %s %s{}", probeAnswer, strings.Repeat("x", 200<<10), probeAnswer)
				}
				spoilt = strings.HasPrefix(req.Name, "spoil")
			}
			_, _ = write.Write(append(lines.Bytes(), '\n'))
		}
		_ = write.Close()
	}()
	return RunProbe(context.Background(), orders, out, nil)
}

// probing is a prober whose children note what they do.
type probing struct {
	*prober
	t     *testing.T
	dir   string
	notes string
	log   bytes.Buffer
}

func newProbing(t *testing.T, dir string) *probing {
	t.Helper()
	p := &probing{t: t, dir: dir, notes: filepath.Join(t.TempDir(), "notes")}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if p.prober, err = newProber(exe, filepath.Join(dir, "data", "probed.json"), []string{p.notes}, engines.Options(), slog.New(slog.NewTextHandler(&p.log, nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// check tries a model; unless it is there, a good one is written.
func (p *probing) check(name string) error { return p.checkIn(p.t.Context(), name) }

func (p *probing) checkIn(ctx context.Context, name string) error {
	dir := filepath.Join(p.dir, name)
	file := filepath.Join(dir, "model.fake")
	if _, err := os.Stat(file); err != nil {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(file, []byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[-1]}],"outputs":[{"name":"x","datatype":"FP32","shape":[-1]}]}`), 0o644)); err != nil {
			return err
		}
	}
	return p.try(ctx, "fake", engine.Spec{Name: name, Version: "1", Dir: dir, Root: dir})
}

// noted is what the children did.
func (p *probing) noted() []string {
	raw, _ := os.ReadFile(p.notes)
	return strings.Fields(string(raw))
}

func (p *probing) expect(err error, words ...string) {
	p.t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			p.t.Errorf("no %q in: %v", w, err)
		}
	}
	if len(words) == 0 && err != nil {
		p.t.Error(err)
	}
}

// TestProbeMany: one child tries many, and what passed is known from then on, also after a restart.
func TestProbeMany(t *testing.T) {
	dir := t.TempDir()
	p := newProbing(t, dir)
	for i := range probeTurns + 5 {
		p.expect(p.check(fmt.Sprint("good-", i)))
	}
	p.expect(p.check("noise"))
	if starts := count(p.noted(), "start"); starts != 2 {
		t.Errorf("%d children for %d models, want 2", starts, probeTurns+6)
	}
	p.close()
	again := newProbing(t, dir)
	for i := range probeTurns + 5 {
		again.expect(again.check(fmt.Sprint("good-", i)))
	}
	if n := len(again.noted()); n != 0 {
		t.Errorf("after a restart, %d were tried again", n)
	}
	file := filepath.Join(dir, "good-7", "model.fake")
	if err := os.WriteFile(file, []byte("another model"), 0o644); err != nil {
		t.Fatal(err)
	}
	again.expect(again.check("good-7"), "model.fake")
	again.expect(again.check("good-7"), "model.fake") // what failed is not remembered
	if got := again.noted(); !slices.Equal(got, []string{"start", "good-7", "good-7"}) {
		t.Errorf("the children were at %v", got)
	}
}

func count(list []string, word string) (n int) {
	for _, w := range list {
		if w == word {
			n++
		}
	}
	return n
}

// TestProbeDeaths: a child that dies costs the model that it was at, and no other.
func TestProbeDeaths(t *testing.T) {
	p := newProbing(t, t.TempDir())
	p.expect(p.check("good-1"))
	p.expect(p.check("abort-1"), "killed the probe child", "signal: killed", "the heap is on fire at abort-1")
	p.expect(p.check("good-2"))
	p.expect(p.check("exit"), "without a verdict")
	p.expect(p.check("good-3"))
	want := []string{"start", "good-1", "abort-1", "start", "abort-1", "start", "good-2", "exit", "start", "exit", "start", "good-3"}
	if got := p.noted(); !slices.Equal(got, want) {
		t.Errorf("the children were at\n%v, want\n%v", got, want)
	}
	if p.log.Len() > 0 {
		t.Errorf("log: %s", &p.log)
	}
}

// TestProbeSpoilt: a model that spoils its child for the next does not get that one blamed, and is not trusted any more.
func TestProbeSpoilt(t *testing.T) {
	dir := t.TempDir()
	p := newProbing(t, dir)
	p.expect(p.check("good-1"))
	p.expect(p.check("spoil"))
	p.expect(p.check("good-2"))
	p.expect(p.check("good-3"))
	if !strings.Contains(p.log.String(), "spoil") {
		t.Errorf("the log does not name it: %s", &p.log)
	}
	p.close()
	again := newProbing(t, dir)
	for _, name := range []string{"good-2", "good-3", "good-1", "spoil"} {
		again.expect(again.check(name))
	}
	if got := again.noted(); !slices.Equal(got, []string{"start", "good-1", "spoil"}) {
		t.Errorf("tried again: %v", got)
	}
}

// TestProbeAtOnce: tries at the same time have children of their own, and do not disturb each other.
func TestProbeAtOnce(t *testing.T) {
	p := newProbing(t, t.TempDir())
	var work sync.WaitGroup
	for k := range 4 {
		work.Go(func() {
			for i := range 10 {
				p.expect(p.check(fmt.Sprintf("good-%d-%d", k, i)))
			}
			p.expect(p.check(fmt.Sprint("abort-", k)), fmt.Sprint("fire at abort-", k))
		})
	}
	work.Wait()
	if starts := count(p.noted(), "start"); starts > 12 {
		t.Errorf("%d children", starts)
	}
	raw, err := os.ReadFile(filepath.Join(p.dir, "data", "probed.json"))
	var list map[string]string
	if err == nil {
		err = json.Unmarshal(raw, &list)
	}
	if err != nil || len(list) != 40 {
		t.Errorf("%d remembered, want 40: %v", len(list), err)
	}
}

// TestProbeStop: a try whose context ends gives up, and no child is left.
func TestProbeStop(t *testing.T) {
	p := newProbing(t, t.TempDir())
	p.expect(p.check("good"))
	ctx, stop := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, stop)
	p.expect(p.checkIn(ctx, "hang"), "the server stopped")
	p.expect(p.check("good-2"))
	p.mu.Lock()
	free := slices.Clone(p.free)
	p.mu.Unlock()
	if len(free) != 1 {
		t.Fatalf("%d children are free, want 1", len(free))
	}
	p.close()
	select {
	case <-free[0].done:
	default:
		t.Error("a child is left")
	}
	p.expect(p.check("good-3")) // too late, but no harm
	if len(p.free) != 0 {
		t.Error("a child is kept after the end")
	}
}
