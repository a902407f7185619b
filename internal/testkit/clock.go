package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Jump moves the server's wall clock, and nobody else's: by d, forward or back, in whole seconds, as if somebody had set the time of its
// machine. Its monotonic clock runs on, as it does then. A server that is started anew has the true time again: what is to outlive a
// kill begins with a jump away from the true time and jumps back to it. Elsewhere than on Linux on amd64 the test is skipped.
func (s *Server) Jump(d time.Duration) {
	s.t.Helper()
	if !jumps {
		s.t.Skip("a process's clock is moved on Linux on amd64 only")
	}
	if err := jump(s.Cmd.Process.Pid, d); err != nil {
		s.t.Fatalf("the clock of the server: %v", err)
	}
}

// Jump is Server.Jump for a component and the processes that it has forked: those that it forks later have its clock.
func (c *Component) Jump(d time.Duration) {
	c.t.Helper()
	if !jumps {
		c.t.Skip("a process's clock is moved on Linux on amd64 only")
	}
	pid := c.cmd.Process.Pid
	if err := jump(pid, d); err != nil {
		c.t.Fatalf("the clock of %s: %v", c.name, err)
	}
	for _, child := range forked(pid) {
		// One that ended meanwhile, or was forked after its parent's jump, needs none.
		if err := follow(child, pid); err != nil {
			if _, gone := os.Stat(fmt.Sprintf("/proc/%d/mem", child)); gone == nil {
				c.t.Fatalf("the clock of %s, process %d: %v", c.name, child, err)
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
