package gguf

import "syscall"

// advise asks for huge pages; a system without them is slower, no more.
func advise(raw []byte) { _ = syscall.Madvise(raw, syscall.MADV_HUGEPAGE) }
