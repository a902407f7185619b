package test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval/internal/testkit"
)

// treeWant is a fixture's rows and what its library answers, as engine/tree/testdata/want.py writes them.
type treeWant struct {
	Rows       int
	X          treeArray
	Categories [][]string
	Outputs    map[string]treeArray
	Labels     []string
}

type treeArray struct {
	DType   string
	Columns int
	Data    string
}

// row is row i of an array of float32 or float64.
func (a treeArray) row(t *testing.T, i int) []float64 {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(a.Data)
	if err != nil {
		t.Fatal(err)
	}
	var out []float64
	for c := range a.Columns {
		at := i*a.Columns + c
		if a.DType == "f4" {
			out = append(out, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*at:]))))
		} else {
			out = append(out, math.Float64frombits(binary.LittleEndian.Uint64(raw[8*at:])))
		}
	}
	return out
}

// TestTrees serves models of XGBoost, LightGBM and CatBoost from folders without any configuration, and one with options.
func TestTrees(t *testing.T) {
	t.Parallel()
	root, fixtures := t.TempDir(), filepath.Join(testkit.Root(), "engine", "tree", "testdata")
	for fixture, file := range map[string]string{
		"xgb_reg_ubj": "model.ubj", "xgb_multi_softprob": "model.json", "lgb_binary": "model.txt", "cat_onehot": "model.json", "cat_logloss_text": "model.json", "refused_ctr": "model.json",
	} {
		copyFile(t, filepath.Join(fixtures, fixture+filepath.Ext(file)), filepath.Join(root, fixture, "1", file))
	}
	copyFile(t, filepath.Join(fixtures, "xgb_reg_ubj.ubj"), filepath.Join(root, "all_outputs", "1", "model.ubj"))
	write(t, filepath.Join(root, "all_outputs", "model.yaml"), "options: {output: \"prediction,margin,leaf\", input: fp64}\n")
	copyFile(t, filepath.Join(fixtures, "lgb_binary.txt"), filepath.Join(root, "wrong_option", "1", "model.txt"))
	write(t, filepath.Join(root, "wrong_option", "model.yaml"), "options: {output: class}\n")
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root, Unset: true})
	s.Await("the end of loading", func() bool { return strings.Contains(s.Log(), "not ready: some models failed") })

	for _, name := range []string{"xgb_reg_ubj", "xgb_multi_softprob", "lgb_binary", "cat_onehot"} {
		raw, err := os.ReadFile(filepath.Join(fixtures, name+".want"))
		if err != nil {
			t.Fatal(err)
		}
		var w treeWant
		if err := json.Unmarshal(raw, &w); err != nil {
			t.Fatal(err)
		}
		asked := 0
		for i := range w.Rows {
			x := w.X.row(t, i)
			text, err := json.Marshal(x)
			if err != nil { // JSON has no NaN
				continue
			}
			asked++
			inputs := fmt.Sprintf(`{"name":"input__0","datatype":"FP32","shape":[1,%d],"data":%s}`, len(x), text)
			if w.Categories != nil {
				words, _ := json.Marshal(w.Categories[i])
				inputs += fmt.Sprintf(`,{"name":"categories__0","datatype":"BYTES","shape":[1,%d],"data":%s}`, len(w.Categories[i]), words)
			}
			got := treeAnswer(t, s, name, inputs)["output__0"]
			want := w.Outputs["prediction"].row(t, i)
			if len(got) != len(want) {
				t.Fatalf("%s: %v, want %v", name, got, want)
			}
			for j := range want {
				if math.Abs(got[j]-want[j]) > 1e-6*math.Abs(want[j]) {
					t.Errorf("%s, row %d: %v, want %v", name, i, got, want)
				}
			}
		}
		if asked == 0 {
			t.Errorf("%s: no row can be written as JSON", name)
		}
	}
	all := treeAnswer(t, s, "all_outputs", `{"name":"input__0","datatype":"FP64","shape":[1,6],"data":[0,0,0,0,0,0]}`)
	if len(all) != 3 || len(all["leaf"]) != 6 || all["margin"][0] != all["output__0"][0] {
		t.Errorf("all outputs: %v", all)
	}
	ask(t, "POST", s.URL("/v2/models/cat_logloss_text/infer"), `{"inputs":[{"name":"input__0","datatype":"FP32","shape":[2,5],"data":[0,0,0,0,0,1,1,1,1,1]}]}`).
		want(t, 200, `"datatype":"BYTES"`, `"shape":[2,1]`)
	ask(t, "GET", s.URL("/v2/models/lgb_binary"), "").want(t, 200, `"platform":"serval_tree"`)
	got := index(t, s)
	for model, want := range map[string]string{"refused_ctr 1": "CTR", "wrong_option 1": "options.output"} {
		if m := got[model]; m.State != "UNAVAILABLE" || !strings.Contains(m.Reason, want) {
			t.Errorf("%s: %+v, want %q", model, m, want)
		}
	}
}

// treeAnswer asks a model; it returns the numbers of each output.
func treeAnswer(t *testing.T, s *testkit.Server, model, inputs string) map[string][]float64 {
	t.Helper()
	a := ask(t, "POST", s.URL("/v2/models/"+model+"/infer"), `{"inputs":[`+inputs+`]}`)
	a.want(t, 200)
	var body struct {
		Outputs []struct {
			Name string
			Data []float64
		}
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("%v: %s", err, clip(a.body))
	}
	out := map[string][]float64{}
	for _, o := range body.Outputs {
		out[o.Name] = o.Data
	}
	return out
}
