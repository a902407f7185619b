package onnx

import (
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"serval"
)

// provider is an execution provider of ONNX Runtime.
type provider struct {
	full   string // as GetAvailableProviders lists it
	short  string // as SessionOptionsAppendExecutionProvider takes it
	index  string // the option that picks the device, "" where there is none
	wanted string // what to install
	v2     *providerCalls
}

// providerCalls are the functions of a provider that has a struct of its own for its options.
type providerCalls struct{ create, update, add, release function }

var (
	cuda = provider{full: "CUDAExecutionProvider", index: "device_id", wanted: "the GPU build of ONNX Runtime (package onnxruntime-gpu) with CUDA and cuDNN",
		v2: &providerCalls{fnCreateCUDAProviderOptions, fnUpdateCUDAProviderOptions, fnSessionOptionsAppendExecutionProviderCUDAV2, fnReleaseCUDAProviderOptions}}
	tensorRT = provider{full: "TensorrtExecutionProvider", index: "device_id", wanted: "the GPU build of ONNX Runtime (package onnxruntime-gpu) with CUDA and TensorRT",
		v2: &providerCalls{fnCreateTensorRTProviderOptions, fnUpdateTensorRTProviderOptions, fnSessionOptionsAppendExecutionProviderTensorRTV2, fnReleaseTensorRTProviderOptions}}
	migraphx = provider{full: "MIGraphXExecutionProvider", short: "MIGraphX", index: "device_id", wanted: "the ROCm build of ONNX Runtime (package onnxruntime-migraphx) with ROCm and MIGraphX"}
	openvino = provider{full: "OpenVINOExecutionProvider", short: "OpenVINO", wanted: "the OpenVINO build of ONNX Runtime (package onnxruntime-openvino)"}
	coreML   = provider{full: "CoreMLExecutionProvider", short: "CoreML", wanted: "ONNX Runtime for macOS (package onnxruntime there)"}
)

// devices has the providers of each kind of device, the first one first; the CPU stands behind all of them.
var devices = map[string][]provider{
	"": nil, "cpu": nil, "cuda": {cuda}, "tensorrt": {tensorRT, cuda}, "rocm": {migraphx}, "migraphx": {migraphx},
	"openvino": {openvino}, "coreml": {coreML},
}

// useDevice adds the providers of the plan's device to a session's options.
func (l *library) useDevice(options uintptr, p plan) error {
	list, known := devices[p.device.Kind]
	if !known {
		return serval.Errorf(serval.InvalidArgument, "device %q is not known to the onnx engine; it knows %s", p.device, strings.Join(slices.Sorted(maps.Keys(devices))[1:], ", ")).At("device")
	}
	if len(list) == 0 {
		if len(p.provider) > 0 {
			return serval.Errorf(serval.InvalidArgument, "options.%s… is set, but the device cpu has no such settings", optionProviderPrefix).At("options")
		}
		return nil
	}
	available, err := l.providers()
	if err != nil {
		return err
	}
	for i, e := range list {
		settings := map[string]string{}
		if i == 0 { // the others are there for what the first cannot do
			maps.Copy(settings, p.provider)
		}
		if e.index != "" {
			settings[e.index] = strconv.Itoa(p.device.Index)
		}
		if !slices.Contains(available, e.full) {
			return serval.Errorf(serval.Unavailable, "device %q needs ONNX Runtime's %s, which %s (version %s) does not have; it has %s. Install %s, or set device: cpu",
				p.device, e.full, l.path, l.version, strings.Join(available, ", "), e.wanted).At("device")
		}
		if err := l.add(options, e, settings); err != nil {
			return serval.Errorf(serval.Unavailable, "device %q: ONNX Runtime's %s does not start: %w. It needs %s", p.device, e.full, err, e.wanted).At("device")
		}
	}
	return nil
}

// add appends one provider with its settings.
func (l *library) add(options uintptr, e provider, settings map[string]string) error {
	keys, values := new(cStrings), new(cStrings)
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		keys.add(k)
		values.add(settings[k])
	}
	defer runtime.KeepAlive(keys)
	defer runtime.KeepAlive(values)
	n := uintptr(len(keys.where))
	if e.v2 == nil {
		name := cString(e.short)
		return l.call(fnSessionOptionsAppendExecutionProvider, options, uintptr(unsafe.Pointer(&name[0])), keys.address(), values.address(), n)
	}
	var own uintptr
	if err := l.call(e.v2.create, uintptr(unsafe.Pointer(&own))); err != nil {
		return err
	}
	defer l.release(e.v2.release, own)
	if err := l.call(e.v2.update, own, keys.address(), values.address(), n); err != nil {
		return err
	}
	return l.call(e.v2.add, options, own)
}
