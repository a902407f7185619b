package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"serval/bench/bed"
	"serval/bench/chat"
)

const (
	pieces = 10 // after each of which memory is read
	idle   = 2 * time.Second
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
	defer s.Stop()
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
	bed.Process
	address string
}

// serve starts the server, and waits until the model is ready. dir is for its files.
func serve(ctx context.Context, o *options, dir string) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{address: listener.Addr().String()}
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
	s.Process = bed.Process{Name: "serval", LogFile: filepath.Join(dir, "log"), Health: "http://" + s.address + "/v2/models/model/ready",
		Argv: []string{o.serval, "serve", "--config", config, "--models", filepath.Join(dir, "models"), "--listen", s.address,
			"--grpc", "127.0.0.1:0", "--data", filepath.Join(dir, "data")}}
	if _, err := s.Start(ctx, 20*time.Millisecond); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// resident is the memory of the process in KiB: all of it, and what no file stands behind.
func (s *server) resident() (all, anonymous int, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
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
