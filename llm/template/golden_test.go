package template

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"
)

// other names a folder like testdata, with templates of models that are not ours to commit.
var other = flag.String("golden", "", "compare the templates of this folder too; testdata/golden.py makes its golden.json")

func clock() time.Time { return time.Date(2026, 7, 4, 9, 5, 3, 0, time.UTC) }

// TestGolden compares with what jinja2 made of the same templates and conversations.
func TestGolden(t *testing.T) {
	folders := []string{"testdata"}
	if *other != "" {
		folders = append(folders, *other)
	}
	for _, folder := range folders {
		compareFolder(t, folder)
	}
}

func compareFolder(t *testing.T, folder string) {
	golden := map[string]map[string]json.RawMessage{}
	all := map[string]json.RawMessage{}
	read(t, filepath.Join(folder, "golden.json"), &all)
	for name, raw := range all {
		if name == "snippets.txt" {
			continue
		}
		var of map[string]json.RawMessage
		if err := json.Unmarshal(raw, &of); err != nil {
			t.Fatal(err)
		}
		golden[name] = of
	}
	cases := map[string]map[string]json.RawMessage{}
	file := filepath.Join(folder, "cases.json")
	if _, err := os.Stat(file); err != nil {
		file = "testdata/cases.json"
	}
	read(t, file, &cases)
	equal, refused, count := 0, 0, 0
	var names []string
	for name := range golden {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		source, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		tpl, parseErr := Parse(string(source))
		for c, want := range golden[name] {
			vars := map[string]any{}
			for k, v := range cases[c] {
				vars[k] = v
			}
			out, err := "", parseErr
			if err == nil {
				tpl.Now = clock
				out, err = tpl.Render(vars)
			}
			count++
			var text string
			switch fails := json.Unmarshal(want, &text) != nil; {
			case fails && err != nil:
				refused++
			case fails:
				t.Errorf("%s, %s: jinja2 refuses it (%s), Serval makes %q", name, c, want, out)
			case err != nil:
				t.Errorf("%s, %s: %v", name, c, err)
			case out != text:
				i := 0
				for i < len(out) && i < len(text) && out[i] == text[i] {
					i++
				}
				from := max(0, i-60)
				t.Errorf("%s, %s: differs at byte %d:\n got %q\nwant %q", name, c, i, out[from:min(len(out), i+60)], text[from:min(len(text), i+60)])
			default:
				equal++
			}
		}
	}
	t.Logf("%s: %d templates, %d renders: %d outputs equal, %d refused by both", folder, len(golden), count, equal, refused)
	if len(golden) < 3 {
		t.Errorf("%s has only %d templates", folder, len(golden))
	}
}

// TestSnippets compares small templates, each for a corner of the language or of Python's values.
func TestSnippets(t *testing.T) {
	var golden map[string]json.RawMessage
	read(t, "testdata/golden.json", &golden)
	var want []json.RawMessage
	if err := json.Unmarshal(golden["snippets.txt"], &want); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("testdata/snippets.txt")
	if err != nil {
		t.Fatal(err)
	}
	snippets := strings.Split(string(raw), "\n----\n")
	if len(snippets) != len(want) || len(snippets) < 100 {
		t.Fatalf("%d snippets and %d outputs: run testdata/golden.py", len(snippets), len(want))
	}
	for i, source := range snippets {
		out, err := "", error(nil)
		tpl, err := Parse(source)
		if err == nil {
			tpl.Now = clock
			out, err = tpl.Render(snippetVars(t))
		}
		var text string
		switch fails := json.Unmarshal(want[i], &text) != nil; {
		case fails && err == nil:
			t.Errorf("%s\njinja2 refuses it (%s), Serval makes %q", source, want[i], out)
		case !fails && err != nil:
			t.Errorf("%s\n%v", source, err)
		case !fails && out != text:
			t.Errorf("%s\n got %q\nwant %q", source, out, text)
		case fails:
			t.Logf("%s\n    %v\n    %s", source, err, want[i])
		}
	}
}

// snippetVars are those of golden.py.
func snippetVars(t *testing.T) map[string]any {
	var vars map[string]json.RawMessage
	raw := `{"s": "Hello, Wörld", "n": 7, "f": 2.5, "yes": true, "nil": null, "l": [3, 1, 2], "words": ["b", "A", "c", "a"],
		"d": {"b": 1, "a": [1, 2.0, null, true, "x'y"], "items": 5, "c d": {"k": "v"}},
		"people": [{"name": "Ann", "age": 31, "city": "Bern"}, {"name": "bob", "age": 25, "city": "bern"},
			{"name": "Cid", "age": 31, "tags": ["x", "y"], "city": "Uri"}, {"name": "dan", "age": null}],
		"big": 123456789012345678901234567890, "html": "<a href='x'>\"T&J\"</a>", "lines": "one\n\ntwo\r\nthree\n"}`
	if err := json.Unmarshal([]byte(raw), &vars); err != nil {
		t.Fatal(err)
	}
	made := map[string]any{}
	for k, v := range vars {
		made[k] = v
	}
	return made
}

func read(t *testing.T, file string, v any) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err == nil {
		d := json.NewDecoder(strings.NewReader(string(raw)))
		err = d.Decode(v)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
