package onnx_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"serval/engine"
	"serval/engine/onnx"
)

// message is a protobuf message that is being written.
type message []byte

func (m message) number(field int, v uint64) message {
	return binary.AppendUvarint(binary.AppendUvarint(m, uint64(field)<<3), v)
}

func (m message) bytes(field int, b []byte) message {
	m = binary.AppendUvarint(binary.AppendUvarint(m, uint64(field)<<3|2), uint64(len(b)))
	return append(m, b...)
}

func (m message) text(field int, s string) message { return m.bytes(field, []byte(s)) }

// matrix writes a model that multiplies x [n,side] by a matrix of side × side floats.
func matrix(t *testing.T, path string, side int) {
	t.Helper()
	typed := func(name string) message {
		dim := message(nil).number(1, uint64(side))
		shape := message(nil).bytes(1, message(nil).text(2, "n")).bytes(1, dim)
		return message(nil).text(1, name).bytes(2, message(nil).bytes(1, message(nil).number(1, 1).bytes(2, shape)))
	}
	weights := message(nil).number(1, uint64(side)).number(1, uint64(side)).number(2, 1).text(8, "w")
	size := 4 * side * side
	weights = binary.AppendUvarint(binary.AppendUvarint(weights, 9<<3|2), uint64(size)) // raw_data follows
	node := message(nil).text(1, "x").text(1, "w").text(2, "y").text(4, "MatMul")
	graph := message(nil).bytes(1, node).text(2, "matrix").bytes(11, typed("x")).bytes(12, typed("y"))
	graph = binary.AppendUvarint(binary.AppendUvarint(graph, 5<<3|2), uint64(len(weights)+size)) // the initializer, last
	model := message(nil).number(1, 10).bytes(8, message(nil).number(2, 21))
	model = binary.AppendUvarint(binary.AppendUvarint(model, 7<<3|2), uint64(len(graph)+len(weights)+size))

	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for _, part := range [][]byte{model, graph, weights} {
		w.Write(part)
	}
	row := make([]byte, 4*side)
	for i := range row {
		row[i] = byte(i % 60)
	}
	for range side {
		w.Write(row)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// resident is the process's memory in MiB.
func resident(t *testing.T) int64 {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("this system does not say how much memory a process holds")
	}
	pages, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize()) >> 20
}

// TestMemoryComesBack loads, runs and unloads a model of 100 MB five times.
func TestMemoryComesBack(t *testing.T) {
	const side = 5000
	dir := t.TempDir()
	matrix(t, filepath.Join(dir, "big.onnx"), side)
	open(t, "mlp") // opens the library
	start := resident(t)
	for range 5 {
		model, err := onnx.New(libraries(t), onnx.Options{}).Open(context.Background(), engine.Spec{Name: "big", Dir: dir, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		m := model.(engine.Batcher)
		other, err := m.(engine.Sharer).Share(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		execute(t, m, fp32("x", []int64{64, side}, make([]float32, 64*side)...))
		execute(t, other, fp32("x", []int64{2, side}, make([]float32, 2*side)...))
		loaded, said := resident(t)-start, model.Memory().Bytes>>20
		t.Logf("loaded: %d MiB more, Memory says %d MiB %v", loaded, said, model.Memory().Estimated)
		if loaded < 90 || loaded > 180 || said < 90 || said > 180 {
			t.Errorf("two instances of a model of 95 MiB take %d MiB; Memory says %d", loaded, said)
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		execute(t, m, fp32("x", []int64{1, side}, make([]float32, side)...))
		if err := model.Close(); err != nil {
			t.Fatal(err)
		}
		if err := model.Close(); err != nil { // once more does no harm
			t.Fatal(err)
		}
	}
	if end := resident(t); end-start > 30 {
		t.Errorf("%d MiB before, %d MiB after loading and unloading", start, end)
	} else {
		t.Logf("%d MiB before, %d MiB after", start, end)
	}
}
