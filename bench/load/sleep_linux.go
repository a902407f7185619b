package load

import (
	"syscall"
	"time"
)

// sleep sleeps in the kernel: the Go scheduler's idle wait rounds up to a millisecond, which would be added to every
// latency of an open loop.
func sleep(d time.Duration) {
	ts := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&ts, nil) // a signal ends it early; the caller looks at the clock again
}
