package kserve

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"serval"
	"serval/protocol"
)

var update = flag.Bool("update", false, "write the golden files anew")

// models answer their inputs; see answerInputs.
type models struct{}

func (models) List() []serval.ModelInfo {
	one := serval.Signature{Inputs: []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 2}}}}
	two := serval.Signature{Inputs: []serval.TensorInfo{{Name: "a", DType: serval.FP32}, {Name: "b", DType: serval.Bytes}}}
	table := serval.Signature{Inputs: []serval.TensorInfo{{Name: "age", DType: serval.FP32, Shape: []int64{-1, 1}}, {Name: "job", DType: serval.Bytes, Shape: []int64{-1, 1}}}}
	return []serval.ModelInfo{
		{Name: "half", Version: "1", State: serval.StateReady, Signature: serval.Signature{Inputs: []serval.TensorInfo{{Name: "h", DType: serval.FP16}}}},
		{Name: "one", Version: "1", State: serval.StateReady, Signature: one},
		{Name: "one", Version: "2", State: serval.StateReady, Signature: one},
		{Name: "org/two", Version: "1", State: serval.StateReady, Signature: two},
		{Name: "table", Version: "1", State: serval.StateReady, Signature: table},
		{Name: "torn", Version: "1", State: serval.StateUnavailable},
	}
}

func (m models) Model(r serval.Ref) (serval.ModelInfo, error) {
	for _, info := range m.List() {
		if info.Name == r.Name && (r.Version == "" || r.Version == info.Version) {
			return info, nil
		}
	}
	return serval.ModelInfo{}, serval.Errorf(serval.NotFound, "there is no model '%s'; there are half, one, org/two, table and torn", r)
}

func (models) Stats(serval.Ref) (serval.Stats, error) { return serval.Stats{}, nil }
func (models) Ready() bool                            { return true }

func answerInputs(_ context.Context, r *serval.Request, sink serval.Sink) error {
	in := r.Input.(*serval.Tensors)
	for i := range in.List {
		if err := in.List[i].Check(); err != nil {
			return serval.Errorf(serval.Internal, "a tensor that does not hold what it declares: %v", err)
		}
	}
	return sink.Send(&serval.Chunk{Output: &serval.Tensors{List: in.List}, Finish: serval.Stop})
}

func newMux() http.Handler {
	p := New(protocol.Backend{Handler: serval.HandlerFunc(answerInputs), Models: models{}, Config: protocol.Limits{MaxBody: 1 << 16}})
	mux := http.NewServeMux()
	for _, route := range p.Routes() {
		mux.HandleFunc(route.Pattern, route.Serve)
	}
	return mux
}

// TestGolden plays testdata/predict.golden: a title, the request, "=>" with the status, and the answer. Run with -update
// to write the answers anew, and read what changed.
func TestGolden(t *testing.T) {
	const file = "testdata/predict.golden"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	mux := newMux()
	blocks := strings.Split(string(text), "\n## ")
	var out strings.Builder
	out.WriteString(blocks[0])
	for _, block := range blocks[1:] {
		title, rest, _ := strings.Cut(block, "\n")
		request, want, _ := strings.Cut(rest, "\n=> ")
		line, body, _ := strings.Cut(request, "\n")
		method, path, _ := strings.Cut(line, " ")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		got := fmt.Sprintf("%d\n%s\n", w.Code, w.Body)
		fmt.Fprintf(&out, "\n## %s\n%s\n=> %s", title, request, got)
		if strings.TrimRight(want, "\n") != strings.TrimRight(got, "\n") && !*update {
			t.Errorf("%s\n got %s\nwant %s", title, got, want)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever comes is answered with JSON, and what is accepted is JSON.
func FuzzPredict(f *testing.F) {
	text, err := os.ReadFile("testdata/predict.golden")
	if err != nil {
		f.Fatal(err)
	}
	for _, block := range strings.Split(string(text), "\n## ")[1:] {
		request, _, _ := strings.Cut(block, "\n=> ")
		if i := strings.Index(request, "\n{"); i >= 0 {
			f.Add([]byte(request[i+1:]))
		}
	}
	mux := newMux()
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, model := range []string{"one", "org/two", "table"} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("POST", "/v1/models/"+model+":predict", bytes.NewReader(body)))
			if !json.Valid(w.Body.Bytes()) || w.Code == 500 || w.Code == 200 && !json.Valid(body) {
				t.Fatalf("%q: %d %s", body, w.Code, w.Body)
			}
		}
	})
}
