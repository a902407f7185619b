package test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"serval"
)

// The starter models' right answers; see starter/README.md.
const credit = `applicant  risk  default_probability
Ada        good            0.0166165
Ben        bad              0.923135
Cleo       good             0.440517
Dov        good            0.0343228
Eve        bad             0.616743
`

// columns are a table's words without the spaces between them, since their number follows from the last digits.
func columns(table string) string {
	var out strings.Builder
	for line := range strings.Lines(table) {
		out.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	return out.String()
}

// TestPredict asks the three starter models, through a server and without one, and shows the answers in every form.
func TestPredict(t *testing.T) {
	t.Parallel()
	s := serve(t)
	dir := models(t)
	for mode, flags := range map[string][]string{"server": {"--server", s.URL("")}, "local": {"--local", "--models", dir, "--data", t.TempDir()}} {
		t.Run(mode, func(t *testing.T) {
			ask := func(args ...string) said { return run(t, append(append([]string{"predict"}, args...), flags...)...) }
			applicants := filepath.Join(dir, "credit", "applicants.csv")
			sameTable(t, ask("credit", applicants).want(t, 0).out, credit)

			var people []struct {
				Applicant, Risk string
				Probability     float64 `json:"default_probability"`
			}
			ask("credit", applicants, "-o", "json").into(t, &people)
			if len(people) != 5 || people[1].Applicant != "Ben" || people[1].Risk != "bad" || people[1].Probability < 0.92 || people[1].Probability > 0.93 {
				t.Errorf("as JSON: %+v", people)
			}
			rows, err := csv.NewReader(strings.NewReader(ask("credit", applicants, "-o", "csv").want(t, 0).out)).ReadAll()
			if err != nil || len(rows) != 6 || strings.Join(rows[0], " ") != "applicant risk default_probability" || rows[5][1] != "bad" {
				t.Errorf("as CSV: %v, %v", rows, err)
			}
			sameTable(t, ask("credit", applicants, "--rows", "2").want(t, 0).out, credit)
			if out := ask("credit", applicants, "--want", "risk", "-o", "csv").want(t, 0).out; strings.Contains(out, "probability") {
				t.Errorf("--want risk gives\n%s", out)
			}

			line := filepath.Join(dir, "ocr", "line.png")
			ask("ocr", line).want(t, 0, "Serval reads this line: 42 cats, 7 dogs.")
			var texts []struct {
				Text       string
				Confidence float64
			}
			ask("ocr", line, "-o", "json").into(t, &texts)
			if len(texts) != 1 || texts[0].Text != "Serval reads this line: 42 cats, 7 dogs." || texts[0].Confidence < 0.99 {
				t.Errorf("ocr: %+v", texts)
			}

			mystery := filepath.Join(dir, "file-types", "mystery")
			var labels []struct {
				Label string
				Score float64
			}
			ask("file-types", mystery, "-o", "json").into(t, &labels)
			if len(labels) != 3 || labels[0].Label != "rust" || labels[0].Score < 0.99 {
				t.Errorf("file-types: %+v", labels)
			}
			ask("file-types", mystery, filepath.Join(dir, "ocr", "line.png")).want(t, 0, "mystery", "rust", "line.png", "png")
		})
	}
	t.Run("mistakes", func(t *testing.T) {
		at := []string{"--server", s.HTTP}
		on := func(args ...string) said { return run(t, append(append([]string{"predict"}, args...), at...)...) }
		on("nobody", filepath.Join(dir, "ocr", "line.png")).want(t, 1, "'nobody'")
		on("credit", "nothing.csv").want(t, 1, "nothing.csv")
		wrong := filepath.Join(t.TempDir(), "wrong.csv")
		write(t, wrong, "applicant,colour\nAda,red\n")
		on("credit", wrong).want(t, 1, "wrong.csv")
		on("ocr", wrong).want(t, 1, "wrong.csv")
		run(t, "predict", "nobody", wrong, "--local", "--models", dir, "--data", t.TempDir()).want(t, 1, "'nobody'", "credit")
		on("credit", filepath.Join(dir, "credit", "applicants.csv"), "-o", "xml").want(t, 1, "xml", "json")
	})
}

// sameTable compares tables to five digits: the last ones depend on the rows that shared a batch.
func sameTable(t *testing.T, got, want string) {
	t.Helper()
	g, w := strings.Fields(got), strings.Fields(want)
	for i := range min(len(g), len(w)) {
		if len(w[i]) > 7 && strings.HasPrefix(w[i], "0.") && strings.HasPrefix(g[i], w[i][:6]) {
			g[i] = w[i]
		}
	}
	if strings.Join(g, " ") != strings.Join(w, " ") {
		t.Errorf("got\n%swant\n%s", columns(got), columns(want))
	}
}

// TestPredictFiles asks one model about the same two rows in every kind of file.
func TestPredictFiles(t *testing.T) {
	t.Parallel()
	s := serve(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		write(t, path, text)
		return path
	}
	values := serval.Tensor{}
	for _, v := range []float32{1, 2, 3, 4, 5.5, 6, 7, -8} {
		values.Data = appendFloat(values.Data, v)
	}
	header := "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }"
	header += strings.Repeat(" ", 118-1-len(header)) + "\n"
	npy := "\x93NUMPY\x01\x00" + string([]byte{118, 0}) + header + string(values.Data)
	for _, f := range []string{
		file("rows.json", `{"inputs":[{"name":"x","shape":[2,4],"datatype":"FP32","data":[1,2,3,4,5.5,6,7,-8]}]}`),
		file("named.json", `[{"x":[1,2,3,4]},{"x":[5.5,6,7,-8]}]`),
		file("rows.npy", npy),
		file("rows.csv", "a,b,c,d\n1,2,3,4\n5.5,6,7,-8\n"),
	} {
		t.Run(filepath.Base(f), func(t *testing.T) {
			out := run(t, "predict", "labelled", f, "-o", "json", "--server", s.HTTP).want(t, 0).out
			var rows []map[string]any
			if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 2 {
				t.Fatalf("%v: %s", err, out)
			}
			flat := fmt.Sprint(rows)
			for _, v := range []string{"1", "2", "3", "4", "5.5", "6", "7", "-8"} {
				if !strings.Contains(flat, v) {
					t.Errorf("no %s in %s", v, flat)
				}
			}
		})
	}
}
