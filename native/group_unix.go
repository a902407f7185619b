//go:build unix

package native

import (
	"os/exec"
	"syscall"
)

// ownGroup starts cmd as the leader of a process group, and kills the whole group when its context ends: a client may be a
// script that starts the real one.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
