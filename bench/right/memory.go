package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"serval/bench/chat"
)

const (
	pieces = 10 // after each of which memory is read
	idle   = 2 * time.Second
	wait   = 90 * time.Second
)

// memory sends short requests to the real server and reads what memory it has after each tenth of them.
func memory(ctx context.Context, o *options) (string, error) {
	dir, err := os.MkdirTemp("", "serval-right-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is the system's folder for temporary files
	s, err := serve(ctx, o, dir)
	if err != nil {
		return "", err
	}
	defer s.stop()
	var b strings.Builder
	fmt.Fprintf(&b, "%d chats of 16 callers, prompts of 4 to 40 words, answers of 1 to 12 tokens, to `serval serve` with `engine: gguf`; MiB after a pause of %v.\n\n| requests | resident | of which anonymous | failed |\n| --- | --- | --- | --- |\n", o.requests, idle)
	row := func(done int, failed uint64) error {
		time.Sleep(idle)
		all, anonymous, err := s.resident()
		if err == nil {
			fmt.Fprintf(os.Stderr, "%d requests: %d MiB, %d MiB anonymous, %d failed\n", done, all>>10, anonymous>>10, failed)
			fmt.Fprintf(&b, "| %d | %d | %d | %d |\n", done, all>>10, anonymous>>10, failed)
		}
		return err
	}
	if err := row(0, 0); err != nil {
		return "", err
	}
	for i := range pieces {
		load := chat.Options{URL: "http://" + s.address, Model: "model", Concurrency: 16, Count: int64(o.requests / pieces),
			Workload: chat.Workload{Words: chat.Lengths{Least: 4, Most: 40}, Tokens: chat.Lengths{Least: 1, Most: 12}, Seed: uint64(i + 1)}}
		r, err := chat.Run(ctx, load)
		if err != nil {
			return "", err
		}
		if err := row((i+1)*o.requests/pieces, r.Failures); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// server is the process of serval under test.
type server struct {
	process *exec.Cmd
	address string
	exited  chan error
}

// serve starts the server, and waits until the model is ready. dir is for its files.
func serve(ctx context.Context, o *options, dir string) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{address: listener.Addr().String(), exited: make(chan error, 1)}
	_ = listener.Close() // the port is free again for the server
	folder := filepath.Join(dir, "models", "model")
	if err := os.MkdirAll(filepath.Join(folder, "1"), 0o755); err != nil {
		return nil, err
	}
	if err := os.Symlink(o.gguf, filepath.Join(folder, "1", "model.gguf")); err != nil {
		return nil, err
	}
	settings := fmt.Sprintf("engine: gguf\nthreads: %d\ntext: {slots: 16, context: 512}\n", o.threads)
	if err := os.WriteFile(filepath.Join(folder, "model.yaml"), []byte(settings), 0o644); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "serval.yaml")
	if err := os.WriteFile(config, []byte("admin: 127.0.0.1:0\n"), 0o644); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own descriptor
	s.process = exec.Command(o.serval, "serve", "--config", config, "--models", filepath.Join(dir, "models"), "--listen", s.address,
		"--grpc", "127.0.0.1:0", "--data", filepath.Join(dir, "data"))
	s.process.Stdout, s.process.Stderr = log, log
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	go func() { s.exited <- s.process.Wait() }() // stop waits for it
	for begin := time.Now(); !s.ready(ctx); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-s.exited:
			said, _ := os.ReadFile(log.Name()) // without it the error says less
			return nil, fmt.Errorf("serval ended before it was ready: %w\n%s", errors.Join(err), said)
		default:
		}
		if time.Since(begin) > wait || ctx.Err() != nil {
			s.stop()
			return nil, fmt.Errorf("serval was not ready after %v", time.Since(begin))
		}
	}
	return s, nil
}

func (s *server) ready(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/v2/models/model/ready", nil)
	if err != nil {
		return false
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = answer.Body.Close() // only the status matters
	return answer.StatusCode == http.StatusOK
}

// stop ends the process and waits for it.
func (s *server) stop() {
	_ = s.process.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-s.exited:
	case <-time.After(15 * time.Second):
		_ = s.process.Process.Kill()
		<-s.exited
	}
}

// resident is the memory of the process in KiB: all of it, and what no file stands behind.
func (s *server) resident() (all, anonymous int, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for _, line := range strings.Split(string(data), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch n, _ := strconv.Atoi(fields[1]); fields[0] { // the kernel writes numbers
		case "VmRSS:":
			all = n
		case "RssAnon:":
			anonymous = n
		}
	}
	return all, anonymous, nil
}
