//go:build hurt

package hurt

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"serval/internal/testkit"
)

// A library that does something unkind when it is opened, in place of ONNX Runtime: any fault of an engine's C code.
const (
	aborts = `#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void start(void) { fputs("last words: the heap is on fire\n", stderr); abort(); }
void *OrtGetApiBase(void) { return 0; }`
	faults = `static int *volatile nowhere = (int *)16;
void *OrtGetApiBase(void) { *nowhere = 1; return 0; }`
	exits = `#include <unistd.h>
__attribute__((constructor)) static void start(void) { _exit(0); }
void *OrtGetApiBase(void) { return 0; }`
	sleeps = `#include <unistd.h>
__attribute__((constructor)) static void start(void) { sleep(60); }
void *OrtGetApiBase(void) { return 0; }`
	nothing = `void *OrtGetApiBase(void) { return 0; }`
)

// TestCrash: an engine's library that dies kills a probe child and not the server, which says what the child said.
func TestCrash(t *testing.T) {
	both(t, func(t *testing.T, b build) {
		for _, c := range []struct {
			name, source string
			words        []string
		}{
			{"abort", aborts, []string{"killed the probe child", "last words: the heap is on fire", "SIGABRT"}},
			{"fault", faults, []string{"killed the probe child", "SIGSEGV"}},
			{"exit", exits, []string{"probe child", "without a verdict"}}, // though 0 is the code of a success
			{"nothing", nothing, []string{"is not ONNX Runtime"}},
		} {
			t.Run(c.name, func(t *testing.T) { crash(t, b, c.source, c.words) })
		}
		t.Run("killed", func(t *testing.T) { crashKilled(t, b) })
	})
}

// library compiles a shared library.
func library(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	file, out := filepath.Join(dir, "lib.c"), filepath.Join(dir, "libonnxruntime.so.1.99.0")
	write(t, file, []byte(source))
	if said, err := exec.Command("gcc", "-shared", "-fPIC", "-o", out, file).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, said)
	}
	return out
}

func crash(t *testing.T, b build, source string, words []string) {
	models := t.TempDir()
	good := fake(t, models, "good", "1ms", "")
	mlp(t, models, "bad", "")
	s := start(t, b, setup{models: models, unset: true, args: []string{"--library", "onnxruntime=" + library(t, source)}})
	c := client(t, 60*time.Second)
	eventually(t, 30*time.Second, "the model is given up", func() bool { return stateOf(t, s, "bad").State == "UNAVAILABLE" })
	for range 3 { // and again when somebody asks for it
		if err := contains([]byte(stateOf(t, s, "bad").Reason), words...); err != nil {
			t.Errorf("the model's reason: %v", err)
		}
		a, err := control(c, s, "bad", "load")
		if err != nil || a.status != 400 {
			t.Errorf("load: %v %v", a, err)
		} else if err := contains(a.body, words[0]); err != nil {
			t.Errorf("load: %v", err)
		}
	}
	if a, err := post(c, s.URL("/v2/models/bad/infer"), "{}"); err != nil || a.status < 400 {
		t.Errorf("infer: %v %v", a, err)
	}
	if a, err := post(c, s.URL(good.path()), good.json()); err != nil || a.status != 200 {
		t.Errorf("the other model: %v %v", a, err)
	}
	if a, err := get(c, s.URL("/v2/health/ready")); err != nil || a.status == 200 {
		t.Errorf("ready with a model that cannot be loaded: %v %v", a, err)
	}
	s.Term()
	ends(t, s, 10*time.Second, 0)
}

func stateOf(t testing.TB, s *testkit.Server, name string) entry {
	t.Helper()
	for _, e := range index(t, s) {
		if e.Name == name {
			return e
		}
	}
	return entry{} // not known yet
}

// crashKilled kills the child itself, as the kernel does where memory is short.
func crashKilled(t *testing.T, b build) {
	models := t.TempDir()
	mlp(t, models, "bad", "")
	s := start(t, b, setup{models: models, unset: true, args: []string{"--library", "onnxruntime=" + library(t, sleeps)}})
	var child int
	if !eventually(t, 20*time.Second, "a probe child runs", func() bool {
		list := children(s.Cmd.Process.Pid)
		if len(list) > 0 {
			child = list[0]
		}
		return child != 0
	}) {
		return
	}
	time.Sleep(200 * time.Millisecond)
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the model is given up", func() bool { return stateOf(t, s, "bad").State == "UNAVAILABLE" })
	if err := contains([]byte(stateOf(t, s, "bad").Reason), "killed"); err != nil {
		t.Error(err)
	}
	// A server that stops does not wait for a child that hangs.
	var load sync.WaitGroup
	load.Go(func() { _, _ = control(client(t, 30*time.Second), s, "bad", "load") })
	eventually(t, 10*time.Second, "another child runs", func() bool { return len(children(s.Cmd.Process.Pid)) > 0 })
	s.Term()
	ends(t, s, 20*time.Second, 0)
	load.Wait()
}

// children are the pids of a process's children.
func children(pid int) []int {
	var list []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var state string
		var parent int
		if _, err := fmt.Sscan(string(raw[bytes.LastIndexByte(raw, ')')+1:]), &state, &parent); err != nil || parent != pid || state == "Z" {
			continue
		}
		if n, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil {
			list = append(list, n)
		}
	}
	return list
}
