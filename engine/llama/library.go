package llama

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"serval"
)

// library is libllama, opened once for the life of the process: it keeps threads, backends and callbacks of its own, so it is
// never closed. Its methods are safe for concurrent use.
type library struct {
	api
	path    string
	release string // "0.5.0"

	newPool, freePool uintptr // ggml_threadpool_new and _free; 0: the library makes its threads anew for each step
	initPool          uintptr

	mu       sync.Mutex // guards what follows
	said     []string   // the last warnings and errors of the log
	partial  string     // a line that goes on
	watchers map[uintptr]func(float32) bool
	watch    uintptr // the next key of watchers
	progress uintptr // C's pointer to the callback that asks them
}

// The releases of llama.cpp whose structs are known to fit. Others are opened too if their defaults stand where they should.
const known = "0.5"

// openLibrary opens the shared library at path and loads the backends that stand beside it: the variant of ggml's CPU code
// that suits this machine's processor, and those for devices.
func openLibrary(path string) (*library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, serval.Errorf(serval.Unavailable, "libllama at %s cannot be opened: %w; it needs glibc and libstdc++ (serval doctor says what is missing)", path, err)
	}
	l := &library{path: path, watchers: map[uintptr]func(float32) bool{}}
	if err := l.bind(handle); err != nil {
		return nil, serval.Errorf(serval.Unavailable, "%s cannot be used as libllama: %w; llama.cpp v%s is needed", path, err, known)
	}
	l.release = l.version()
	if field, ok := l.defaultsFit(); !ok {
		return nil, serval.Errorf(serval.Unavailable, "libllama at %s is v%s, whose structs are laid out in another way (its default of %s is not where it was); llama.cpp v%s is needed", path, l.release, field, known)
	}
	// Callbacks are never freed, so these are made once a process.
	l.logSet(purego.NewCallback(l.log), 0)
	l.abortSet(purego.NewCallback(l.aborting))
	l.progress = purego.NewCallback(l.loading)
	l.backendInit()
	l.loadBackends(filepath.Dir(path))
	reg := l.regByName("CPU")
	if reg == 0 {
		return nil, serval.Errorf(serval.Unavailable, "libllama at %s: no libggml-cpu-*.so beside it runs on this processor: %s", path, l.words())
	}
	l.newPool, l.freePool = l.regProc(reg, "ggml_threadpool_new"), l.regProc(reg, "ggml_threadpool_free")
	l.initPool, _ = purego.Dlsym(handle, "ggml_threadpool_params_init")
	return l, nil
}

// The levels of ggml's log.
const (
	logWarn     = 3
	logError    = 4
	logContinue = 5
)

// log is called by C, on any thread, with a piece of a line. Errors are kept, so that they can be told with the failure that
// they explain.
func (l *library) log(level int32, text, _ uintptr) uintptr {
	if level != logError && level != logWarn && level != logContinue {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if level == logContinue && l.partial == "" {
		return 0
	}
	l.partial += goString(text)
	for {
		line, rest, found := strings.Cut(l.partial, "\n")
		if !found {
			break
		}
		l.partial = rest
		if line = strings.TrimSpace(line); line != "" {
			l.said = append(l.said, line)
		}
	}
	const most = 8
	if over := len(l.said) - most; over > 0 {
		l.said = append(l.said[:0], l.said[over:]...)
	}
	if len(l.partial) > 4<<10 {
		l.partial = ""
	}
	return 0
}

// aborting is called by C before it ends the process: these are the last words that the parent of an engine's process hears.
func (l *library) aborting(text uintptr) uintptr {
	fmt.Fprintf(os.Stderr, "llama.cpp gives up: %s (%s)\n", goString(text), l.words())
	return 0
}

// words are what the library said since they were asked for last, in one line.
func (l *library) words() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	said := strings.Join(l.said, "; ")
	l.said, l.partial = nil, ""
	if said == "" {
		return "it gave no reason"
	}
	return said
}

// loading is called by C while a model is read.
func (l *library) loading(done float32, key uintptr) bool {
	l.mu.Lock()
	f := l.watchers[key]
	l.mu.Unlock()
	return f == nil || f(done)
}

// watched registers f, which is told how far a load is (0 to 1) and stops it by false; forget takes it away.
func (l *library) watched(f func(float32) bool) (key uintptr, forget func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch++
	key = l.watch
	l.watchers[key] = f
	return key, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watchers, key)
	}
}

// threadpool makes n threads that wait for work; 0 if the library has none to give. They spin for a moment between the parts of
// a step, and sleep between steps.
func (l *library) threadpool(n int) uintptr {
	if l.newPool == 0 || l.initPool == 0 || n < 1 {
		return 0
	}
	params := new([2048]byte) // struct ggml_threadpool_params, of some 530 bytes
	purego.SyscallN(l.initPool, uintptr(unsafe.Pointer(params)), uintptr(n))
	pool, _, _ := purego.SyscallN(l.newPool, uintptr(unsafe.Pointer(params)))
	return pool
}

func (l *library) freeThreads(pool uintptr) {
	if pool != 0 {
		purego.SyscallN(l.freePool, pool)
	}
}

// pointer is an address that C gave, as Go sees it. C's memory is none of the collector's business.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

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
