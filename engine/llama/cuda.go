package llama

import (
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"

	"serval"
	"serval/engine"
)

// compiled are the compute capabilities that the packaged build for CUDA has code for (major times ten plus minor). On another
// device its first kernel ends the process, so it is refused before.
func compiled() []int { return []int{86, 89, 120, 121} }

// checkCUDA refuses a device that the library at path has no code for. Of a library that is not the packaged one nothing is
// known, and nothing is refused.
func checkCUDA(path string, d engine.Device) error {
	if d.Kind != "cuda" || !strings.HasSuffix(filepath.Base(path), ".cuda.v0.5.0.so") {
		return nil
	}
	capability, ok := computeCapability(d.Index)
	if !ok || slices.Contains(compiled(), capability) {
		return nil // without a driver, the library says so itself
	}
	return serval.Errorf(serval.Unavailable, "device %s has compute capability %d.%d; the packaged libllama for CUDA has code for 8.6, 8.9, 12.0 and 12.1. "+
		"Build llama.cpp v%s for it and give its path as library llama-cuda, or use device: cpu", d, capability/10, capability%10, known)
}

// computeCapability asks the CUDA driver; not ok where there is none, or no such device.
func computeCapability(index int) (int, bool) {
	handle, err := purego.Dlopen("libcuda.so.1", purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return 0, false
	}
	call := func(name string, args ...uintptr) bool {
		f, err := purego.Dlsym(handle, name)
		if err != nil {
			return false
		}
		rc, _, _ := purego.SyscallN(f, args...)
		return rc == 0
	}
	out := new([3]int32) // the device, and its capability
	at := func(i int) uintptr { return uintptr(unsafe.Pointer(&out[i])) }
	const major, minor = 75, 76 // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
	if !call("cuInit", 0) || !call("cuDeviceGet", at(0), uintptr(index)) || !call("cuDeviceGetAttribute", at(1), major, uintptr(out[0])) ||
		!call("cuDeviceGetAttribute", at(2), minor, uintptr(out[0])) {
		return 0, false
	}
	return int(out[1]*10 + out[2]), true
}
