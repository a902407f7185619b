package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Jump moves the wall clock of the server and of its models' processes, and nobody else's: by d, forward or back, in whole seconds, as if
// somebody had set the time of its machine. The monotonic clock runs on, as it does then. A process that is started later has the true
// time: what is to outlive a kill begins with a jump away from the true time and jumps back to it. Elsewhere than on Linux on amd64 the
// test is skipped.
func (s *Server) Jump(d time.Duration) {
	s.t.Helper()
	jumpAll(s.t, "the server", s.Cmd.Process.Pid, d)
}

// Jump is Server.Jump for a component and the processes that it has forked: those that it forks later have its clock.
func (c *Component) Jump(d time.Duration) {
	c.t.Helper()
	jumpAll(c.t, c.name, c.cmd.Process.Pid, d)
}

func jumpAll(t testing.TB, name string, pid int, d time.Duration) {
	t.Helper()
	if !jumps {
		t.Skip("a process's clock is moved on Linux on amd64 only")
	}
	if err := jump(pid, d); err != nil {
		t.Fatalf("the clock of %s: %v", name, err)
	}
	for _, child := range forked(pid) {
		if err := follow(child, pid); err != nil {
			if _, gone := os.Stat(fmt.Sprintf("/proc/%d/exe", child)); gone == nil { // else it ended meanwhile
				t.Fatalf("the clock of %s, process %d: %v", name, child, err)
			}
		}
	}
}

// forked are a process's children.
func forked(pid int) (list []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		raw, _ := os.ReadFile(file) // the thread may be over
		for _, word := range strings.Fields(string(raw)) {
			if child, err := strconv.Atoi(word); err == nil {
				list = append(list, child)
			}
		}
	}
	return list
}
