package kernel

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const hugePage = 2 << 20

// mapMemory maps size bytes that start at a multiple of 2 MB, so that they can be huge pages.
// whole is what unmapMemory takes.
func mapMemory(size int) (usable, whole []byte, err error) {
	whole, err = syscall.Mmap(-1, 0, size+hugePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("kernel: the system gives no %d MB: %w", size>>20, err)
	}
	skip := -int(uintptr(unsafe.Pointer(&whole[0]))) & (hugePage - 1)
	usable = whole[skip : skip+size : skip+size]
	_ = syscall.Madvise(usable, syscall.MADV_HUGEPAGE) // a system without huge pages is slower, no more
	return usable, whole, nil
}

func unmapMemory(whole []byte) error { return syscall.Munmap(whole) }

// populateWrite is MADV_POPULATE_WRITE, of Linux 5.14.
const populateWrite = 23

// touchMemory has the system give pages that were not used yet, zero, and leaves the others as they are. data begins at a page.
func touchMemory(data []byte) {
	if syscall.Madvise(data, populateWrite) == nil {
		return
	}
	for i := 0; i < len(data); i += os.Getpagesize() {
		atomic.AddInt32((*int32)(unsafe.Pointer(&data[i])), 0)
	}
}
