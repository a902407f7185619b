package llama

import (
	"path/filepath"
	"runtime"
	"unsafe"

	"serval"
)

// loras is the adapter that a context computes with.
type loras struct {
	now *adapter
}

// use makes the context compute with an adapter; nil: with the weights as they are. A change makes llama.cpp plan its memory
// anew, which takes a few milliseconds.
func (l *loras) use(s *session, a *adapter) error {
	if l.now == a {
		return nil
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	list, scales := [1]uintptr{}, [1]float32{1}
	pin.Pin(&list)
	pin.Pin(&scales)
	n := uint64(0)
	if a != nil {
		list[0], n = a.ptr, 1
	}
	if rc := s.lib.adapterSet(s.ptr, uintptr(unsafe.Pointer(&list)), n, uintptr(unsafe.Pointer(&scales))); rc != 0 {
		return serval.Errorf(serval.Internal, "llama.cpp cannot use an adapter: %s", s.lib.words())
	}
	l.now = a
	return nil
}

// loadAdapters reads the LoRA adapters that the settings name, from the model's folder.
func (w *weights) loadAdapters(root string, files map[string]string) error {
	for name, file := range files {
		if !filepath.IsLocal(file) {
			return serval.Errorf(serval.InvalidArgument, "text.adapters.%s: %q must be a path inside the model's folder", name, file)
		}
		path := filepath.Join(root, file)
		w.lib.words()
		ptr := w.lib.adapterLoad(w.model, path)
		if ptr == 0 {
			return serval.Errorf(serval.InvalidArgument, "text.adapters.%s: llama.cpp cannot load %s: %s", name, file, w.lib.words())
		}
		w.adapters[name] = &adapter{name: name, ptr: ptr}
	}
	return nil
}
