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
)

const (
	readyTimeout = 90 * time.Second
	stopTimeout  = 15 * time.Second
)

// server is a process that speaks the Open Inference Protocol on two loopback ports.
type server struct {
	key, name         string // for files and for people
	argv              []string
	rest, grpc, admin string // addresses; admin is "" where there is none
	logFile           string

	process *exec.Cmd
	exited  chan error
}

func newServer(dir, key, name string) (*server, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	return &server{key: key, name: name, rest: ports[0], grpc: ports[1], logFile: filepath.Join(dir, key+".log")}, nil
}

// newServal describes a Serval in its default configuration, but for the addresses and the folders. key tells apart those
// of one comparison.
func newServal(dir, key, binary, models string) (*server, error) {
	s, err := newServer(dir, key, "serval")
	if err != nil {
		return nil, err
	}
	admin, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	s.admin = admin[0]
	config := filepath.Join(dir, key+".yaml")
	if err := os.WriteFile(config, []byte("admin: "+s.admin+"\n"), 0o644); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(models, 0o755); err != nil {
		return nil, err
	}
	s.argv = []string{binary, "serve", "--config", config, "--models", models,
		"--listen", s.rest, "--grpc", s.grpc, "--data", filepath.Join(dir, key+"-data")}
	return s, nil
}

// start starts the process and returns how long it took until it was ready.
func (s *server) start(ctx context.Context) (time.Duration, error) {
	log, err := os.Create(s.logFile)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }() // the process has its own descriptor
	s.process = exec.Command(s.argv[0], s.argv[1:]...)
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	begin := time.Now()
	if err := s.process.Start(); err != nil {
		s.process = nil
		return 0, err
	}
	s.exited = make(chan error, 1)
	go func(p *exec.Cmd, exited chan<- error) { exited <- p.Wait() }(s.process, s.exited) // stop waits for it
	for {
		if s.ready(ctx) {
			return time.Since(begin), nil
		}
		select {
		case err := <-s.exited:
			s.process = nil
			return 0, fmt.Errorf("%s ended before it was ready: %w\n%s", s.name, errors.Join(err), s.logTail())
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Millisecond):
		}
		if time.Since(begin) > readyTimeout {
			return 0, fmt.Errorf("%s was not ready after %v\n%s", s.name, readyTimeout, s.logTail())
		}
	}
}

func (s *server) ready(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.rest+"/v2/health/ready", nil)
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

func stopAll(list []*server) {
	for _, s := range list {
		s.stop()
	}
}

func (s *server) logTail() string {
	data, err := os.ReadFile(s.logFile)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-2000):])
}

// residentBytes is the memory of the process and of its children that is in RAM.
func (s *server) residentBytes() (int64, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var total int64
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // that process has ended
		}
		// pid (name) state ppid pgrp …; the name may hold anything, so fields count from its last parenthesis.
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		const groupField, residentField = 2, 21
		if len(fields) <= residentField || fields[groupField] != strconv.Itoa(s.process.Process.Pid) {
			continue
		}
		pages, err := strconv.ParseInt(fields[residentField], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		total += pages * int64(os.Getpagesize())
	}
	return total, nil
}

// freePorts returns loopback addresses that nobody listens on.
func freePorts(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // held until all are chosen, so that they differ
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
