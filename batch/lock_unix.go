//go:build unix

package batch

import (
	"os"
	"syscall"

	"serval"
)

// lock keeps a second run of a job off; the system frees it when the process dies.
func lock(path string) (unlock func(), err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, diskError(path, err)
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			_ = f.Close()
			return nil, serval.Errorf(serval.Conflict, "another run of this job is under way (it holds %s)", path).At("output")
		}
		mine, err := f.Stat()
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(mine, there) {
			return func() {
				_ = os.Remove(path) // while it is held: whoever waits for this file sees that it is gone
				_ = f.Close()
			}, nil
		}
		_ = f.Close()
	}
}
