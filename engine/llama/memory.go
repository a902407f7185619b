package llama

import (
	"runtime"
	"strconv"

	"github.com/ebitengine/purego"
)

// giveBack returns freed memory of the C library to the system.
func (l *library) giveBack() {
	if runtime.GOOS != "linux" {
		return
	}
	handle, err := purego.Dlopen("libc.so.6", purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return // not glibc
	}
	if trim, err := purego.Dlsym(handle, "malloc_trim"); err == nil {
		purego.SyscallN(trim, 0)
	}
}

func sizeText(n int64) string {
	switch {
	case n >= 10<<30:
		return strconv.FormatInt(n>>30, 10) + " GiB"
	case n >= 1<<30:
		return strconv.FormatFloat(float64(n)/(1<<30), 'f', 1, 64) + " GiB"
	}
	return strconv.FormatInt((n+1<<20-1)>>20, 10) + " MiB"
}
