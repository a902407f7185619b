package main

import (
	"context"
	_ "embed"
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
)

const (
	readyTimeout = 90 * time.Second
	stopTimeout  = 15 * time.Second
	model        = "model" // by which clients ask for it
)

//go:embed openvino_front.py
var openvinoFront string

// server is a process that speaks OpenAI's chat on a loopback port. Whoever starts it stops it.
type server struct {
	contender
	address string
	argv    []string
	logFile string

	process *exec.Cmd
	exited  chan error
}

// describe says how a contender is run; nothing is started. dir is for its files.
func describe(o *options, c contender, dir string) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = listener.Close() }() // the port is free again for the server
	s := &server{contender: c, address: listener.Addr().String(), logFile: filepath.Join(dir, c.name+".log")}
	file := o.gguf
	switch {
	case c.file != "":
		file = filepath.Join(o.files, c.file)
	case c.beside != "":
		file = filepath.Join(filepath.Dir(o.gguf), c.beside)
	}
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("%s: %w (setup.sh makes it)", c.name, err)
	}
	threads, slots := strconv.Itoa(o.threads), o.work.slots
	if c.peer {
		_, port, _ := strings.Cut(s.address, ":")
		s.argv = []string{filepath.Join(o.build, "bin", "llama-server"), "--model", file, "--alias", model, "--host", "127.0.0.1", "--port", port,
			"--threads", threads, "--parallel", strconv.Itoa(slots), "--ctx-size", strconv.Itoa(slots * o.work.context), "--cont-batching", "--no-webui"}
		return s, nil
	}
	if c.openvino {
		_, port, _ := strings.Cut(s.address, ":")
		front := filepath.Join(dir, "openvino_front.py")
		if err := os.WriteFile(front, []byte(openvinoFront), 0o644); err != nil {
			return nil, err
		}
		s.argv = []string{o.python, front, file, port, threads, strconv.Itoa(slots), strconv.Itoa(o.work.context)}
		return s, nil
	}
	home := filepath.Join(dir, c.name)
	folder := filepath.Join(home, "models", model)
	if err := os.MkdirAll(filepath.Join(folder, "1"), 0o755); err != nil {
		return nil, err
	}
	if err := os.Symlink(file, filepath.Join(folder, "1", "model.gguf")); err != nil {
		return nil, err
	}
	settings := fmt.Sprintf("threads: %s\n%stext: {slots: %d, context: %d, speculate: %v}\n", threads, c.settings, slots, o.work.context, c.speculate)
	if err := os.WriteFile(filepath.Join(folder, "model.yaml"), []byte(settings), 0o644); err != nil {
		return nil, err
	}
	config := filepath.Join(home, "serval.yaml")
	if err := os.WriteFile(config, []byte("admin: 127.0.0.1:0\n"), 0o644); err != nil {
		return nil, err
	}
	s.argv = []string{o.serval, "serve", "--config", config, "--models", filepath.Join(home, "models"), "--listen", s.address,
		"--grpc", "127.0.0.1:0", "--data", filepath.Join(home, "data")}
	if c.native {
		s.argv = append(s.argv, "--library", "llama="+filepath.Join(o.build, "bin", "libllama.so"))
	}
	return s, nil
}

// start starts the process and waits until it answers.
func (s *server) start(ctx context.Context) error {
	log, err := os.Create(s.logFile)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own descriptor
	s.process = exec.Command(s.argv[0], s.argv[1:]...)
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	begin := time.Now()
	if err := s.process.Start(); err != nil {
		s.process = nil
		return err
	}
	s.exited = make(chan error, 1)
	go func(p *exec.Cmd, exited chan<- error) { exited <- p.Wait() }(s.process, s.exited) // stop waits for it
	for !s.ready(ctx) {
		select {
		case err := <-s.exited:
			s.process = nil
			return fmt.Errorf("%s ended before it was ready: %w\n%s", s.name, errors.Join(err), s.logTail())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Since(begin) > readyTimeout {
			return fmt.Errorf("%s was not ready after %v\n%s", s.name, readyTimeout, s.logTail())
		}
	}
	return nil
}

// ready asks for the health of a server, and of the model in it.
func (s *server) ready(ctx context.Context) bool {
	path := "/v2/models/" + model + "/ready"
	if s.peer || s.openvino {
		path = "/health"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+path, nil)
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

// stop ends the process and its children, and waits for it.
func (s *server) stop() {
	if s.process == nil {
		return
	}
	group := -s.process.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM) // it may have ended by itself
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		_ = syscall.Kill(group, syscall.SIGKILL)
		<-s.exited
	}
	s.process = nil
}

func (s *server) logTail() string {
	data, err := os.ReadFile(s.logFile)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-2000):])
}
