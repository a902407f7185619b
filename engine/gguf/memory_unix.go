//go:build unix

package gguf

import (
	"fmt"
	"syscall"
	"unsafe"
)

// halves is memory for n 16-bit floats, zero and apart from Go's heap, whose garbage collector would else wait until the heap had
// grown by as much again. free gives it back; a page costs nothing before it is used.
func halves(n int) (data []uint16, free func(), err error) {
	raw, err := syscall.Mmap(-1, 0, 2*n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("gguf: the system gives no %s for the key-value cache: %w", sizeText(2*int64(n)), err)
	}
	advise(raw)
	return unsafe.Slice((*uint16)(unsafe.Pointer(&raw[0])), n), func() { _ = syscall.Munmap(raw) }, nil
}
