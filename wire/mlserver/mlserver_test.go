package mlserver

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"serval"
)

// folder makes a folder with files of those contents.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func settings(t *testing.T, dir, text string) (serval.ModelSettings, error) {
	t.Helper()
	c, err := Read([]byte(text), FileName)
	if err != nil {
		return serval.ModelSettings{}, err
	}
	return c.Settings(dir, FileName)
}

func TestSettings(t *testing.T) {
	classes := `{"learner":{"attributes":{"scikit_learn":"{\"_estimator_type\": \"classifier\"}"}}}`
	dir := folder(t, map[string]string{"model.json": "{}", "sub/model.ubj": "U", "x.bst": "tree", "far.json": strings.Repeat(" ", 1<<20-20) + classes})
	predict := []serval.TensorSettings{{Name: "predict", Source: "output__0"}}
	for text, want := range map[string]serval.ModelSettings{
		`{"implementation":"mlserver_xgboost.XGBoostModel"}`: {File: "model.json", Version: "1", Outputs: predict},
		`{"implementation":"mlserver_xgboost.XGBoostModel","parameters":{"uri":"./sub","version":"v1"},"max_batch_size":8,"max_batch_time":0.5}`: {
			File: "sub/model.ubj", Version: "v1", Outputs: predict, Batching: serval.BatchSettings{Max: 8, MaxDelay: 500 * time.Millisecond}},
		`{"implementation":"mlserver_xgboost.XGBoostModel","parameters":{"uri":"` + dir + `/sub/model.ubj"},"max_batch_size":8}`: {File: "sub/model.ubj", Version: "1", Outputs: predict},
		`{"implementation":"mlserver_lightgbm.LightGBMModel","parameters":{"uri":"file://x.bst","extra":{"a":1},"environment_tarball":"env.tar.gz"},"inputs":[{"name":"in"}],
			"parallel_workers":4,"cache_enabled":true,"colour":"red"}`: {
			File: "x.bst", Version: "1", Outputs: predict, Inputs: []serval.TensorSettings{{Name: "in", Source: "input__0"}},
			Options: map[string]string{"input": "fp64", "output_type": "fp64"},
			Notes: []string{"parallel_workers: instances are threads here, and as many as the cores; set instances in serval.yaml", "cache_enabled: answers are not cached by this version",
				"parameters.environment_path and environment_tarball: the engine needs no Python", "parameters.extra: the runtime does not read it", "colour: is not known, to MLServer neither"}},
		`{"implementation":"mlserver_xgboost.XGBoostModel","parameters":{"uri":"far.json"}}`: {
			File: "far.json", Version: "1", Options: map[string]string{"output": "probability"}, Outputs: []serval.TensorSettings{
				{Name: "predict", Source: "output__0", Class: true}, {Name: "predict_proba", Source: "output__0", OnRequest: true}}},
	} {
		want.Engine, want.Loose = "tree", true
		if got, err := settings(t, dir, text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", text, got, err, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	dir := folder(t, map[string]string{"model.json": "{}"})
	for text, want := range map[string]string{
		``:                             "model-settings.json:1:1: the file ends too early",
		`{"name": 3}`:                  "model-settings.json:1:10: name: cannot be a number",
		"{\n\"inputs\": {}\n}":         "model-settings.json:2:11: inputs: cannot be a object",
		"{\n \"name\": \"ü\", oops\n}": "model-settings.json:2:15: not valid JSON",
		`{"name": "a"} {}`:             "something stands behind the object",
		`null`:                         "must be an object",
		`[]`:                           "cannot be a array",
		strings.Repeat(" ", maxFile+1): "at most",
		`{"implementation":"mlserver_xgboost.XGBoostModel","max_batch_size":-1,"max_batch_time":-1,"parameters":{"uri":"/etc/passwd"}}`: `model-settings.json: parameters.uri: "/etc/passwd" leads out of the model's folder; move the model there` +
			"\nmodel-settings.json: max_batch_size: must be 0 to 2147483647, is -1\nmodel-settings.json: max_batch_time: must be 0 to 3600 seconds, is -1",
		`{"implementation":"alibi.Thing"}`:                                                          "runtimes of one's own",
		`{"implementation":"mlserver_xgboost.XGBoostModel","parameters":{"uri":"gs://b/m"}}`:        "must be a path",
		`{"implementation":"mlserver_lightgbm.LightGBMModel"}`:                                      "none of the usual names model.bst",
		`{"implementation":"mlserver_xgboost.XGBoostModel","parameters":{"uri":"../x/model.json"}}`: "leads out",
	} {
		if _, err := settings(t, dir, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"name":"a","implementation":"mlserver_xgboost.XGBoostModel","parameters":{"uri":"./m","version":"v1","extra":{"a":[1]}}}`))
	f.Add([]byte(`{"max_batch_size":1e9,"max_batch_time":1e300}`))
	f.Add([]byte("{\n\"inputs\":[{\"shape\":[-1,9223372036854775807]}]}"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Read(data, "f")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("no place: %v", err)
			}
			return
		}
		if _, err := c.Settings(dir, "f"); err != nil && serval.AsError(err).Code != serval.InvalidArgument {
			t.Fatal(err)
		}
	})
}
