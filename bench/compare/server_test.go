package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The floor is a real server, so the whole course of a comparison is run on it.
func TestFloorIsStartedMeasuredAndStopped(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "floor")
	if out, err := exec.Command("go", "build", "-o", binary, "../floor").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s, err := newServer(dir, "floor", "floor")
	if err != nil {
		t.Fatal(err)
	}
	s.Argv = []string{binary, "--listen", s.rest, "--grpc", s.grpc}
	if _, err := s.Start(context.Background(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if n, err := s.residentBytes(); err != nil || n < 1e6 {
		t.Errorf("%d bytes resident, %v", n, err)
	}
	if got, err := ask(context.Background(), s, "mlp", []byte("{}")); err != nil || got != 0.5 {
		t.Errorf("%v, %v", got, err)
	}
	cells, err := measureAll(context.Background(), options{rounds: 1, time: 300 * time.Millisecond, work: &workloads()[0]}, []*server{s})
	if err != nil || len(cells) != 6 || cells[5].throughput(s)[0] == 0 {
		t.Errorf("%v, %v", cells, err)
	}
	s.Stop()
	if s.Ready(context.Background()) {
		t.Error("it still answers")
	}
}

func TestServerThatEndsIsReported(t *testing.T) {
	s, err := newServer(t.TempDir(), "x", "x")
	if err != nil {
		t.Fatal(err)
	}
	s.Argv = []string{"sh", "-c", "echo no such model; exit 3"}
	if _, err := s.Start(context.Background(), time.Millisecond); err == nil || !strings.Contains(err.Error(), "no such model") || !strings.Contains(err.Error(), "exit status 3") {
		t.Error(err)
	}
}
