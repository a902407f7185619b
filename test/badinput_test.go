package test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	gziprpc "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	"serval/internal/testkit"
	"serval/wire/inference"
)

// bodyLimit is the servers' max_body in these tests.
const bodyLimit = 8 << 20

func x(shape, datatype, data string) string {
	return fmt.Sprintf(`{"inputs":[{"name":"x","shape":%s,"datatype":"%s","data":%s}]}`, shape, datatype, data)
}

func withBinary(jsonPart, data string) (string, []string) {
	return jsonPart + data, []string{"Inference-Header-Content-Length", fmt.Sprint(len(jsonPart))}
}

func packed(t *testing.T, coding string, size int) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	if coding == "gzip" {
		w, _ = gzip.NewWriterLevel(&b, gzip.BestSpeed)
	} else {
		w, _ = zlib.NewWriterLevel(&b, zlib.BestSpeed)
	}
	blank := bytes.Repeat([]byte(" "), 1<<20)
	for range size >> 20 {
		if _, err := w.Write(blank); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// bad is one request that must be refused, naming the words.
type bad struct {
	name    string
	method  string // default POST
	path    string // default: infer of labelled, which takes x FP32 [n,4]
	body    string
	headers []string
	code    int
	words   []string
}

func badRequests(t *testing.T) []bad {
	const infer = "/v2/models/labelled/infer"
	cut, cutHeaders := withBinary(`{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}]}`, "12345678")
	more, moreHeaders := withBinary(`{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}]}`, "1234567890123456789")
	small, smallHeaders := withBinary(`{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":12}}]}`, "123456789012")
	huge, hugeHeaders := withBinary(`{"inputs":[{"name":"x","shape":[1000000000000,4],"datatype":"FP32","parameters":{"binary_data_size":16}}]}`, "1234567890123456")
	text, textHeaders := withBinary(`{"inputs":[{"name":"a","shape":[1,1],"datatype":"BYTES","parameters":{"binary_data_size":8}},{"name":"b","shape":[1,1],"datatype":"BYTES","data":["b"]}]}`, "\xff\xff\xff\x7fabcd")
	return []bad{
		{name: "unknown model", path: "/v2/models/nobody/infer", body: row, code: 404, words: []string{"'nobody'"}},
		{name: "unknown version", path: "/v2/models/labelled/versions/7/infer", body: row, code: 404, words: []string{"'labelled:7'", "version"}},
		{name: "wrong name", path: infer, body: strings.Replace(row, `"x"`, `"z"`, 1), code: 400, words: []string{"'z'", "labelled", "'x' FP32 [n,4]"}},
		{name: "no inputs", path: infer, body: `{"inputs":[]}`, code: 400, words: []string{"'x'", "missing"}},
		{name: "nothing", path: infer, body: ``, code: 400, words: []string{"empty", "inputs"}},
		{name: "wrong dtype", path: infer, body: x("[1,4]", "INT64", "[1,2,3,4]"), code: 400, words: []string{"'x'", "FP32", "INT64"}},
		{name: "unknown dtype", path: infer, body: x("[1,4]", "FLOAT", "[1,2,3,4]"), code: 400, words: []string{"FLOAT", "FP32"}},
		{name: "wrong shape", path: infer, body: x("[1,5]", "FP32", "[1,2,3,4,5]"), code: 400, words: []string{"'x'", "[n,4]", "[1,5]"}},
		{name: "wrong rank", path: infer, body: x("[4]", "FP32", "[1,2,3,4]"), code: 400, words: []string{"'x'", "[n,4]", "[4]"}},
		{name: "negative shape", path: infer, body: x("[-1,4]", "FP32", "[1,2,3,4]"), code: 400, words: []string{"shape[0]", "whole number"}},
		{name: "too few values", path: infer, body: x("[1,4]", "FP32", "[1,2,3]"), code: 400, words: []string{"'x'", "4", "3"}},
		{name: "too many values", path: infer, body: x("[1,4]", "FP32", "[1,2,3,4,5]"), code: 400, words: []string{"'x'", "4"}},
		{name: "NaN in JSON", path: infer, body: x("[1,4]", "FP32", "[1,NaN,3,4]"), code: 400, words: []string{"'x'", "data[1]", "NaN", "binary"}},
		{name: "text for a number", path: infer, body: x("[1,4]", "FP32", `[1,"two",3,4]`), code: 400, words: []string{"'x'", "data[1]", "two"}},
		{name: "a number too large", path: infer, body: x("[1,4]", "FP32", `[1,1e39,3,4]`), code: 400, words: []string{"'x'", "data[1]", "1e39"}},
		{name: "a fraction for an integer", path: "/v2/models/add_int32/infer", body: x("[1,1]", "INT32", `[1.5]`), code: 400, words: []string{"'x'", "data[0]", "1.5", "INT32"}},
		{name: "an integer too large", path: "/v2/models/add_int32/infer", body: x("[1,1]", "INT32", `[2147483648]`), code: 400, words: []string{"'x'", "data[0]", "INT32"}},
		{name: "FP16 as JSON", path: "/v2/models/add_fp16/infer", body: x("[1,1]", "FP16", `[1]`), code: 400, words: []string{"'x'", "FP16", "binary"}},
		{name: "truncated binary", path: infer, body: cut, headers: cutHeaders, code: 400, words: []string{"'x'", "16", "8"}},
		{name: "left over binary", path: infer, body: more, headers: moreHeaders, code: 400, words: []string{"3 bytes", "left over"}},
		{name: "binary smaller than its shape", path: infer, body: small, headers: smallHeaders, code: 400, words: []string{"'x'", "[1,4]", "12", "16"}},
		{name: "header length beyond the body", path: infer, body: row, headers: []string{"Inference-Header-Content-Length", "100000"}, code: 400, words: []string{"Inference-Header-Content-Length", "100000", fmt.Sprint(len(row))}},
		{name: "header length inside the JSON", path: infer, body: row, headers: []string{"Inference-Header-Content-Length", "20"}, code: 400, words: []string{"JSON"}},
		{name: "header length that is no number", path: infer, body: row, headers: []string{"Inference-Header-Content-Length", "-5"}, code: 400, words: []string{"Inference-Header-Content-Length", "-5"}},
		{name: "header length that overflows", path: infer, body: row, headers: []string{"Inference-Header-Content-Length", "99999999999999999999"}, code: 400, words: []string{"Inference-Header-Content-Length"}},
		{name: "a string that is longer than its data", path: "/v2/models/concat/infer", body: text, headers: textHeaders, code: 400, words: []string{"'a'"}},
		{name: "a huge shape", path: "/v2/models/mlp/infer", body: x("[1000000000000,30]", "FP32", "[1,2]"), code: 400, words: []string{"'x'"}},
		{name: "a huge shape, binary", path: infer, body: huge, headers: hugeHeaders, code: 400, words: []string{"'x'", "1000000000000"}},
		{name: "a shape that overflows", path: infer, body: x("[4611686018427387904,4]", "FP32", "[]"), code: 400, words: []string{"'x'"}},
		{name: "deep JSON", path: infer, body: strings.Repeat("[", 100_000), code: 400, words: []string{"the request"}},
		{name: "deep JSON in data", path: infer, body: x("[1,4]", "FP32", strings.Repeat("[", 100_000)), code: 400, words: []string{"'x'"}},
		{name: "deep JSON in a field that is skipped", path: infer, body: `{"extra":` + strings.Repeat(`{"a":`, 100_000), code: 400, words: []string{"deep"}},
		{name: "not JSON", path: infer, body: "inputs=1", code: 400, words: []string{"the request"}},
		{name: "JSON cut off", path: infer, body: row[:len(row)-5], code: 400, words: []string{"end"}},
		{name: "not UTF-8", path: "/v2/models/zipmap_string/infer", body: "{\"inputs\":[{\"name\":\"x\xff\",\"shape\":[1,4],\"datatype\":\"FP32\",\"data\":[1,2,3,4]}]}", code: 400, words: []string{"unexpected input", "'x' FP32"}},
		{name: "twice the same input", path: infer, body: `{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]},{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}`, code: 400, words: []string{"'x'", "twice"}},
		{name: "unknown output", path: infer, body: row[:len(row)-1] + `,"outputs":[{"name":"scores"}]}`, code: 400, words: []string{"'scores'", "'y' FP32"}},
		{name: "wrong parameter", path: infer, body: row[:len(row)-1] + `,"parameters":{"priority":"high"}}`, code: 400, words: []string{"parameters.priority", "whole number"}},
		{name: "an index out of bounds", path: "/v2/models/gather/infer", body: x("[1]", "INT64", "[99]"), code: 400, words: []string{"99"}},
		{name: "rows that differ", path: "/v2/models/concat/infer", body: `{"inputs":[{"name":"a","shape":[1,1],"datatype":"BYTES","data":["a"]},{"name":"b","shape":[2,1],"datatype":"BYTES","data":["b","c"]}]}`, code: 400, words: []string{"'b'", "'a'", "rows"}},
		{name: "gzip bomb", path: infer, body: packed(t, "gzip", 64<<20), headers: []string{"Content-Encoding", "gzip"}, code: 413, words: []string{fmt.Sprint(bodyLimit)}},
		{name: "deflate bomb", path: infer, body: packed(t, "deflate", 64<<20), headers: []string{"Content-Encoding", "deflate"}, code: 413, words: []string{fmt.Sprint(bodyLimit)}},
		{name: "not gzip", path: infer, body: row, headers: []string{"Content-Encoding", "gzip"}, code: 400, words: []string{"gzip"}},
		{name: "unknown coding", path: infer, body: row, headers: []string{"Content-Encoding", "br"}, code: 400, words: []string{"br", "gzip"}},
		{name: "too large", path: infer, body: strings.Repeat(" ", bodyLimit+1), code: 413, words: []string{fmt.Sprint(bodyLimit), "limit"}},
		{name: "bad id", path: infer, body: row[:len(row)-1] + `,"id":"two\nlines"}`, code: 400, words: []string{"id"}},
		{name: "unknown route", method: "GET", path: "/v3/models", code: 404, words: []string{"GET", "/v3/models", "/v2"}},
		{name: "unknown method", method: "DELETE", path: "/v2/models/labelled", code: 405, words: []string{"DELETE", "GET", "/v2/models/labelled"}},
		{name: "GET infer", method: "GET", path: infer, code: 405, words: []string{"POST"}},
		{name: "generate of a model that does not", path: "/v2/models/labelled/generate", body: `{"text_input":"hello"}`, code: 501, words: []string{"not a generative model"}},
		{name: "load of nothing", path: "/v2/repository/models/nobody/load", code: 404, words: []string{"'nobody'", "labelled"}},
		{name: "load with bytes", path: "/v2/repository/models/mlp/load", body: `{"parameters":{"file:1/model.onnx":"AAAA"}}`, code: 501, words: []string{"file:1/model.onnx"}},
		{name: "load with a wrong configuration", path: "/v2/repository/models/mlp/load", body: `{"parameters":{"config":"{\"max_batch_size\":\"many\"}"}}`, code: 400, words: []string{"'config'", "many"}},
		{name: "load from outside the folder", path: "/v2/repository/models/..%2f..%2fetc/load", code: 404, words: []string{"etc"}},
		{name: "unknown trace setting", path: "/v2/trace/setting", body: `{"trace_colour":"red"}`, code: 400, words: []string{"trace_colour"}},
		{name: "unknown log setting", path: "/v2/logging", body: `{"log_colour":true}`, code: 400, words: []string{"log_colour"}},
		{name: "shared memory without a key", path: "/v2/systemsharedmemory/region/r/register", body: `{"byte_size":8}`, code: 400, words: []string{"key"}},
		{name: "an input in a region that is not there", path: infer, body: `{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"shared_memory_region":"r","shared_memory_byte_size":16}}]}`, code: 404, words: []string{"'x'", "'r'"}},
		{name: "v1 without instances", path: "/v1/models/labelled:predict", body: `{"rows":[]}`, code: 400, words: []string{"instances", "inputs"}},
		{name: "v1 wrong row", path: "/v1/models/labelled:predict", body: `{"instances":[[1,2,3]]}`, code: 400, words: []string{"'x'", "[n,4]"}},
		{name: "v1 ragged rows", path: "/v1/models/labelled:predict", body: `{"instances":[[1,2,3,4],[1,2]]}`, code: 400, words: []string{"'x'"}},
		{name: "v1 unknown model", path: "/v1/models/nobody:predict", body: `{"instances":[[1]]}`, code: 404, words: []string{"'nobody'"}},
		{name: "v1 unknown verb", path: "/v1/models/labelled:guess", body: `{}`, code: 404, words: []string{":guess", ":predict"}},
	}
}

// TestBadInput sends what must be refused, over REST and gRPC, to one server: each is refused with a reason that names what
// is wrong, and the server is as well afterwards as before.
func TestBadInput(t *testing.T) {
	t.Parallel()
	conf := t.TempDir() + "/serval.yaml"
	write(t, conf, fmt.Sprintf("limits: {max_body: %dB}\n", bodyLimit))
	s := serve(t, "--config", conf)
	good := func(t *testing.T) {
		t.Helper()
		ask(t, "POST", s.URL("/v2/models/labelled/infer"), row).want(t, 200, `[1.0,2.0,3.0,4.0]`)
	}
	for range 100 {
		good(t)
	}
	before := s.RSS()
	for _, b := range badRequests(t) {
		t.Run(b.name, func(t *testing.T) {
			method := b.method
			if method == "" {
				method = "POST"
			}
			ask(t, method, s.URL(b.path), b.body, b.headers...).wantError(t, b.code, b.words...)
		})
	}
	t.Run("grpc", func(t *testing.T) { badCalls(t, s) })
	t.Run("raw HTTP", func(t *testing.T) { badBytes(t, s) })
	good(t)
	if ready := ask(t, "GET", s.URL("/v2/health/ready"), ""); ready.code != 200 {
		t.Errorf("not ready: %s\n%s", ready.body, ask(t, "POST", s.URL("/v2/repository/index"), "").body)
	}
	if grown := s.RSS() - before; grown > 300<<20 { // the race detector's own memory is most of it, and more so on a busy machine
		t.Errorf("the server grew by %d MiB", grown>>20)
	}
	if strings.Contains(s.Log(), "panic") {
		t.Errorf("a panic in the log")
	}
}

func inferRequest(model string, t *inference.ModelInferRequest_InferInputTensor, raw ...[]byte) *inference.ModelInferRequest {
	return &inference.ModelInferRequest{ModelName: model, Inputs: []*inference.ModelInferRequest_InferInputTensor{t}, RawInputContents: raw}
}

func tensor(name, datatype string, shape ...int64) *inference.ModelInferRequest_InferInputTensor {
	return &inference.ModelInferRequest_InferInputTensor{Name: name, Datatype: datatype, Shape: shape}
}

func fp32(name string, shape []int64, values ...float32) *inference.ModelInferRequest_InferInputTensor {
	t := tensor(name, "FP32", shape...)
	t.Contents = &inference.InferTensorContents{Fp32Contents: values}
	return t
}

// badCalls sends what must be refused as a unary call and in a stream, and messages that are too large.
func badCalls(t *testing.T, s *testkit.Server) {
	client := rpc(t, s)
	one, sixteen := []int64{1, 4}, make([]byte, 16)
	wrongContents := tensor("x", "FP32", 1, 4)
	wrongContents.Contents = &inference.InferTensorContents{Int64Contents: []int64{1, 2, 3, 4}}
	text := tensor("a", "BYTES", 1, 1)
	for _, c := range []struct {
		name  string
		req   *inference.ModelInferRequest
		code  codes.Code
		words []string
	}{
		{"unknown model", inferRequest("nobody", fp32("x", one, 1, 2, 3, 4)), codes.NotFound, []string{"'nobody'"}},
		{"wrong name", inferRequest("labelled", fp32("z", one, 1, 2, 3, 4)), codes.InvalidArgument, []string{"'z'", "'x' FP32 [n,4]"}},
		{"no inputs", &inference.ModelInferRequest{ModelName: "labelled"}, codes.InvalidArgument, []string{"'x'"}},
		{"wrong dtype", inferRequest("labelled", tensor("x", "INT32", 1, 4), sixteen), codes.InvalidArgument, []string{"'x'", "FP32", "INT32"}},
		{"unknown dtype", inferRequest("labelled", tensor("x", "FLOAT", 1, 4), sixteen), codes.InvalidArgument, []string{"FLOAT"}},
		{"wrong shape", inferRequest("labelled", fp32("x", []int64{1, 3}, 1, 2, 3)), codes.InvalidArgument, []string{"'x'", "[n,4]", "[1,3]"}},
		{"negative shape", inferRequest("labelled", fp32("x", []int64{-1, 4}, 1, 2, 3, 4)), codes.InvalidArgument, []string{"'x'", "-1"}},
		{"too few values", inferRequest("labelled", fp32("x", one, 1, 2, 3)), codes.InvalidArgument, []string{"'x'", "3"}},
		{"contents of another type", inferRequest("labelled", wrongContents), codes.InvalidArgument, []string{"'x'", "fp32_contents"}},
		{"truncated", inferRequest("labelled", tensor("x", "FP32", 1, 4), sixteen[:9]), codes.InvalidArgument, []string{"'x'", "9", "16"}},
		{"too many raw contents", inferRequest("labelled", tensor("x", "FP32", 1, 4), sixteen, sixteen), codes.InvalidArgument, []string{"raw_input_contents", "2"}},
		{"raw and typed", inferRequest("labelled", fp32("x", one, 1, 2, 3, 4), sixteen), codes.InvalidArgument, []string{"'x'"}},
		{"no data", inferRequest("labelled", tensor("x", "FP32", 1, 4)), codes.InvalidArgument, []string{"'x'"}},
		{"a huge shape", inferRequest("mlp", fp32("x", []int64{1000000000000, 30}, 1, 2)), codes.InvalidArgument, []string{"'x'"}},
		{"a shape that overflows", inferRequest("labelled", tensor("x", "FP32", 1<<62, 4), nil), codes.InvalidArgument, []string{"'x'"}},
		{"a string that is longer than its data", inferRequest("concat", text, []byte("\xff\xff\xff\x7fabcd")), codes.InvalidArgument, []string{"'a'"}},
		{"unknown output", &inference.ModelInferRequest{ModelName: "labelled", Inputs: inferRequest("", fp32("x", one, 1, 2, 3, 4)).Inputs,
			Outputs: []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "scores"}}}, codes.InvalidArgument, []string{"'scores'", "'y' FP32"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := client.ModelInfer(t.Context(), c.req)
			wantStatus(t, err, c.code, c.words...)
			stream, err := client.ModelStreamInfer(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(c.req); err != nil {
				t.Fatal(err)
			}
			r, err := stream.Recv()
			if err != nil {
				t.Fatalf("in a stream: %v", err)
			}
			for _, w := range c.words {
				if !strings.Contains(r.ErrorMessage, w) {
					t.Errorf("in a stream: no %q in %q", w, r.ErrorMessage)
				}
			}
		})
	}
	_, err := client.ModelInfer(t.Context(), inferRequest("labelled", tensor("x", "FP32", 1, 4), make([]byte, bodyLimit+1)))
	wantStatus(t, err, codes.ResourceExhausted, fmt.Sprint(bodyLimit))
	bomb := inferRequest("labelled", tensor("x", "FP32", 1, 4), make([]byte, 64<<20))
	_, err = client.ModelInfer(t.Context(), bomb, grpc.UseCompressor(gziprpc.Name))
	wantStatus(t, err, codes.ResourceExhausted, fmt.Sprint(bodyLimit))
	_, err = client.RepositoryModelLoad(t.Context(), &inference.RepositoryModelLoadRequest{ModelName: "nobody"})
	wantStatus(t, err, codes.NotFound, "'nobody'")
	_, err = client.ModelMetadata(t.Context(), &inference.ModelMetadataRequest{Name: "mlp", Version: "9"})
	wantStatus(t, err, codes.NotFound, "'mlp:9'", "version")
}

func wantStatus(t *testing.T, err error, code codes.Code, words ...string) {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != code {
		t.Errorf("status %v, want %v: %s", st.Code(), code, clip(st.Message()))
	}
	for _, w := range words {
		if !strings.Contains(st.Message(), w) {
			t.Errorf("status %v: no %q in %q", st.Code(), w, clip(st.Message()))
		}
	}
}

// badBytes sends what Go's client would not send.
func badBytes(t *testing.T, s *testkit.Server) {
	for name, c := range map[string]struct{ request, want string }{
		"not HTTP":               {"hello\r\n\r\n", "HTTP/1.1 400"},
		"a body cut off":         {"POST /v2/models/labelled/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 500\r\n\r\n" + row, "shorter than its Content-Length"},
		"a length that is huge":  {"POST /v2/models/labelled/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9223372036854775807\r\n\r\n", "HTTP/1.1 413"},
		"headers that are large": {"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Big: " + strings.Repeat("x", 200<<10) + "\r\n\r\n", "HTTP/1.1 431"},
		"two lengths":            {"POST /v2/models/labelled/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "HTTP/1.1 400"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.HTTP)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = conn.Write([]byte(c.request)) // the server may have hung up before the end
			_ = conn.(*net.TCPConn).CloseWrite()
			got, _ := io.ReadAll(conn)
			if !strings.Contains(string(got), c.want) {
				t.Errorf("no %q in %q", c.want, clip(string(got)))
			}
		})
	}
}

// TestWrongContentType: clients of the field send all kinds of it, so what the body holds decides.
func TestWrongContentType(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"} {
		ask(t, "POST", s.URL("/v2/models/labelled/infer"), row, "Content-Type", kind).want(t, 200, `"y"`)
	}
	ask(t, "POST", s.URL("/v2/models/labelled/infer"), "<inputs/>", "Content-Type", "application/xml").wantError(t, 400, "the request")
	var m map[string]any
	a := ask(t, "GET", s.URL("/v2/models/labelled"), "")
	if err := json.Unmarshal([]byte(a.body), &m); err != nil || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%v: %s", err, a.body)
	}
}
