package onnx

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/ebitengine/purego"

	"serval"
)

// library is ONNX Runtime, opened once for the life of the process: it keeps threads and callbacks of its own, so it is
// never closed. Its methods are safe for concurrent use.
//
// The rule for pointers given to C: they point into Go's heap, which does not move, and the object is kept alive until C
// has let go of it. A pointer made in the argument list of call is moved to the heap by uintptrescapes and lives that long.
type library struct {
	path      string
	version   string
	table     [tableLen]uintptr
	env       uintptr // OrtEnv; ONNX Runtime keeps one per process
	allocator uintptr // the default allocator
	cpu       uintptr // OrtMemoryInfo of plain memory
	libc      libc
	owed      atomic.Int64 // bytes freed that were not given back yet
}

// openLibrary opens the shared library at path and makes the process's environment.
func openLibrary(path string) (*library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, serval.Errorf(serval.Unavailable, "ONNX Runtime at %s cannot be opened: %w; it needs glibc and libstdc++ (serval doctor says what is missing)", path, err)
	}
	get, err := purego.Dlsym(handle, "OrtGetApiBase")
	if err != nil {
		return nil, serval.Errorf(serval.Unavailable, "%s is not ONNX Runtime: it has no OrtGetApiBase", path)
	}
	base, _, _ := purego.SyscallN(get)
	if base == 0 {
		return nil, serval.Errorf(serval.Unavailable, "%s is not ONNX Runtime: its OrtGetApiBase gives nothing", path)
	}
	functions := unsafe.Slice((*uintptr)(pointer(base)), 2) // OrtApiBase: GetApi, GetVersionString
	version, _, _ := purego.SyscallN(functions[1])
	l := &library{path: path, version: goString(version), libc: openLibc()}
	api, _, _ := purego.SyscallN(functions[0], apiVersion)
	if api == 0 || !newEnough(l.version) {
		return nil, serval.Errorf(serval.Unavailable, "ONNX Runtime at %s is version %s; %s or later is needed", path, l.version, oldest)
	}
	copy(l.table[:], unsafe.Slice((*uintptr)(pointer(api)), tableLen))
	const silent = 4 // ORT_LOGGING_LEVEL_FATAL: whatever a caller can cause comes back as a status, never on stderr
	name := cString("serval")
	if err := l.call(fnCreateEnv, silent, address(name), uintptr(unsafe.Pointer(&l.env))); err != nil {
		return nil, fmt.Errorf("onnxruntime %s: CreateEnv: %w", l.version, err)
	}
	runtime.KeepAlive(name)
	if err := l.call(fnDisableTelemetryEvents, l.env); err != nil {
		return nil, fmt.Errorf("onnxruntime %s: DisableTelemetryEvents: %w", l.version, err)
	}
	if err := l.call(fnGetAllocatorWithDefaultOptions, uintptr(unsafe.Pointer(&l.allocator))); err != nil {
		return nil, fmt.Errorf("onnxruntime %s: GetAllocatorWithDefaultOptions: %w", l.version, err)
	}
	const arenaAllocator, defaultMemory = 1, 0
	if err := l.call(fnCreateCpuMemoryInfo, arenaAllocator, defaultMemory, uintptr(unsafe.Pointer(&l.cpu))); err != nil {
		return nil, fmt.Errorf("onnxruntime %s: CreateCpuMemoryInfo: %w", l.version, err)
	}
	return l, nil
}

// newEnough compares "1.32.0" with oldest.
func newEnough(version string) bool {
	want := strings.Split(oldest, ".")
	for i, part := range strings.SplitN(version, ".", 3) {
		if i == len(want) {
			break
		}
		have, err := strconv.Atoi(part)
		need, _ := strconv.Atoi(want[i])
		if err != nil || have < need {
			return false
		}
		if have > need {
			break
		}
	}
	return true
}

// call calls a function that returns an OrtStatus.
//
//go:uintptrescapes
func (l *library) call(f function, args ...uintptr) error {
	status, _, _ := purego.SyscallN(l.table[f], args...)
	if status == 0 {
		return nil
	}
	return l.takeStatus(status)
}

// release calls one of the Release functions; 0 is allowed.
func (l *library) release(f function, object uintptr) {
	if object != 0 {
		purego.SyscallN(l.table[f], object)
	}
}

// takeStatus turns an OrtStatus into an error and frees it.
func (l *library) takeStatus(status uintptr) error {
	code, _, _ := purego.SyscallN(l.table[fnGetErrorCode], status)
	text, _, _ := purego.SyscallN(l.table[fnGetErrorMessage], status)
	err := &statusError{code: int32(code), message: oneLine(goString(text))}
	purego.SyscallN(l.table[fnReleaseStatus], status)
	return err
}

// takeString copies a string that the default allocator holds, and frees it.
func (l *library) takeString(p uintptr) (string, error) {
	s := goString(p)
	return s, l.call(fnAllocatorFree, l.allocator, p)
}

// providers lists the execution providers that the library was built with.
func (l *library) providers() ([]string, error) {
	var list uintptr
	var n int32
	if err := l.call(fnGetAvailableProviders, uintptr(unsafe.Pointer(&list)), uintptr(unsafe.Pointer(&n))); err != nil {
		return nil, err
	}
	var names []string
	for _, p := range unsafe.Slice((*uintptr)(pointer(list)), n) {
		names = append(names, goString(p))
	}
	return names, l.call(fnReleaseAvailableProviders, list, uintptr(n))
}

// pointer is an address that C gave, as Go sees it. C's memory is none of the collector's business.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// address is where b's first byte stands. The caller keeps b alive.
func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// cString is s with the NUL that C wants.
func cString(s string) []byte { return append([]byte(s), 0) }

// goString copies a C string.
func goString(p uintptr) string {
	if p == 0 {
		return ""
	}
	start := (*byte)(pointer(p))
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(start), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(start, n))
}

// cStrings is an array of C strings. The caller keeps the value alive for as long as C looks at it.
type cStrings struct {
	text  [][]byte
	where []uintptr
}

func (c *cStrings) add(s string) {
	b := cString(s)
	c.text = append(c.text, b)
	c.where = append(c.where, address(b))
}

// address is where the array stands; never nil.
func (c *cStrings) address() uintptr {
	if cap(c.where) == 0 {
		c.where = make([]uintptr, 0, 1)
	}
	return uintptr(unsafe.Pointer(unsafe.SliceData(c.where)))
}
