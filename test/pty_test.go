package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"serval/internal/testkit"
)

// terminal is a real terminal with a program on it.
type terminal struct {
	t     *testing.T
	cmd   *exec.Cmd
	user  *os.File // the side of the person
	own   *os.File // the program's side
	done  chan struct{}
	mu    sync.Mutex
	shown bytes.Buffer
	at    int // what await has seen
}

// onTerminal starts the race detector's build on a new terminal.
func onTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	x := &terminal{t: t, done: make(chan struct{})}
	x.user, x.own = openTerminal(t)
	x.cmd = exec.Command(testkit.Build(t, true), args...)
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = x.own, x.own, x.own
	x.cmd.Env = append(os.Environ(), "TERM=xterm")
	x.cmd.Dir = t.TempDir()
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := x.user.Read(buf)
			x.mu.Lock()
			x.shown.Write(buf[:n])
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	go func() {
		_ = x.cmd.Wait() // exit has its result
		close(x.done)
	}()
	t.Cleanup(func() {
		_ = x.cmd.Process.Kill()
		<-x.done
		_ = x.own.Close()
		_ = x.user.Close()
		if t.Failed() {
			t.Logf("the terminal showed\n%q", x.screen())
		}
		if strings.Contains(x.screen(), "DATA RACE") {
			t.Errorf("a data race:\n%s", x.screen())
		}
	})
	return x
}

// openTerminal makes a pseudo-terminal of 100 columns.
func openTerminal(t *testing.T) (user, own *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	control := func(what uintptr, at unsafe.Pointer) {
		raw, err := user.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var failed syscall.Errno
		if err := raw.Control(func(fd uintptr) { _, _, failed = syscall.Syscall(syscall.SYS_IOCTL, fd, what, uintptr(at)) }); err != nil || failed != 0 {
			t.Fatal(err, failed)
		}
	}
	var unlocked, number int32
	control(syscall.TIOCSPTLCK, unsafe.Pointer(&unlocked))
	control(syscall.TIOCGPTN, unsafe.Pointer(&number))
	size := [4]uint16{40, 100}
	control(syscall.TIOCSWINSZ, unsafe.Pointer(&size))
	own, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return user, own
}

func (x *terminal) screen() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.shown.String()
}

// keys types.
func (x *terminal) keys(keys string) {
	x.t.Helper()
	if _, err := x.user.WriteString(keys); err != nil {
		x.t.Fatal(err)
	}
}

// await waits until the words were shown, in this order, after what was awaited before, and returns what was shown up to there.
func (x *terminal) await(words ...string) string {
	x.t.Helper()
	begin, end := x.at, time.Now().Add(limit)
	for _, w := range words {
		for {
			all := x.screen()
			if i := strings.Index(all[x.at:], w); i >= 0 {
				x.at += i + len(w)
				break
			}
			if time.Now().After(end) {
				x.t.Fatalf("no %q is shown behind\n%q\nbut\n%q", w, all[:x.at], all[x.at:])
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return x.screen()[begin:x.at]
}

// exit waits for the program's end and returns its code.
func (x *terminal) exit() int {
	x.t.Helper()
	select {
	case <-x.done:
	case <-time.After(limit):
		x.t.Fatalf("it does not end; shown was\n%q", x.screen())
	}
	return x.cmd.ProcessState.ExitCode()
}

// echoes says whether the terminal shows what is typed, as it does before and after a program that edits lines itself.
func (x *terminal) echoes() bool {
	x.t.Helper()
	var state syscall.Termios
	raw, err := x.own.SyscallConn()
	if err != nil {
		x.t.Fatal(err)
	}
	var failed syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, failed = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TCGETS, uintptr(unsafe.Pointer(&state)))
	})
	if err != nil || failed != 0 {
		x.t.Fatal(err, failed)
	}
	return state.Lflag&syscall.ECHO != 0
}
