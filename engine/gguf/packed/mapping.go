package packed

import (
	"errors"
	"runtime"
	"runtime/debug"
	"unsafe"
)

// ErrGone says that mapped data could not be read: its file was cut short, or its disk failed.
var ErrGone = errors.New("the file of packed weights cannot be read any more (was it changed while it was used?)")

// Mapping is a file's data in memory, shared and read-only.
type Mapping struct {
	data  []byte
	whole []byte // as reserved
	small bool   // see Store.All
}

// Data are the bytes, from a multiple of 2 MB on.
func (m *Mapping) Data() []byte { return m.data }

// Guard runs f, and makes an error of a fault that reading the data has caused.
func (m *Mapping) Guard(f func()) (err error) {
	defer m.Recover(debug.SetPanicOnFault(true), &err)
	f()
	return nil
}

// Recover is Guard for one who must not allocate: deferred with what debug.SetPanicOnFault(true) returned, it sets err if reading the data
// has faulted. Any other panic goes on.
func (m *Mapping) Recover(old bool, err *error) {
	debug.SetPanicOnFault(old)
	r := recover()
	if r == nil {
		return
	}
	fault, ok := r.(interface {
		runtime.Error
		Addr() uintptr
	})
	if from := uintptr(unsafe.Pointer(&m.data[0])); !ok || fault.Addr() < from || fault.Addr() >= from+uintptr(len(m.data)) {
		panic(r)
	}
	*err = ErrGone
}
