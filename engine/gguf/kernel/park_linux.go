package kernel

import (
	"math"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// parking is a futex: its end costs one system call here and one there, while a channel would hand a P to and fro for a
// goroutine locked to its thread.
type parking struct{}

const (
	futexWait = 0 | 128 // private to the process
	futexWake = 1 | 128
)

func (*parking) init() {}

// wait sleeps while the word holds v; it may return early.
func (*parking) wait(word *atomic.Uint32, v uint32) {
	_, _, _ = syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait, uintptr(v), 0, 0, 0)
}

// wake ends all waits on the word. It never blocks, so Go's scheduler need not know.
func (*parking) wake(word *atomic.Uint32) {
	_, _, _ = syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWake, math.MaxInt32, 0, 0, 0)
}
