package oip

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"serval"
	"serval/protocol"
)

var update = flag.Bool("update", false, "write the golden files anew")

// restModels are the models of the REST tests; every one answers its inputs.
type restModels struct{ notReady bool }

func (restModels) List() []serval.ModelInfo {
	sig := serval.Signature{
		Inputs:  []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 2}, Symbols: []string{"batch", ""}}},
		Outputs: []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 2}, Symbols: []string{"batch", ""}}},
	}
	text := serval.Signature{Inputs: []serval.TensorInfo{{Name: "s", DType: serval.Bytes, Shape: []int64{-1}}}}
	two := serval.Signature{Inputs: []serval.TensorInfo{{Name: "a", DType: serval.FP32}, {Name: "b", DType: serval.Int64, Shape: []int64{}}}}
	return []serval.ModelInfo{
		{Name: "m", Version: "1", Versions: []string{"1", "2"}, State: serval.StateReady, Platform: "fake", Engine: "fake", Signature: sig,
			Batching: serval.Batching{On: true}, Settings: serval.ModelSettings{Batching: serval.BatchSettings{Max: 64}, Instances: 2}},
		{Name: "m", Version: "2", Versions: []string{"1", "2"}, State: serval.StateReady, Platform: "fake", Engine: "fake", Signature: sig},
		{Name: "text", Version: "1", Versions: []string{"1"}, State: serval.StateReady, Platform: "fake", Engine: "fake", Signature: text},
		{Name: "torn", Version: "1", State: serval.StateUnavailable, Reason: `model.onnx ends after 12 bytes`, Platform: "fake", Engine: "fake"},
		{Name: "two", Version: "1", Versions: []string{"1"}, State: serval.StateReady, Platform: "fake", Engine: "fake", Signature: two},
	}
}

func (m restModels) Model(r serval.Ref) (serval.ModelInfo, error) {
	for _, info := range m.List() {
		if info.Name == r.Name && (r.Version == "" || r.Version == info.Version) {
			return info, nil
		}
	}
	return serval.ModelInfo{}, serval.Errorf(serval.NotFound, "there is no model '%s'; there are m, text, torn and two", r)
}

func (m restModels) Stats(r serval.Ref) (serval.Stats, error) {
	return serval.Stats{LastInference: time.UnixMilli(1700000000123), Inferences: 5, Executions: 3,
		Success: serval.StatDuration{Count: 3, Total: time.Millisecond}, Batches: []serval.BatchStat{{Size: 2, Compute: serval.StatDuration{Count: 1, Total: 20}}}}, nil
}

func (m restModels) Ready() bool { return !m.notReady }

type restControl struct{ calls []string }

func (c *restControl) Load(_ context.Context, name string, override *serval.ModelSettings) error {
	c.calls = append(c.calls, "load "+name)
	if override != nil {
		c.calls[len(c.calls)-1] += fmt.Sprintf(" max=%d delay=%s instances=%d", override.Batching.Max, override.Batching.MaxDelay, override.Instances)
	}
	return nil
}

func (c *restControl) Unload(_ context.Context, name string) error {
	c.calls = append(c.calls, "unload "+name)
	return nil
}

// answerInputs answers the inputs as outputs. The model's name may ask for a failure.
func answerInputs(_ context.Context, r *serval.Request, sink serval.Sink) error {
	switch r.Model.Name {
	case "busy":
		return serval.Errorf(serval.ResourceExhausted, "the queue of model 'busy' is full").After(1500 * time.Millisecond)
	case "broken":
		return &serval.Error{Code: serval.Internal, ID: "e-1", Message: "internal error"}
	case "late":
		return context.DeadlineExceeded
	case "silent":
		return nil
	case "m", "text", "two":
	default:
		_, err := restModels{}.Model(r.Model)
		return err
	}
	if r.Model.Version == "" {
		r.Model.Version = "1"
	}
	in := r.Input.(*serval.Tensors)
	out := &serval.Tensors{}
	if len(in.Want) == 0 {
		out.List = append(out.List, in.List...)
	}
	for _, name := range in.Want {
		t := in.Find(name)
		if t == nil {
			return serval.Errorf(serval.InvalidArgument, "model '%s' has no output '%s'", r.Model.Name, name).At(name)
		}
		out.List = append(out.List, *t)
		out.List[len(out.List)-1].Labels = []string{"no", "yes"}
	}
	return sink.Send(&serval.Chunk{Output: out, Finish: serval.Stop})
}

func newREST(handler serval.HandlerFunc) (*Protocol, *http.ServeMux, *restControl) {
	control := &restControl{}
	p := New(protocol.Backend{Handler: handler, Models: restModels{}, Control: control, Config: protocol.Limits{MaxBody: 1 << 20}, Version: "1.2.3"}, Options{})
	mux := http.NewServeMux()
	for _, route := range p.Routes() {
		mux.HandleFunc(route.Pattern, route.Serve)
	}
	return p, mux, control
}

// call sends one request; head holds "Name: value" lines.
func ask(mux http.Handler, method, path string, head []string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	for _, line := range head {
		name, v, _ := strings.Cut(line, ": ")
		r.Header.Set(name, v)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

// TestGolden plays testdata/*.golden: a title, the request, "=>" with the status, headers that matter, and the answer.
// Run with -update to write the answers anew, and read what changed.
func TestGolden(t *testing.T) {
	for _, file := range []string{"testdata/infer.golden", "testdata/routes.golden"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, mux, control := newREST(answerInputs)
		var out strings.Builder
		for i, block := range strings.Split(string(text), "\n## ") {
			title, rest, _ := strings.Cut(block, "\n")
			if i == 0 {
				out.WriteString(block)
				continue
			}
			request, want, _ := strings.Cut(rest, "\n=> ")
			lines := strings.Split(request, "\n")
			method, path, _ := strings.Cut(lines[0], " ")
			var head []string
			body := ""
			for n, line := range lines[1:] {
				if name, _, ok := strings.Cut(line, ": "); !ok || strings.ContainsAny(name, `{" `) {
					body = strings.Join(lines[1+n:], "\n")
					break
				}
				head = append(head, line)
			}
			body = strings.ReplaceAll(body, "<deep>", strings.Repeat(`[`, 100000))
			control.calls = nil
			w := ask(mux, method, path, head, []byte(body))
			got := fmt.Sprintf("%d", w.Code)
			for _, name := range []string{"X-Request-Id", "Retry-After", "Inference-Header-Content-Length"} {
				if v := w.Header().Get(name); v != "" {
					got += "\n" + name + ": " + v
				}
			}
			got += "\n" + strings.Join(append(control.calls, strings.ToValidUTF8(strings.ReplaceAll(w.Body.String(), "\x00", "␀"), "·")), "\n")
			got = strings.TrimRight(got, "\n") + "\n"
			fmt.Fprintf(&out, "\n## %s\n%s\n=> %s", title, request, got)
			if strings.TrimRight(want, "\n") != strings.TrimRight(got, "\n") && !*update {
				t.Errorf("%s: %s\n got %s\nwant %s", file, title, got, want)
			}
		}
		if *update {
			if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Every route answers errors in the protocol's dialect and takes its place in one mux with the others.
func TestRoutesAreWhole(t *testing.T) {
	p, _, _ := newREST(answerInputs)
	var patterns []string
	for _, r := range p.Routes() {
		if r.Serve == nil || r.Fail == nil {
			t.Errorf("%s: no Serve or no Fail", r.Pattern)
		}
		if strings.HasSuffix(r.Pattern, "/load") && r.Access != protocol.Control || strings.HasSuffix(r.Pattern, "/infer") && r.Access != protocol.Infer {
			t.Errorf("%s: access %d", r.Pattern, r.Access)
		}
		patterns = append(patterns, r.Pattern)
	}
	sort.Strings(patterns)
	for i := 1; i < len(patterns); i++ {
		if patterns[i] == patterns[i-1] {
			t.Errorf("%s twice", patterns[i])
		}
	}
}
