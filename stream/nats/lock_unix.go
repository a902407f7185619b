//go:build unix

package nats

import (
	"errors"
	"os"
	"syscall"

	"serval"
)

// lock keeps a second process off the server's data; the system frees it when this one dies.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, serval.Errorf(serval.Unavailable, "nats: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, serval.Errorf(serval.Conflict, "nats: another process runs a server on this data (it holds %s); give each its own --data", path).At("embedded")
		}
		return nil, serval.Errorf(serval.Unavailable, "nats: %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}
