package schedule

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"serval"
	"serval/engine"
	"serval/engine/onnx"
)

func TestMoveAxis(t *testing.T) {
	// [batch 2, 3, 2] of one byte, and the same with the batch second: [3, 2, 2].
	front := []byte{0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15}
	inside := []byte{0, 1, 10, 11, 2, 3, 12, 13, 4, 5, 14, 15}
	shape := []int64{2, 3, 2}
	if got := moveAxis(make([]byte, 12), front, shape, 1, 1, false); !slices.Equal(got, inside) {
		t.Errorf("inside: %v", got)
	}
	if got := moveAxis(make([]byte, 12), inside, shape, 1, 1, true); !slices.Equal(got, front) {
		t.Errorf("to the front: %v", got)
	}
	last := moveAxis(make([]byte, 12), front, shape, 2, 1, false)
	if got := moveAxis(make([]byte, 12), last, shape, 2, 1, true); !slices.Equal(got, front) {
		t.Errorf("there and back: %v", got)
	}
	if got := toFront([]int64{3, 2, 4}, 1); !slices.Equal(got, []int64{2, 3, 4}) {
		t.Error(got)
	}
}

// TestFitFindsWhoIsAtFault wants one bad call of a fitted batch to fail alone, and the next batch to be right.
func TestFitFindsWhoIsAtFault(t *testing.T) {
	mustOpen(t, "lookup", serval.ModelSettings{}) // fetches the library
	data, err := os.ReadFile(filepath.Join("testdata", "lookup.onnx"))
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "model.onnx"), data, 0o644))
	f := &fitter{Engine: onnx.New(library.store, onnx.Options{})}
	m, err := f.Open(context.Background(), engine.Spec{Name: "lookup", Dir: dir, Threads: 1, Device: engine.Device{Kind: "cpu"}})
	must(t, err)
	defer m.Close()
	for _, last := range []int64{3, 99, 3} {
		var calls []*engine.Call
		for _, x := range []int64{1, last, 2} {
			calls = append(calls, &engine.Call{Rows: 1, Inputs: []serval.Tensor{
				{Name: "x", DType: serval.Int64, Shape: []int64{1, 1}, Data: binary.LittleEndian.AppendUint64(nil, uint64(x))}, fp32s("sum", 10)}})
		}
		must(t, m.(engine.Batcher).Execute(context.Background(), calls))
		for i, want := range []float64{11, 19, 14} {
			switch c := calls[i]; {
			case i == 1 && last == 99:
				wantCode(t, c.Err, serval.InvalidArgument, "99")
			case c.Err != nil || floats(&c.Outputs[0])[0] != want:
				t.Errorf("call %d: %v, %v", i, c.Outputs, c.Err)
			}
			calls[i].Reset()
		}
	}
}
