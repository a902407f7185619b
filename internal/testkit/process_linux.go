package testkit

import "syscall"

// endWithParent has the kernel kill the child when the thread that started it ends, so that a test that is killed leaves none.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
