package kernel

import (
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// touched fails if a page of data, which begins at one, is not in memory.
func touched(t *testing.T, data []uint16) {
	t.Helper()
	pages := make([]byte, (2*len(data)+os.Getpagesize()-1)/os.Getpagesize())
	if _, _, e := syscall.Syscall(syscall.SYS_MINCORE, uintptr(unsafe.Pointer(&data[0])), uintptr(2*len(data)), uintptr(unsafe.Pointer(&pages[0]))); e != 0 {
		t.Skip("the system does not say which pages are in memory: ", e)
	}
	for i, p := range pages {
		if p&1 == 0 {
			t.Fatalf("page %d of %d is not in memory", i, len(pages))
		}
	}
}
