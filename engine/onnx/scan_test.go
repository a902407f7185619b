package onnx

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"serval/native"
)

// FuzzScan feeds anything to the reader of model files: it must end, without a panic and without allocating by what the
// file claims.
func FuzzScan(f *testing.F) {
	files, err := filepath.Glob("testdata/*.onnx")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 4096 {
			f.Add(data)
			f.Add(data[:len(data)/2])
		}
	}
	f.Add([]byte("8010000000"))
	f.Add([]byte{0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := scan(bytes.NewReader(data), int64(len(data)))
		if err == nil && len(found.external) > len(data) {
			t.Errorf("%d tensors in %d bytes", len(found.external), len(data))
		}
		_, _ = scan(bytes.NewReader(data), int64(len(data))+9) // the file shrinks while it is read
	})
}

func TestScanDeep(t *testing.T) {
	var body []byte
	for range 200 { // a graph in an attribute of a node of a graph, and so on
		body = inside(attributeGraph, inside(graphNode, inside(nodeAttribute, body)))
	}
	body = inside(modelGraph, inside(graphNode, inside(nodeAttribute, body)))
	if _, err := scan(bytes.NewReader(body), int64(len(body))); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Errorf("the error is %v", err)
	}
}

func inside(field byte, body []byte) []byte {
	out := []byte{field<<3 | wireBytes}
	n := len(body)
	for n >= 0x80 {
		out = append(out, byte(n)|0x80)
		n >>= 7
	}
	return append(append(out, byte(n)), body...)
}

// TestTable calls the functions of the table that no CPU model reaches, and knows them by what they answer.
func TestTable(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path, err := native.New(native.Options{Cache: filepath.Join(cache, "serval"), Progress: os.Stderr}).Ensure(context.Background(), "onnxruntime")
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLibrary(path)
	if err != nil {
		t.Fatal(err)
	}
	options, err := l.options(plan{level: 99, arena: true, pattern: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.release(fnReleaseSessionOptions, options)
	var out uintptr
	name := cString("Nonsense")
	empty := new(cStrings)
	for f, want := range map[function][]string{
		fnCreateCUDAProviderOptions:             {"CUDA"},
		fnCreateTensorRTProviderOptions:         {"TensorRT"},
		fnSessionOptionsAppendExecutionProvider: {"Nonsense"},
	} {
		var err error
		switch f {
		case fnCreateCUDAProviderOptions, fnCreateTensorRTProviderOptions:
			err = l.call(f, uintptr(unsafe.Pointer(&out)))
		case fnSessionOptionsAppendExecutionProvider:
			err = l.call(f, options, uintptr(unsafe.Pointer(&name[0])), empty.address(), empty.address(), 0)
		}
		t.Log(err)
		if err == nil {
			t.Errorf("function %d did not fail on a library for CPUs", f)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("function %d says %q, which lacks %q", f, err, w)
			}
		}
	}
	// The flag that stops a load.
	if err := l.call(fnSessionOptionsSetLoadCancellationFlag, options, 1); err != nil {
		t.Fatal(err)
	}
	file := cString("testdata/mlp.onnx")
	err = l.call(fnCreateSession, l.env, uintptr(unsafe.Pointer(&file[0])), options, uintptr(unsafe.Pointer(&out)))
	const canceled = 12 // ORT_MODEL_LOAD_CANCELED
	if status, ok := err.(*statusError); !ok || status.code != canceled {
		t.Errorf("a stopped load ends with %v", err)
	}
}

func TestNewEnough(t *testing.T) {
	for version, want := range map[string]bool{"1.32.0": true, "1.24.0": true, "1.24": true, "2.0.0": true, "1.23.9": false, "1.9.1": false, "": false, "dev": false} {
		if newEnough(version) != want {
			t.Errorf("newEnough(%q) is %v", version, !want)
		}
	}
}
