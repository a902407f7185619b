package catalogue

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"serval"
	"serval/protocol"
)

var update = flag.Bool("update", false, "write the golden file anew")

type models struct{}

var loaded = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func (models) List() []serval.ModelInfo {
	ready := func(name, version string) serval.ModelInfo {
		return serval.ModelInfo{Name: name, Version: version, State: serval.StateReady, Loaded: loaded}
	}
	chat := ready("chat", "1")
	chat.Language = &serval.Language{Context: 2048, Generate: true}
	return []serval.ModelInfo{chat, ready("one", "1"), ready("one", "2"), ready("org/two", "1"), {Name: "torn", Version: "1", State: serval.StateUnavailable, Reason: "no engine loads it"}}
}

func (m models) Model(ref serval.Ref) (serval.ModelInfo, error) {
	for _, info := range m.List() {
		if info.Name == ref.Name {
			return info, nil
		}
	}
	return serval.ModelInfo{}, serval.Errorf(serval.NotFound, "there is no model '%s'", ref.Name)
}

func (models) Stats(serval.Ref) (serval.Stats, error) { return serval.Stats{}, nil }
func (models) Ready() bool                            { return true }

// TestGolden plays testdata/catalogue.golden: a title, the request, "=>" with the status, and the answer. Run with -update
// to write the answers anew, and read what changed.
func TestGolden(t *testing.T) {
	const file = "testdata/catalogue.golden"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, route := range New(protocol.Backend{Models: models{}, Version: "v1.2.3"}).Routes() {
		mux.HandleFunc(route.Pattern, route.Serve)
	}
	blocks := strings.Split(string(text), "\n## ")
	var out strings.Builder
	out.WriteString(blocks[0])
	for _, block := range blocks[1:] {
		title, rest, _ := strings.Cut(block, "\n")
		line, want, _ := strings.Cut(rest, "\n=> ")
		words := strings.Fields(line)
		r := httptest.NewRequest(words[0], words[1], nil)
		for _, h := range words[2:] {
			name, value, _ := strings.Cut(h, "=")
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		got := fmt.Sprintf("%d\n%s\n", w.Code, w.Body)
		fmt.Fprintf(&out, "\n## %s\n%s\n=> %s", title, line, got)
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
