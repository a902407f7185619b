//go:build linux || darwin

package gguf

import "syscall"

// freeSpace is how many bytes this user may still write to the disk that holds dir.
func freeSpace(dir string) (int64, bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}
