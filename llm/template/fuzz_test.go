package template

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzRender parses and renders anything; nothing may panic, and all of it ends.
func FuzzRender(f *testing.F) {
	files, err := filepath.Glob("testdata/*.jinja")
	if err != nil || len(files) == 0 {
		f.Fatal(err, files)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw))
	}
	raw, err := os.ReadFile("testdata/snippets.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range strings.Split(string(raw), "\n----\n") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		tpl, err := Parse(source)
		if err != nil {
			return
		}
		vars := map[string]any{"messages": json.RawMessage(`[{"role": "user", "content": "x"}]`), "s": "text é", "n": 7, "l": []any{3, 1, "x"}, "d": NewDict("a", 1)}
		first, err := tpl.Render(vars)
		if err != nil {
			return
		}
		if second, err := tpl.Render(vars); err == nil && second != first && !strings.Contains(source, "strftime_now") {
			t.Errorf("two renders differ: %q, %q", first, second)
		}
	})
}

// FuzzJSON compares tojson of parsed JSON with what it was made of.
func FuzzJSON(f *testing.F) {
	f.Add(`{"a": [1, 2.5, null, true, "é\u0001\ud83d\ude00"], "b": {}}`)
	f.Add(`-0.0e10`)
	tpl, err := Parse("{{ x|tojson }}")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, source string) {
		out, err := tpl.Render(map[string]any{"x": json.RawMessage(source)})
		if err != nil || strings.Contains(out, "Infinity") {
			return
		}
		again, err := tpl.Render(map[string]any{"x": json.RawMessage(out)})
		if err != nil || again != out {
			t.Errorf("%q became %q, then %q (%v)", source, out, again, err)
		}
	})
}
