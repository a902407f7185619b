//go:build hurt

package hurt

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval"
	"serval/bench/load"
	"serval/internal/testkit"
	"serval/wire/inference"
)

// model is a model that the tests call with one input of zeros.
type model struct {
	name, input string
	columns     int64
}

func (m model) path() string { return "/v2/models/" + m.name + "/infer" }

// json is a request of one row.
func (m model) json() string { return m.jsonRows(1) }

func (m model) jsonRows(n int64) string {
	return fmt.Sprintf(`{"inputs":[{"name":%q,"datatype":"FP32","shape":[%d,%d],"data":[%s0]}]}`, m.input, n, m.columns, strings.Repeat("0,", int(n*m.columns)-1))
}

// payload is a request for bench/load.
func (m model) payload(t testing.TB, f load.Format, rows int64) load.Payload {
	t.Helper()
	p, err := load.Body(f, serval.Ref{Name: m.name}, []serval.Tensor{tensor(m.input, rows, m.columns)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// proto is a request of one row over gRPC.
func (m model) proto() *inference.ModelInferRequest { return m.protoRows(1) }

func (m model) protoRows(n int64) *inference.ModelInferRequest {
	return &inference.ModelInferRequest{
		ModelName:        m.name,
		Inputs:           []*inference.ModelInferRequest_InferInputTensor{{Name: m.input, Datatype: "FP32", Shape: []int64{n, m.columns}}},
		RawInputContents: [][]byte{make([]byte, 4*n*m.columns)},
	}
}

// fake makes a model that answers with its input after a delay: rows of 4 numbers, or of as many as they come with.
func fake(t testing.TB, models, name, delay, settings string) model {
	t.Helper()
	return fakeModel(t, models, name, fmt.Sprintf(`"delay":%q`, delay), settings)
}

// slow makes a model that takes 100 ms for each row, one request after the other: quick to load, and as slow as one likes.
func slow(t testing.TB, models string) model {
	t.Helper()
	return fakeModel(t, models, "slow", `"row_delay":"100ms"`, "instances: 1\nthreads: 1\nbatching: {mode: \"off\"}\nqueue: {max_wait: 1h}\n")
}

func fakeModel(t testing.TB, models, name, delay, settings string) model {
	t.Helper()
	dir := filepath.Join(models, name)
	tensor := `{"name":%q,"datatype":"FP32","shape":[-1,-1],"symbols":["batch","columns"]}`
	write(t, filepath.Join(dir, "1", "model.fake"), fmt.Appendf(nil, `{"inputs":[`+tensor+`],"outputs":[`+tensor+`],%s}`, "x", "y", delay))
	if settings != "" {
		write(t, filepath.Join(dir, "model.yaml"), []byte(settings))
	}
	return model{name, "x", 4}
}

// mlp copies the small network of the engine's tests.
func mlp(t testing.TB, models, name, settings string) model {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(testkit.Root(), "engine/onnx/testdata/mlp.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(models, name, "1", "model.onnx"), raw)
	if settings != "" {
		write(t, filepath.Join(models, name, "model.yaml"), []byte(settings))
	}
	return model{name, "x", 30}
}

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

// matrix makes an ONNX model that multiplies x [n,side] by side × side floats, all of them 1, which are in the model's file
// or, where external is a name, in a file of that name beside it.
func matrix(t testing.TB, models, name string, side int, external string) model {
	t.Helper()
	typed := func(name string) message {
		shape := message(nil).bytes(1, message(nil).text(2, "n")).bytes(1, message(nil).number(1, uint64(side)))
		return message(nil).text(1, name).bytes(2, message(nil).bytes(1, message(nil).number(1, 1).bytes(2, shape)))
	}
	size := 4 * side * side
	one := []byte{0, 0, 0x80, 0x3f}
	values := make([]byte, 0, size)
	for range side * side {
		values = append(values, one...)
	}
	weights := message(nil).number(1, uint64(side)).number(1, uint64(side)).number(2, 1).text(8, "w")
	dir := filepath.Join(models, name, "1")
	if external == "" {
		weights = weights.bytes(9, values)
	} else {
		weights = weights.bytes(13, message(nil).text(1, "location").text(2, external)).number(14, 1)
		write(t, filepath.Join(dir, external), values)
	}
	node := message(nil).text(1, "x").text(1, "w").text(2, "y").text(4, "MatMul")
	graph := message(nil).bytes(1, node).text(2, "matrix").bytes(5, weights).bytes(11, typed("x")).bytes(12, typed("y"))
	file := filepath.Join(dir, "model.onnx")
	write(t, file, nil)
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	_, err = w.Write(message(nil).number(1, 10).bytes(8, message(nil).number(2, 21)).bytes(7, graph))
	if err == nil {
		err = w.Flush()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		t.Fatal(err)
	}
	return model{name, "x", int64(side)}
}
