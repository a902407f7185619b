package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"serval"
)

// echo is a server of the protocol with one model that gives its inputs back, in binary or (for "json") as JSON.
func echo(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	infer := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n, err := strconv.Atoi(r.Header.Get(headerLength))
		if err != nil || r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, `{"error":"bad header"}`, http.StatusBadRequest)
			return
		}
		var q map[string]any
		if err := json.Unmarshal(body[:n], &q); err != nil {
			t.Error(err)
		}
		if r.PathValue("m") == "json" {
			fmt.Fprint(w, `{"model_name":"json","model_version":"3","id":"7","outputs":[{"name":"y","datatype":"FP16","shape":[1,2],"data":[0.5,-2]},{"name":"s","datatype":"BYTES","shape":[2],"data":["a","é"]}]}`)
			return
		}
		head, _ := json.Marshal(map[string]any{"model_name": r.PathValue("m"), "model_version": r.PathValue("v"), "outputs": q["inputs"]})
		w.Header().Set(headerLength, strconv.Itoa(len(head)))
		w.Write(append(head, body[n:]...))
	}
	mux.HandleFunc("POST /v2/models/{m}/infer", infer)
	mux.HandleFunc("POST /v2/models/{m}/versions/{v}/infer", infer)
	mux.HandleFunc("GET /v2/models/{m}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("m") == "gone" {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":"model 'gone' is not known"}`)
			return
		}
		fmt.Fprint(w, `{"name":"net","versions":["1","2"],"platform":"onnxruntime_onnx","inputs":[{"name":"x","datatype":"FP32","shape":[-1,"3"]},{"name":"o","datatype":"INT64","shape":["-1"]}],"outputs":[{"name":"y","datatype":"BYTES","shape":[-1,1]}]}`)
	})
	mux.HandleFunc("GET /v2/models/{m}/config", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("m") == "plain" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, `{"name":"net","input":[{"name":"o","optional":true}],"parameters":{"serval_recipe":{"string_value":"{\"input\":{},\"output\":{\"labels\":{\"output\":\"y\",\"labels\":[\"a\"]}}}"}}}`)
	})
	mux.HandleFunc("POST /v2/repository/index", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `[{"name":"net","version":"1","state":"READY","reason":""},{"name":"old","version":"1","state":"UNAVAILABLE","reason":"corrupt"}]`)
	})
	mux.HandleFunc("POST /v2/repository/models/{m}/load", func(w http.ResponseWriter, r *http.Request) {})
	mux.HandleFunc("POST /v2/repository/models/{m}/unload", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"error":{"message":"draining"}}`)
	})
	mux.HandleFunc("GET /v2/models/{m}/versions/{v}/stats", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"model_stats":[{"name":"net","version":"2","last_inference":"1700000000000","inference_count":"12","execution_count":4,"inference_stats":{"success":{"count":"12","ns":"3000"},"queue":{"count":12,"ns":5}},"batch_stats":[{"batch_size":"3","compute_infer":{"count":"4","ns":"99"}}]}]}`)
	})
	mux.HandleFunc("GET /v2/health/ready", func(w http.ResponseWriter, r *http.Request) {})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestPredict(t *testing.T) {
	c := New(strings.TrimPrefix(echo(t).URL, "http://"), "secret")
	defer c.Close()
	inputs := []serval.Tensor{
		{Name: "x", DType: serval.FP32, Shape: []int64{1, 2}, Data: []byte{0, 0, 128, 63, 0, 0, 0, 64}},
		{Name: "s", DType: serval.Bytes, Shape: []int64{2}, Data: serval.AppendString(serval.AppendString(nil, "ä"), "")},
		{Name: "none", DType: serval.Int8, Shape: []int64{0, 4}},
		{Name: "scalar", DType: serval.Uint8, Data: []byte{9}},
	}
	a, err := c.Predict(context.Background(), serval.Ref{Name: "e/c ho", Version: "2"}, inputs)
	if err != nil {
		t.Fatal(err)
	}
	if a.Model != "e/c ho" || a.Version != "2" || len(a.Outputs) != len(inputs) {
		t.Fatalf("answer %+v", a)
	}
	for i, o := range a.Outputs {
		if o.Name != inputs[i].Name || o.DType != inputs[i].DType || string(o.Data) != string(inputs[i].Data) {
			t.Errorf("output %d: %+v", i, o)
		}
	}
	a, err = c.Predict(context.Background(), serval.Ref{Name: "json", Alias: ""}, inputs[:1], "y", "s")
	if err != nil {
		t.Fatal(err)
	}
	if string(a.Outputs[0].Data) != "\x00\x38\x00\xc0" || a.ID != "7" || len(a.Outputs) != 2 {
		t.Errorf("JSON answer: %+v", a)
	}
	inputs[0].Shape = []int64{1 << 40, 30}
	if _, err := c.Predict(context.Background(), serval.Ref{Name: "echo"}, inputs); serval.AsError(err).Param != "x" {
		t.Errorf("a lying shape: %v", err)
	}
}

func TestModels(t *testing.T) {
	c := New(echo(t).URL+"/", "")
	defer c.Close()
	ctx := context.Background()
	if err := c.Ready(ctx); err != nil {
		t.Error(err)
	}
	list, err := c.List(ctx)
	if err != nil || len(list) != 2 || list[1].Reason != "corrupt" || list[0].State != serval.StateReady {
		t.Errorf("list: %+v, %v", list, err)
	}
	info, err := c.Info(ctx, serval.Ref{Name: "net"})
	if err != nil {
		t.Fatal(err)
	}
	if x := info.Signature.Inputs; x[0].Shape[1] != 3 || !x[1].Optional || x[0].Optional || info.Recipe.Output.Labels.Labels[0] != "a" {
		t.Errorf("info: %+v", info)
	}
	if info, err = c.Info(ctx, serval.Ref{Name: "plain"}); err != nil || info.Recipe != nil || info.Config != nil {
		t.Errorf("a server without configuration: %+v, %v", info, err)
	}
	if _, err := c.Info(ctx, serval.Ref{Name: "gone"}); serval.AsError(err).Code != serval.NotFound || err.Error() != "model 'gone' is not known" {
		t.Errorf("gone: %v", err)
	}
	stats, err := c.Stats(ctx, serval.Ref{Name: "net", Version: "2"})
	if err != nil || len(stats) != 1 {
		t.Fatalf("stats: %+v, %v", stats, err)
	}
	if s := stats[0]; s.Inferences != 12 || s.Success.Total != 3*time.Microsecond || s.Batches[0].Size != 3 || s.Batches[0].Compute.Count != 4 || s.LastInference.Unix() != 1700000000 {
		t.Errorf("stats: %+v", s)
	}
	if err := c.Load(ctx, "net"); err != nil {
		t.Error(err)
	}
	if e := serval.AsError(c.Unload(ctx, "net")); e.Code != serval.Unavailable || e.Message != "draining" || e.RetryAfter != 2*time.Second {
		t.Errorf("unload: %+v", e)
	}
}

func TestFailures(t *testing.T) {
	ctx := context.Background()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	if e := serval.AsError(New(address, "").Ready(ctx)); e.Code != serval.Unavailable || !strings.Contains(e.Message, "serval serve") {
		t.Errorf("nobody listens: %v", e)
	}
	if e := serval.AsError(New("http://a b", "").Ready(ctx)); e.Code != serval.InvalidArgument {
		t.Errorf("a bad address: %v", e)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v2/health/ready":
			<-r.Context().Done()
		case "/v2/models/stats":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		default:
			fmt.Fprint(w, "<html>")
		}
	}))
	defer s.Close()
	c := New(s.URL, "")
	defer c.Close()
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if e := serval.AsError(c.Ready(short)); e.Code != serval.DeadlineExceeded {
		t.Errorf("a slow server: %v", e)
	}
	if _, err := c.Stats(ctx, serval.Ref{}); err == nil {
		t.Error("a redirect was followed")
	}
	if _, err := c.List(ctx); err == nil || !strings.Contains(err.Error(), "did not answer as the Open Inference Protocol says") {
		t.Errorf("a page: %v", err)
	}
}

func TestBatches(t *testing.T) {
	x := serval.Tensor{Name: "x", DType: serval.Int16, Shape: []int64{5, 2}, Data: []byte("aabbccddeeffgghhiijj")}
	s := serval.Tensor{Name: "s", DType: serval.Bytes, Shape: []int64{5}}
	for _, v := range []string{"one", "", "three", "4", "five"} {
		s.Data = serval.AppendString(s.Data, v)
	}
	parts := Batches([]serval.Tensor{x, s}, 2)
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	var data [2]string
	for i, p := range parts {
		for j := range p {
			if err := p[j].Check(); err != nil || p[j].Shape[0] != []int64{2, 2, 1}[i] {
				t.Errorf("part %d: %+v %v", i, p[j], err)
			}
			data[j] += string(p[j].Data)
		}
	}
	if data[0] != string(x.Data) || data[1] != string(s.Data) {
		t.Error("the parts are not the whole")
	}
	whole, err := Join(parts)
	if err != nil || whole[0].Shape[0] != 5 || string(whole[0].Data) != string(x.Data) || string(whole[1].Data) != string(s.Data) || parts[0][0].Shape[0] != 2 {
		t.Errorf("joined: %+v, %v", whole, err)
	}
	if _, err := Join([][]serval.Tensor{{x}, {s}}); err == nil {
		t.Error("joined what differs")
	}
	if len(Batches([]serval.Tensor{x, s}, 5)) != 1 || len(Batches([]serval.Tensor{x, {Name: "y", Shape: []int64{1}}}, 2)) != 1 || len(Batches(nil, 2)) != 1 {
		t.Error("cut what must stay whole")
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("", []byte(`{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1]}]}`))
	f.Add("78", []byte(`{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}1234`))
	f.Add("9999", []byte(`{}`))
	f.Fuzz(func(t *testing.T, length string, data []byte) {
		a, err := readAnswer(length, data)
		if err != nil {
			return
		}
		for i := range a.Outputs {
			if err := a.Outputs[i].Check(); err != nil {
				t.Errorf("an output that does not hold together: %v", err)
			}
		}
	})
}
