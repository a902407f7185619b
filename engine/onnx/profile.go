package onnx

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unsafe"

	"serval/engine"
)

// Layers ends ONNX Runtime's profile, which a session opened with Spec.Profile writes, and sums it up; see engine.Profiled.
func (in *instance) Layers() ([]engine.Layer, error) {
	var text uintptr
	if err := in.call(fnSessionEndProfiling, in.session.ptr, in.allocator, uintptr(unsafe.Pointer(&text))); err != nil {
		return nil, err
	}
	file, err := in.takeString(text)
	if err != nil {
		return nil, err
	}
	if file == "" {
		return nil, fmt.Errorf("the session was opened without a profile")
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return sumProfile(raw)
}

// profileEvent is an entry of ONNX Runtime's profile, which is in Chrome's trace format.
type profileEvent struct {
	Category string `json:"cat"`
	Name     string `json:"name"`
	Duration int64  `json:"dur"` // microseconds
	Args     struct {
		Op string `json:"op_name"`
	} `json:"args"`
}

const kernelTime = "_kernel_time"

// sumProfile adds up the nodes' kernels by name.
func sumProfile(raw []byte) ([]engine.Layer, error) {
	var events []profileEvent
	if err := json.Unmarshal(raw, &events); err != nil {
		return nil, fmt.Errorf("ONNX Runtime's profile: %w", err)
	}
	at := map[string]int{}
	var layers []engine.Layer
	total := time.Duration(0)
	for _, e := range events {
		name, kernel := strings.CutSuffix(e.Name, kernelTime)
		if e.Category != "Node" || !kernel {
			continue
		}
		i, known := at[name]
		if !known {
			i = len(layers)
			at[name] = i
			layers = append(layers, engine.Layer{Name: name, Op: e.Args.Op})
		}
		d := time.Duration(e.Duration) * time.Microsecond
		layers[i].Runs++
		layers[i].Time += d
		total += d
	}
	for i := range layers {
		if total > 0 {
			layers[i].Share = float64(layers[i].Time) / float64(total)
		}
		layers[i].Time /= time.Duration(layers[i].Runs)
	}
	slices.SortStableFunc(layers, func(a, b engine.Layer) int {
		switch {
		case a.Share > b.Share:
			return -1
		case a.Share < b.Share:
			return 1
		}
		return 0
	})
	return layers, nil
}
