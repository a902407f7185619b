package llama

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"serval/engine"
)

// made keeps the files that tests derive from SmolLM2, once a process.
var made struct {
	sync.Mutex
	dir   string
	paths map[string]string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if made.dir != "" {
		_ = os.RemoveAll(made.dir)
	}
	os.Exit(code)
}

// derive has llama.cpp write SmolLM2 anew with another kind of weights, without some layers.
func derive(t testing.TB, name string, ftype int32, without func(layer int) bool) string {
	t.Helper()
	l, err := testEngine(t).ready(engine.Device{})
	if err != nil {
		t.Fatal(err)
	}
	made.Lock()
	defer made.Unlock()
	if made.dir == "" {
		if made.dir, err = os.MkdirTemp("", "serval-llama-"); err != nil {
			t.Fatal(err)
		}
		made.paths = map[string]string{}
	}
	if path := made.paths[name]; path != "" {
		return path
	}
	path := filepath.Join(made.dir, name+".gguf")
	p := l.quantizeDefaults()
	p.Threads, p.Ftype, p.AllowRequantize, p.Pure = 1, ftype, true, false
	var pin runtime.Pinner
	defer pin.Unpin()
	prune := make([]int32, 0, 31)
	for i := range 30 {
		if without != nil && without(i) {
			prune = append(prune, int32(i))
		}
	}
	if len(prune) > 0 {
		prune = append(prune, -1)
		pin.Pin(&prune[0])
		p.Prune = uintptr(unsafe.Pointer(&prune[0]))
	}
	params := &p
	pin.Pin(params)
	if rc := l.quantize(smol(t), path, params); rc != 0 {
		t.Fatalf("llama_model_quantize: %d, %s", rc, l.words())
	}
	made.paths[name] = path
	return path
}

const ftypeQ8_0, ftypeQ4_1, ftypeF16 = 7, 3, 1

// small is SmolLM2 with four of its thirty layers: fast, and no wiser.
func small(t testing.TB) string {
	return derive(t, "small", ftypeQ4_1, func(i int) bool { return i >= 2 && i < 28 })
}
