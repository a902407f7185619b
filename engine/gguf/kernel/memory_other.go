//go:build !linux

package kernel

import "unsafe"

// mapMemory takes from Go's heap where there are no huge pages to ask for.
func mapMemory(size int) (usable, whole []byte, err error) {
	whole = make([]byte, size+64)
	skip := -int(uintptr(unsafe.Pointer(&whole[0]))) & 63
	return whole[skip : skip+size : skip+size], whole, nil
}

func unmapMemory([]byte) error { return nil }

// touchMemory does nothing: Go's heap was cleared.
func touchMemory([]byte) {}
