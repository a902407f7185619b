package testkit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Component is a real server of somebody else's that a test talks to. It ends with the test, and with the test's process.
type Component struct {
	t    testing.TB
	name string
	line func() *exec.Cmd // a fresh command for each start
	up   func() error     // nil once it answers
	stop os.Signal        // that it ends by, orderly
	said *log
	cmd  *exec.Cmd
	done chan struct{}
}

// Start starts it, again after Kill or Stop, and waits until it answers.
func (c *Component) Start() {
	c.t.Helper()
	c.said = &log{line: make(chan struct{}, 1)}
	c.cmd, c.done = c.line(), make(chan struct{})
	c.cmd.Stdout, c.cmd.Stderr = c.said, c.said
	if c.cmd.SysProcAttr == nil {
		c.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	endWithParent(c.cmd.SysProcAttr)
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the child ends with the thread that made it
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			_ = c.cmd.Wait()
		}
		close(c.done)
	}()
	if err := <-started; err != nil {
		c.t.Fatalf("%s: %v", c.name, err)
	}
	limit := time.After(time.Minute)
	for {
		err := c.up()
		if err == nil {
			return
		}
		select {
		case <-c.done:
			c.t.Fatalf("%s ended before it answered:\n%s", c.name, c.said)
		case <-limit:
			c.Kill()
			c.t.Fatalf("%s does not answer within a minute (%v):\n%s", c.name, err, c.said)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Kill ends it as a power cut would.
func (c *Component) Kill() { c.end(syscall.SIGKILL) }

// Stop ends it orderly.
func (c *Component) Stop() { c.end(c.stop) }

func (c *Component) end(with os.Signal) {
	_ = c.cmd.Process.Signal(with) // it may have ended already
	select {
	case <-c.done:
	case <-time.After(30 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// Said is what it wrote since its last start.
func (c *Component) Said() string { return c.said.String() }

// keep starts it and sees to its end.
func (c *Component) keep() {
	c.t.Helper()
	c.Start()
	c.t.Cleanup(func() {
		c.Kill()
		if c.t.Failed() {
			said := c.Said()
			c.t.Logf("%s said at last:\n%s", c.name, said[max(0, len(said)-tail):])
		}
	})
}

// Cache is a path below the folder that test/setup.sh fills. What is not there fails the test.
func Cache(t testing.TB, path ...string) string {
	t.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(append([]string{base, "serval-test"}, path...)...)
	if _, err := os.Stat(at); errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s is missing; test/setup.sh installs it", at)
	}
	return at
}
