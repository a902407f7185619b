package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"serval/bench/bed"
)

// server is a process that speaks the Open Inference Protocol on two loopback ports.
type server struct {
	key               string // for files
	rest, grpc, admin string // addresses; admin is "" where there is none
	bed.Process
}

func newServer(dir, key, name string) (*server, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	s := &server{key: key, rest: ports[0], grpc: ports[1]}
	s.Name, s.LogFile, s.Health = name, filepath.Join(dir, key+".log"), "http://"+s.rest+"/v2/health/ready"
	return s, nil
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
	s.Argv = []string{binary, "serve", "--config", config, "--models", models,
		"--listen", s.rest, "--grpc", s.grpc, "--data", filepath.Join(dir, key+"-data")}
	return s, nil
}

func stopAll(list []*server) {
	for _, s := range list {
		s.Stop()
	}
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
		if len(fields) <= residentField || fields[groupField] != strconv.Itoa(s.Pid()) {
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
