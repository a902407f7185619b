//go:build unix

package child

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
)

// pair makes two connected sockets, which have no name that others could reach: ours, and the one that a child is given.
func pair() (net.Conn, *os.File, error) {
	syscall.ForkLock.RLock() // no child that is started meanwhile keeps them
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "child"), os.NewFile(uintptr(fds[1]), "parent")
	conn, err := net.FileConn(ours) // has a descriptor of its own
	if err = errors.Join(err, ours.Close()); err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// apart keeps a terminal's signals from a child: it is its server that drains. It leads a group, so that what it starts is
// killed with it.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killAll ends a child and what it started.
func killAll(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	_ = cmd.Process.Kill()
}

// describe says how a process ended.
func describe(state *os.ProcessState) string {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		switch s := status.Signal(); s {
		case syscall.SIGKILL:
			return "killed by SIGKILL, as the kernel does when memory runs out"
		case syscall.SIGSEGV:
			return "killed by SIGSEGV"
		case syscall.SIGABRT:
			return "killed by SIGABRT"
		case syscall.SIGBUS:
			return "killed by SIGBUS"
		default:
			return "killed by " + s.String()
		}
	}
	return state.String()
}
