package test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"serval/internal/testkit"
	"serval/wire/inference"
)

// answer is what came back of an HTTP request.
type answer struct {
	code   int
	body   string
	header http.Header
}

// ask sends one HTTP request; headers are name, value, name, value, ….
func ask(t testing.TB, method, url, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer r.Body.Close()
	got, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return answer{r.StatusCode, string(got), r.Header}
}

// want checks the status and that the body holds all words.
func (a answer) want(t testing.TB, code int, words ...string) {
	t.Helper()
	if a.code != code {
		t.Errorf("status %d, want %d: %s", a.code, code, clip(a.body))
	}
	for _, w := range words {
		if !strings.Contains(a.body, w) {
			t.Errorf("status %d: no %q in %s", a.code, w, clip(a.body))
		}
	}
}

// wantError is want for a refusal: the body must be {"error": text}, and the text hold the words.
func (a answer) wantError(t testing.TB, code int, words ...string) {
	t.Helper()
	var e map[string]string
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || e["error"] == "" || len(e) != 1 {
		t.Errorf("status %d: not an error as the protocol writes it: %s", a.code, clip(a.body))
	}
	answer{a.code, e["error"], a.header}.want(t, code, words...)
}

func clip(s string) string {
	if len(s) > 500 {
		return s[:500] + "…"
	}
	return s
}

// rpc connects to the gRPC port.
func rpc(t testing.TB, s *testkit.Server) inference.GRPCInferenceServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(s.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return inference.NewGRPCInferenceServiceClient(conn)
}

// row is an infer request with one row for a model that takes x FP32 [n,4].
const row = `{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}`
