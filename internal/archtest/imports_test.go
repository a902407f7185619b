package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
)

// rule says what the packages at or below a folder may import of this module. "." is the root package, a name means that
// package alone, "name/..." it and all below, "shared" the shared parts, "parent" the importing package's own parent. The
// longest matching folder decides.
type rule struct {
	folder string
	may    []string
}

var rules = []rule{
	{".", nil},
	{"internal/archtest", nil},
	{"internal/testkit", []string{"."}},
	{"internal/jsontensor", []string{"."}},
	{"internal/column", []string{".", "batch", "client/element", "internal/jsontensor"}}, // of the formats below batch
	{"internal/column/columntest", []string{".", "batch", "internal/testkit"}},
	{"internal/spell", nil},
	{"internal/webhook", []string{"."}},
	{"llm", []string{".", "llm/..."}},
	{"wire", []string{"."}},
	{"wire/triton", []string{".", "wire/inference"}},
	{"wire/mlserver", []string{"."}},
	{"native", []string{"."}},

	{"protocol", []string{".", "shared"}},
	{"protocol/*", []string{".", "shared", "parent", "protocol/protocoltest"}},
	{"protocol/all", []string{".", "shared", "parent", "protocol/..."}},
	{"engine", []string{".", "shared"}},
	{"engine/*", []string{".", "shared", "parent"}},
	{"engine/gguf", []string{".", "shared", "parent", "engine/gguf/kernel", "engine/gguf/packed"}},
	{"engine/gguf/packed", nil},
	{"engine/gguf/kernel", []string{"llm/gguf"}}, // and its generator, which is not built in
	{"engine/all", []string{".", "shared", "parent", "engine/..."}},
	{"stream", []string{".", "shared"}},
	{"stream/*", []string{".", "shared", "parent"}},
	{"stream/files", []string{".", "shared", "parent", "batch", "batch/parquet", "store/blob"}}, // whose files batch jobs read
	{"stream/streamtest/feed", []string{".", "stream", "stream/kafka", "stream/nats", "stream/streamtest", "internal/testkit"}},
	{"stream/all", []string{".", "shared", "parent", "stream/..."}},
	{"task", []string{".", "shared"}},

	{"gateway", []string{"."}},
	{"route", []string{"."}},
	{"pipeline", []string{"."}},
	{"batch", []string{".", "shared", "client/element"}}, // texts are numbers by the same rules as in predict
	{"batch/*", []string{".", "shared", "parent", "client/element"}},
	{"batch/requests", []string{".", "shared", "parent", "protocol"}}, // its words are the protocol's
	{"batch/all", []string{".", "shared", "parent", "batch/..."}},
	{"monitor", []string{"."}},
	{"registry", []string{".", "internal/spell"}},
	{"registry/source", []string{"."}},
	{"tenant", []string{"."}},
	{"telemetry", []string{"."}},
	{"config", []string{".", "internal/spell"}},
	{"client", []string{".", "client/..."}},
	{"starter", []string{".", "native"}},
	{"store", nil},
	{"store/blob", []string{".", "batch"}},
	{"store/*", []string{".", "protocol", "batch", "batch/requests", "store/table", "store/storetest", "internal/testkit"}},
	{"console/api", []string{".", "batch"}},
	{"schedule", []string{".", "engine"}},
	{"schedule/tune", []string{".", "engine", "schedule", "schedule/gauge"}},
	{"schedule/gauge", []string{".", "llm/vocab"}},
	{"server", []string{"*"}},

	{"bench/load", []string{".", "wire/..."}},
	{"bench/batch", []string{".", "batch", "batch/parquet", "engine", "engine/tree"}},
	{"bench/bed", nil},
	{"bench/right", []string{".", "bench/bed", "bench/chat", "engine", "engine/gguf", "engine/llama", "llm/...", "native"}},
	{"bench", []string{".", "wire/...", "bench/..."}},
	{"cmd", []string{".", "batch", "batch/all", "batch/postgres", "store/blob", "server", "client", "client/...", "config", "native", "registry/source", "starter", "bench/load", "bench/chat", "engine/all", "llm/convert", "llm/gguf", "llm/quantize", "schedule/tune"}},
	{"test", []string{".", "server", "client", "client/...", "config", "native", "starter", "bench/load", "test/...", "wire/...", "internal/testkit"}},
}

// shared are the parts that plug-ins may use; engines and protocols open libraries through interfaces, not through native.
var shared = []string{"llm/...", "wire/...", "native", "internal/testkit", "internal/jsontensor", "internal/column/...", "internal/webhook"}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestImportRules(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "serval/...")
	out, err := cmd.Output()
	if err != nil {
		var e *exec.ExitError
		if errors.As(err, &e) {
			t.Fatalf("go list: %s", e.Stderr)
		}
		t.Fatal(err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		from := inside(p.ImportPath)
		r, ok := ruleFor(from)
		if !ok {
			t.Errorf("%s: no import rule; add one to internal/archtest with its place in the data path", from)
			continue
		}
		for _, imported := range p.Imports {
			if imported != "serval" && !strings.HasPrefix(imported, "serval/") {
				if std := !strings.Contains(strings.Split(imported, "/")[0], "."); !std && len(r.may) == 0 {
					t.Errorf("%s imports %s; it may import the standard library only", from, imported)
				}
				continue
			}
			if to := inside(imported); !allowed(from, to, r.may) {
				t.Errorf("%s imports %s; it may import %v", from, to, r.may)
			}
		}
	}
	if seen < 10 {
		t.Fatalf("only %d packages listed", seen)
	}
}

func inside(importPath string) string {
	if importPath == "serval" {
		return "."
	}
	return strings.TrimPrefix(importPath, "serval/")
}

func ruleFor(folder string) (rule, bool) {
	var best rule
	found := false
	for _, r := range rules {
		if matches(r.folder, folder) && (!found || len(r.folder) > len(best.folder)) {
			best, found = r, true
		}
	}
	return best, found
}

func matches(pattern, folder string) bool {
	if base, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(folder, base+"/")
	}
	return folder == pattern || pattern != "." && strings.HasPrefix(folder, pattern+"/")
}

func allowed(from, to string, may []string) bool {
	for _, m := range may {
		switch {
		case m == "*" && !strings.HasPrefix(to, "cmd"):
			return true
		case m == "shared" && allowed(from, to, shared):
			return true
		case m == "parent" && to == path.Dir(from):
			return true
		case m == to:
			return true
		}
		if base, ok := strings.CutSuffix(m, "/..."); ok && (to == base || strings.HasPrefix(to, base+"/")) {
			return true
		}
	}
	return false
}
