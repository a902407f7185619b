package test

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/metadata"

	"serval/internal/testkit"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ask(t, "POST", s.URL("/v2/models/labelled/infer"), `{"inputs":[{"name":"x","shape":[2,4],"datatype":"FP32","data":[1,2,3,4,5,6,7,8]}]}`).want(t, 200)
	ask(t, "POST", s.URL("/v2/models/labelled/infer"), row).want(t, 200)
	ask(t, "POST", s.URL("/v2/models/labelled/infer"), strings.Replace(row, "[1,4]", "[4,1]", 1)).want(t, 400)
	if _, err := rpc(t, s).ModelInfer(t.Context(), inferRequest("labelled", fp32("x", []int64{1, 4}, 1, 2, 3, 4))); err != nil {
		t.Fatal(err)
	}
	a := ask(t, "GET", "http://"+s.Admin+"/metrics", "")
	a.want(t, 200, "serval_build_info", "go_goroutines", "process_resident_memory_bytes")
	for name, value := range map[string]string{
		"nv_inference_request_success":           "3",
		"nv_inference_request_failure":           "0",
		"nv_inference_count":                     "4",
		"nv_inference_exec_count":                "3",
		"nv_inference_pending_request_count":     "0",
		"nv_inference_request_duration_us":       `\d+`,
		"nv_inference_queue_duration_us":         `\d+`,
		"nv_inference_compute_infer_duration_us": `\d+`,
		"serval_model_ready":                     "1",
		"serval_model_inferences_total":          "4",
		"serval_model_batch_closed_total":        "3",
		"serval_model_memory_bytes":              `\d+`,
		"serval_request_duration_seconds_count":  `\d+`,
	} {
		if !regexp.MustCompile(`(?m)^` + name + `\{[^}]*model="labelled"[^}]*\} ` + value + `$`).MatchString(a.body) {
			t.Errorf("no %s of labelled that is %s in\n%s", name, value, grep(a.body, name))
		}
	}
	ask(t, "GET", "http://"+s.Admin+"/debug/pprof/goroutine?debug=1", "").want(t, 200, "goroutine profile")
	ask(t, "GET", s.URL("/metrics"), "").want(t, 404) // on the admin port alone
	ask(t, "GET", s.URL("/debug/pprof/"), "").want(t, 404)
}

func grep(text, word string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			out.WriteString(line)
		}
	}
	return out.String()
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	s := serve(t)
	url := s.URL("/v2/models/labelled/infer")
	a := ask(t, "POST", url, row, "X-Request-Id", "from-the-header")
	if a.want(t, 200); a.header.Get("X-Request-Id") != "from-the-header" {
		t.Errorf("the header's id comes back as %q", a.header.Get("X-Request-Id"))
	}
	a = ask(t, "POST", url, row[:len(row)-1]+`,"id":"in the body"}`)
	if a.want(t, 200, `"id":"in the body"`); a.header.Get("X-Request-Id") != "in the body" {
		t.Errorf("the body's id comes back as %q", a.header.Get("X-Request-Id"))
	}
	one, two := ask(t, "POST", url, row).header.Get("X-Request-Id"), ask(t, "POST", url, row).header.Get("X-Request-Id")
	if one == "" || one == two {
		t.Errorf("made-up ids: %q, %q", one, two)
	}
	a = ask(t, "POST", url, strings.Replace(row, `"x"`, `"z"`, 1), "X-Request-Id", "of-a-failure")
	if a.wantError(t, 400); a.header.Get("X-Request-Id") != "of-a-failure" {
		t.Errorf("a failure's id comes back as %q", a.header.Get("X-Request-Id"))
	}
	a = ask(t, "POST", s.URL("/v1/models/labelled:predict"), `{"instances":[[1,2,3,4]]}`, "X-Request-Id", "v1")
	if a.want(t, 200); a.header.Get("X-Request-Id") != "v1" {
		t.Errorf("v1's id comes back as %q", a.header.Get("X-Request-Id"))
	}
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "access.log")
			conf := filepath.Join(t.TempDir(), "serval.yaml")
			write(t, conf, fmt.Sprintf("log: {format: %s, file: %s}\n", format, file))
			s := testkit.Serve(t, testkit.Options{Race: true, Models: fakes(t), Args: []string{"--config", conf}, Log: file})
			ask(t, "POST", s.URL("/v2/models/labelled/infer"), row, "X-Request-Id", "good-one").want(t, 200)
			ask(t, "POST", s.URL("/v2/models/labelled/infer"), strings.Replace(row, `"x"`, "\"z\\n\"", 1), "X-Request-Id", "bad-one").want(t, 400)
			if _, err := rpc(t, s).ModelInfer(metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "grpc-one"),
				inferRequest("labelled", fp32("x", []int64{1, 4}, 1, 2, 3, 4))); err != nil {
				t.Fatal(err)
			}
			s.Await("three lines", func() bool { return strings.Count(s.Log(), "labelled") >= 3 && strings.Contains(s.Log(), "grpc") })
			good, bad := grep(s.Log(), "good-one"), grep(s.Log(), "bad-one")
			if strings.Count(good, "\n") != 1 || strings.Count(bad, "\n") != 1 {
				t.Fatalf("not one line a request:\n%s%s", good, bad)
			}
			if format == "json" {
				var g, b map[string]any
				if json.Unmarshal([]byte(good), &g) != nil || json.Unmarshal([]byte(bad), &b) != nil {
					t.Fatalf("not JSON:\n%s%s", good, bad)
				}
				for _, key := range []string{"time", "id", "tenant", "protocol", "model", "version", "code", "queue_us", "compute_us", "total_us", "batch"} {
					if g[key] == nil {
						t.Errorf("no %s in %s", key, good)
					}
				}
				if g["code"] != "ok" || b["code"] != "invalid_argument" || !strings.Contains(fmt.Sprint(b["error"]), "'z") {
					t.Errorf("%s%s", good, bad)
				}
				return
			}
			for _, word := range []string{"model=labelled", "version=1", "code=ok", "queue_us=", "compute_us=", "total_us=", "protocol=oip-rest", "batch=1"} {
				if !strings.Contains(good, word) {
					t.Errorf("no %s in %s", word, good)
				}
			}
			if !strings.Contains(bad, "code=invalid_argument") {
				t.Error(bad)
			}
		})
	}
}

// fakes is a folder with the model labelled alone, which loads at once.
func fakes(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write(t, filepath.Join(root, "labelled/1/model.fake"), written["labelled/1/model.fake"])
	return root
}

// receiver takes traces as OTLP over HTTP and keeps the messages.
type receiver struct {
	mu       sync.Mutex
	messages bytes.Buffer
	paths    []string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body := io.Reader(req.Body)
	if req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(req.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paths = append(r.paths, req.URL.Path+" "+req.Header.Get("Content-Type")+" "+req.Header.Get("X-Team"))
	_, _ = io.Copy(&r.messages, body)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (r *receiver) has(words ...string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range words {
		if !bytes.Contains(r.messages.Bytes(), []byte(w)) {
			return false
		}
	}
	return true
}

// TestTraces sends traces to a receiver: the spans of a request, under the caller's own trace where it sent one.
func TestTraces(t *testing.T) {
	t.Parallel()
	got := &receiver{}
	collector := httptest.NewServer(got)
	defer collector.Close()
	conf := filepath.Join(t.TempDir(), "serval.yaml")
	write(t, conf, "traces: {endpoint: \""+collector.URL+"\", insecure: true, headers: {x-team: cats}}\n")
	s := testkit.Serve(t, testkit.Options{Race: true, Models: fakes(t), Args: []string{"--config", conf}})
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	ask(t, "POST", s.URL("/v2/models/labelled/infer"), row, "X-Request-Id", "traced-one", "traceparent", "00-"+trace+"-00f067aa0ba902b7-01").want(t, 200)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if _, err := rpc(t, s).ModelInfer(ctx, inferRequest("labelled", fp32("x", []int64{1, 4}, 1, 2, 3, 4))); err != nil {
		t.Fatal(err)
	}
	id, _ := hex.DecodeString(trace)
	id2, _ := hex.DecodeString("5bf92f3577b34da6a3ce929d0e0e4736")
	s.Await("the spans", func() bool {
		return got.has("traced-one", "serval.model.name", "labelled", "request", "queue", "compute", string(id), string(id2))
	})
	got.mu.Lock()
	defer got.mu.Unlock()
	for _, p := range got.paths {
		if p != "/v1/traces application/x-protobuf cats" {
			t.Errorf("traces came to %q", p)
		}
	}
}
