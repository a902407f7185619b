package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"serval/internal/testkit"
)

// hosts are the pids of a server's children that host a model, by the model's name.
func hosts(t *testing.T, server int) map[string]int {
	t.Helper()
	out := map[string]int{}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		raw, err := os.ReadFile(file)
		args := strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00")
		if err != nil || len(args) < 3 || args[1] != "engine-host" {
			continue
		}
		var pid, parent int
		if _, err := fmt.Sscanf(file, "/proc/%d/cmdline", &pid); err != nil {
			continue
		}
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if _, after, ok := strings.Cut(string(status), "PPid:"); ok {
			_, _ = fmt.Sscan(after, &parent)
		}
		if parent == server {
			name, _, _ := strings.Cut(args[len(args)-1], ":")
			out[name] = pid
		}
	}
	return out
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// await waits for what must come.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// faulty is a model that answers with its input, and does what it is told to.
func faulty(t *testing.T, root, name, settings, more string) {
	t.Helper()
	const tensor = `[{"name":"x","datatype":"FP32","shape":[-1,4],"symbols":["n",""]}]`
	write(t, filepath.Join(root, name, "1", "model.fake"), `{"inputs":`+tensor+`,"outputs":`+tensor+more+`}`)
	write(t, filepath.Join(root, name, "model.yaml"), "isolation: process\n"+settings)
}

// TestIsolated serves models of three kinds in processes of their own: they answer as they must, take part in all that a
// server does with models, and their processes end with them.
func TestIsolated(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	fleet, err := testkit.Fleet(root, 6)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range fleet {
		write(t, filepath.Join(root, m.Name, "model.yaml"), "isolation: process\n")
	}
	faulty(t, root, "slow", "batching: {mode: off}\ninstances: 1\n", `,"delay":"300ms"`)
	faulty(t, root, "warm", "warmup: [{name: w, inputs: {x: {shape: [1, 4], data: random}}}]\n", "")
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root})
	answersRight(t, s, fleet)
	all := hosts(t, s.Cmd.Process.Pid)
	if len(all) != len(fleet)+2 {
		t.Fatalf("%d processes for %d models", len(all), len(fleet)+2)
	}
	out, errs, code := testkit.Run(t.Context(), t, "model", "stats", fleet[0].Name, "--server", s.HTTP)
	if code != 0 || !strings.Contains(out, fmt.Sprintf("pid %d", all[fleet[0].Name])) || !strings.Contains(out, "success") {
		t.Errorf("model stats: %s%s", out, errs)
	}
	ask(t, "GET", "http://"+s.Admin+"/metrics", "").want(t, 200, `serval_model_process_restarts_total{model="slow",version="1"} 0`, `serval_model_process_memory_bytes{model="slow",version="1"}`)

	// Unload waits for the call inside and ends the process.
	var calls sync.WaitGroup
	calls.Go(func() { ask(t, "POST", s.URL("/v2/models/slow/infer"), row).want(t, 200, "[1.0,2.0,3.0,4.0]") })
	await(t, "the call is inside", func() bool {
		return strings.Contains(ask(t, "GET", "http://"+s.Admin+"/metrics", "").body, "serval_requests_in_flight 1")
	})
	ask(t, "POST", s.URL("/v2/repository/models/slow/unload"), "{}").want(t, 200)
	calls.Wait()
	if pid := all["slow"]; alive(pid) {
		t.Errorf("the process %d is there after the model was unloaded", pid)
	}
	ask(t, "POST", s.URL("/v2/repository/models/slow/load"), "{}").want(t, 200)

	// A stopping server answers what is inside, and leaves nothing behind.
	all = hosts(t, s.Cmd.Process.Pid)
	calls.Go(func() { ask(t, "POST", s.URL("/v2/models/slow/infer"), row).want(t, 200, "[1.0,2.0,3.0,4.0]") })
	await(t, "the call is inside", func() bool {
		return strings.Contains(ask(t, "GET", "http://"+s.Admin+"/metrics", "").body, "serval_requests_in_flight 1")
	})
	for _, pid := range all { // as systemd does
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	s.Term()
	calls.Wait()
	if code := s.Wait(limit); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for name, pid := range all {
		if alive(pid) {
			t.Errorf("the process of %s is there after its server", name)
		}
	}
}

// TestIsolatedSequences has the tests of stateful models pass with each in a process of its own.
func TestIsolatedSequences(t *testing.T) {
	t.Parallel()
	dir := sequenceModels(t)
	settings := "models:\n"
	folders, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		settings += "  " + f.Name() + ": {isolation: process}\n"
	}
	file := filepath.Join(t.TempDir(), "serval.yaml")
	write(t, file, settings)
	s := testkit.Serve(t, testkit.Options{Race: true, Models: dir, Args: []string{"--config", file}})
	if n := len(hosts(t, s.Cmd.Process.Pid)); n != len(folders) {
		t.Fatalf("%d processes for %d models", n, len(folders))
	}
	pytestOn(t, s, dir, "triton", "test_sequence.py", "test_vad.py")
}

// TestOrphans: the processes of a server that is killed end at once, though they compute.
func TestOrphans(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	faulty(t, root, "busy", "", `,"faults":[{"do":"hang","at":"call","value":1}]`)
	faulty(t, root, "idle", "", "")
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root})
	go func() { // never answered
		if r, err := http.Post(s.URL("/v2/models/busy/infer"), "application/json", strings.NewReader(row)); err == nil {
			_ = r.Body.Close()
		}
	}()
	await(t, "the call is inside", func() bool {
		return strings.Contains(ask(t, "GET", "http://"+s.Admin+"/metrics", "").body, "serval_requests_in_flight 1")
	})
	all := hosts(t, s.Cmd.Process.Pid)
	s.Kill()
	for name, pid := range all {
		await(t, name+" ends", func() bool { return !alive(pid) })
	}
	if len(all) != 2 {
		t.Errorf("%d processes", len(all))
	}
}

// TestCrashLoop: a model whose process keeps dying is given up and says why, wherever it is looked for; the other models
// serve on, and once it is mended it can be loaded.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	faulty(t, root, "bad", "", `,"faults":[{"do":"crash","at":"call","value":1}]`)
	faulty(t, root, "good", "", "")
	faulty(t, root, "never", "", `,"faults":[{"do":"crash","at":"open"}]`)
	write(t, filepath.Join(root, "limited", "model.yaml"), "memory: 1GiB\n")
	copyFile(t, filepath.Join(root, "good", "1", "model.fake"), filepath.Join(root, "limited", "1", "model.fake"))
	faulty(t, root, "sized", "memory: lots\n", "")
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root, Unset: true})
	await(t, "all are loaded or not", func() bool {
		all := index(t, s) // once: a model may come in between two looks
		for _, m := range all {
			if m.State == "LOADING" {
				return false
			}
		}
		return len(all) == 5
	})
	for name, words := range map[string][]string{
		"never 1":   {"loading it ended its process (exit status 2)", "last words: the model crashes", "panic: a fault of the model"},
		"limited 1": {"memory: it limits the process of an isolated model", "add isolation: process"},
		"sized":     {"memory", "lots", "must be a size such as 64MiB"},
	} {
		m := index(t, s)[name]
		if m.State != "UNAVAILABLE" {
			t.Errorf("%s: %+v", name, m)
		}
		for _, w := range words {
			if !strings.Contains(m.Reason, w) {
				t.Errorf("%s: no %q in %q", name, w, m.Reason)
			}
		}
	}
	infer := s.URL("/v2/models/bad/infer")
	for range 2 { // two deaths each
		a := ask(t, "POST", infer, row)
		a.wantError(t, 503, "model 'bad' version 1: its process died twice while it worked on this request (exit status 2)")
		if a.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		ask(t, "POST", s.URL("/v2/models/good/infer"), row).want(t, 200)
	}
	reason := []string{"its process died 5 times", "the model crashes, as it was told to", "panic: a fault of the model"}
	ask(t, "POST", infer, row).wantError(t, 503, reason...) // the fifth
	await(t, "the index says so", func() bool { return index(t, s)["bad 1"].State == "UNAVAILABLE" })
	ask(t, "POST", s.URL("/v2/repository/index"), "").want(t, 200, reason...)
	ask(t, "POST", infer, row).wantError(t, 503, append(reason, "is not ready")...)
	out, _, _ := testkit.Run(t.Context(), t, "model", "list", "--server", s.HTTP)
	if !strings.Contains(out, "its process died 5 times") {
		t.Errorf("model list: %s", out)
	}
	if _, ok := hosts(t, s.Cmd.Process.Pid)["bad"]; ok {
		t.Error("it still has a process")
	}
	faulty(t, root, "bad", "", "")
	ask(t, "POST", s.URL("/v2/repository/models/bad/load"), "{}").want(t, 200)
	ask(t, "POST", infer, row).want(t, 200, "[1.0,2.0,3.0,4.0]")
	ask(t, "POST", s.URL("/v2/models/good/infer"), row).want(t, 200)
}
