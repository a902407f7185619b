package onnx

import "github.com/ebitengine/purego"

// caller calls the library from one goroutine at a time without allocating: it takes the place of library's own call and
// release on the hot path. Every address it is given must be of the heap and be kept alive by whoever calls: fields
// of an instance and, since calls come through an interface, the data of calls are.
type caller struct {
	*library
	args [9]uintptr // SyscallN makes a slice of its arguments escape, so one that lives long is passed
}

func (c *caller) call(f function, args ...uintptr) error {
	n := copy(c.args[:], args)
	status, _, _ := purego.SyscallN(c.table[f], c.args[:n]...)
	if status == 0 {
		return nil
	}
	return c.takeStatus(status)
}

func (c *caller) release(f function, object uintptr) {
	if object != 0 {
		c.args[0] = object
		purego.SyscallN(c.table[f], c.args[:1]...)
	}
}
