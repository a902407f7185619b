package onnx

import (
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// libc is what this package wants of the C library, which ONNX Runtime takes its memory from. Functions that the platform
// lacks are 0 and do nothing.
type libc struct {
	trim uintptr // malloc_trim
	info uintptr // mallinfo2
}

func openLibc() libc {
	var c libc
	if runtime.GOOS != "linux" {
		return c
	}
	handle, err := purego.Dlopen("libc.so.6", purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return c // not glibc: there is nothing to trim
	}
	c.trim, _ = purego.Dlsym(handle, "malloc_trim")
	if runtime.GOARCH == "amd64" { // elsewhere a struct is not returned by a first argument
		c.info, _ = purego.Dlsym(handle, "mallinfo2")
	}
	return c
}

// giveBack returns the memory that was freed to the system; without it, it stays with the process for ever.
func (c libc) giveBack() {
	if c.trim != 0 {
		purego.SyscallN(c.trim, 0)
	}
}

// enoughFreed is how many bytes are worth a walk over all memory that C code has: that takes longer the more models there
// are.
const enoughFreed = 8 << 20

// freed returns memory to the system once enough of it was freed since that was done last.
func (l *library) freed(bytes int64) {
	if l.owed.Add(bytes) >= enoughFreed {
		l.owed.Store(0)
		l.libc.giveBack()
	}
}

// inUse is what C code has allocated and not freed; it reports false where that cannot be told.
func (c libc) inUse() (int64, bool) {
	if c.info == 0 {
		return 0, false
	}
	out := new([10]uint64) // struct mallinfo2
	purego.SyscallN(c.info, uintptr(unsafe.Pointer(out)))
	const mapped, used = 4, 7 // hblkhd, uordblks
	return int64(out[mapped] + out[used]), true
}
