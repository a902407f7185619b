package testkit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Root is the repository's folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

var builds struct {
	sync.Mutex
	paths map[string]string
}

// Build compiles cmd/serval once a process and returns the program's path: with race, the race detector's build, else the
// one that users get (CGO_ENABLED=0).
func Build(t testing.TB, race bool) string {
	t.Helper()
	builds.Lock()
	defer builds.Unlock()
	name := "serval"
	if race {
		name = "serval-race"
	}
	if p := builds.paths[name]; p != "" {
		return p
	}
	// One place for each checkout: another's program would be another one.
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("serval-test-%d-%08x", os.Getuid(), crc32.ChecksumIEEE([]byte(Root()))))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, name)
	if err := build(out, race); err != nil {
		t.Fatal(err)
	}
	if builds.paths == nil {
		builds.paths = map[string]string{}
	}
	builds.paths[name] = out
	return out
}

// build puts the program at out. Other test processes may run what is there, or build it as well: they share it, since
// linking takes seconds. So it is built beside out, from a copy that the go command leaves as it is if nothing changed, and
// renamed.
func build(out string, race bool) error {
	fresh := fmt.Sprintf("%s.%d", out, os.Getpid())
	defer os.Remove(fresh)
	if old, err := os.ReadFile(out); err == nil {
		if err := os.WriteFile(fresh, old, 0o755); err != nil {
			return err
		}
	}
	args, env := []string{"build", "-tags", "disable_grpc_modules", "-o", fresh}, append(os.Environ(), "CGO_ENABLED=0")
	if race {
		args, env = append(args, "-race"), append(os.Environ(), "CGO_ENABLED=1")
	}
	cmd := exec.Command("go", append(args, "./cmd/serval")...)
	cmd.Dir, cmd.Env = Root(), env
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, said)
	}
	return os.Rename(fresh, out)
}

// Server is a running program.
type Server struct {
	HTTP, GRPC, Admin string // addresses
	Cmd               *exec.Cmd
	t                 testing.TB
	said              *log
	file              string // its log
	done              chan struct{}
	err               error
}

// Options say how to start one.
type Options struct {
	Race   bool
	Models string // folder
	Data   string // folder; "" = a new one
	Args   []string
	Env    []string
	Under  []string // a command that starts the program, such as prlimit with its flags
	Log    string   // the file that the configuration sends the log to, if it does
	Unset  bool     // do not wait until it is ready
}

// In the log's two formats.
var listening = regexp.MustCompile(`(?:msg=listening |"msg":"listening",)"?http"?[=:]"?([^\s",]+)"?[ ,]"?grpc"?[=:]"?([^\s",]*)"?[ ,]"?admin"?[=:]"?([^\s",}]*)`)

// Serve starts the program on free ports and waits until it is ready. It is stopped when the test ends, if it still runs.
func Serve(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Data == "" {
		o.Data = t.TempDir()
	}
	args := []string{"serve", "--models", o.Models, "--data", o.Data, "--listen", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"}
	s := &Server{t: t, file: o.Log, said: &log{line: make(chan struct{}, 1)}, done: make(chan struct{})}
	line := append(append(slices.Clone(o.Under), Build(t, o.Race)), append(args, o.Args...)...)
	s.Cmd = exec.Command(line[0], line[1:]...)
	s.Cmd.Env = append(os.Environ(), o.Env...)
	s.Cmd.Stderr, s.Cmd.Stdout = s.said, s.said
	s.Cmd.Dir = t.TempDir()
	if err := s.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.err = s.Cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(func() {
		select {
		case <-s.done:
		default:
			s.Kill()
		}
		said := s.Log()
		if at := strings.Index(said, "WARNING: DATA RACE"); at >= 0 {
			t.Errorf("data race in the server:\n%s", said[at:min(len(said), at+tail)])
		}
		if t.Failed() {
			t.Logf("the server said at last:\n%s", said[max(0, len(said)-tail):])
		}
	})
	s.Await("its addresses", func() bool {
		m := listening.FindStringSubmatch(s.Log())
		if m == nil {
			return false
		}
		s.HTTP, s.GRPC, s.Admin = m[1], m[2], m[3]
		return true
	})
	if !o.Unset {
		s.Await("readiness", s.Ready)
	}
	return s
}

// tail is how much of a log is shown when a test fails.
const tail = 16 << 10

// Await polls until ok; the server's end or two minutes without are fatal.
func (s *Server) Await(what string, ok func() bool) {
	s.t.Helper()
	limit := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-s.done:
			s.t.Fatalf("the server ended (%v) before it gave %s:\n%s", s.err, what, s.Log())
		case <-limit:
			s.t.Fatalf("no %s within two minutes:\n%s", what, s.Log())
		case <-s.said.line:
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Ready asks the server whether it is.
func (s *Server) Ready() bool {
	r, err := http.Get(s.URL("/v2/health/ready"))
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// URL is the address of a path on the HTTP port.
func (s *Server) URL(path string) string { return "http://" + s.HTTP + path }

// Log is what the server has said so far.
func (s *Server) Log() string {
	said := s.said.String()
	if s.file != "" {
		raw, _ := os.ReadFile(s.file) // not there yet: nothing was said
		said += string(raw)
	}
	return said
}

// Kill ends the server as a power cut would.
func (s *Server) Kill() {
	_ = s.Cmd.Process.Kill()
	<-s.done
}

// Term asks the server to drain; Wait tells how it ended.
func (s *Server) Term() {
	if err := s.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
}

// Wait returns the exit code once the server ended; it fails the test after the limit.
func (s *Server) Wait(limit time.Duration) int {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(limit):
		s.t.Fatalf("the server did not end within %v", limit)
	}
	var e *exec.ExitError
	if errors.As(s.err, &e) {
		return e.ExitCode()
	}
	return 0
}

// RSS is the server's resident memory in bytes.
func (s *Server) RSS() int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", s.Cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var kb int64
		if _, err := fmt.Sscanf(sc.Text(), "VmRSS: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	s.t.Fatal("no VmRSS")
	return 0
}

// Run runs a serval command to its end and returns what it wrote.
func Run(ctx context.Context, t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return RunIn(ctx, t, "", args...)
}

// RunIn is Run with something on the command's standard input.
func RunIn(ctx context.Context, t testing.TB, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(ctx, Build(t, false), args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var e *exec.ExitError
	switch {
	case errors.As(err, &e):
		code = e.ExitCode()
	case err != nil:
		t.Fatal(err)
	}
	return out.String(), errs.String(), code
}

// log keeps what a server says, and tells when there is more.
type log struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	line chan struct{}
}

const logLimit = 8 << 20 // an access log can grow for long; the start and the rest up to here are enough

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	if l.buf.Len() < logLimit {
		l.buf.Write(p)
	}
	l.mu.Unlock()
	select {
	case l.line <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
