package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval/internal/testkit"
)

// mlserverRepository lays out an MLServer repository.
func mlserverRepository(t *testing.T) string {
	t.Helper()
	root, fixtures := filepath.Join(t.TempDir(), "models"), filepath.Join(testkit.Root(), "engine", "tree", "testdata")
	if err := os.CopyFS(root, os.DirFS(filepath.Join(testkit.Root(), "test", "repositories", "mlserver"))); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(fixtures, "xgb_binary_logistic.ubj"), filepath.Join(root, "mushroom-xgboost", "model.ubj"))
	copyFile(t, filepath.Join(fixtures, "lgb_multiclass.txt"), filepath.Join(root, "iris-lgb", "iris-lightgbm.bst"))
	raw, err := os.ReadFile(filepath.Join(fixtures, "xgb_multi_softprob.json"))
	if err != nil {
		t.Fatal(err)
	}
	// As XGBoost's scikit-learn interface saves a classifier.
	saved := strings.Replace(string(raw), `"attributes":{}`, `"attributes":{"scikit_learn":"{\"_estimator_type\": \"classifier\"}"}`, 1)
	if saved == string(raw) {
		t.Fatal("the fixture has no place for attributes")
	}
	write(t, filepath.Join(root, "wine-v2", "artefacts", "model.json"), saved)
	return root
}

// TestMLServerRepository serves a repository that is laid out by MLServer's documentation alone.
func TestMLServerRepository(t *testing.T) {
	t.Parallel()
	root := mlserverRepository(t)
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root})
	pytestOn(t, s, root, "triton", "test_mlserver_repository.py")
	if strings.Contains(s.Log(), "no effect") {
		t.Error("the log has settings without effect")
	}
}

// KServe mounts one model; what it is called stands in its settings, or in a flag.
func TestMLServerModelAlone(t *testing.T) {
	t.Parallel()
	root := mlserverRepository(t)
	s := testkit.Serve(t, testkit.Options{Models: filepath.Join(root, "iris-lgb")})
	ask(t, "GET", s.URL("/v2/models/iris-lgb/versions/v0.1.0/ready"), "").want(t, 200)
}

func TestBadMLServerModels(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	bad := map[string]struct{ settings, want string }{
		"sklearn":  {`{"implementation": "mlserver_sklearn.SKLearnModel"}`, "mlserver_sklearn.SKLearnModel: engine not built in; served are mlserver_xgboost.XGBoostModel and mlserver_lightgbm.LightGBMModel (engine tree); the python engine of a later version"},
		"mlflow":   {`{"implementation": "mlserver_mlflow.MLflowRuntime"}`, "the python engine of a later version loads MLflow's models"},
		"custom":   {`{"implementation": "models.SumModel"}`, "runtimes of one's own run in the python engine of a later version"},
		"none":     {"{\n  \"name\": \"x\"\n}", "implementation: is missing"},
		"no-json":  {"{\n  \"name\": \"x\",\n}", "model-settings.json:3:1: not valid JSON"},
		"type":     {"{\n  \"max_batch_size\": \"many\"\n}", "model-settings.json:2:"},
		"outside":  {`{"implementation": "mlserver_xgboost.XGBoostModel", "parameters": {"uri": "../other/model.json"}}`, "leads out of the model's folder"},
		"remote":   {`{"implementation": "mlserver_xgboost.XGBoostModel", "parameters": {"uri": "s3://bucket/model.json"}}`, "fetch the model into its folder"},
		"missing":  {`{"implementation": "mlserver_xgboost.XGBoostModel", "parameters": {"uri": "model.json"}}`, `"model.json" is not there`},
		"no-usual": {`{"implementation": "mlserver_lightgbm.LightGBMModel"}`, "none of the usual names model.bst"},
		"catboost": {`{"implementation": "mlserver_catboost.CatboostModel", "parameters": {"uri": "model.cbm"}}`, `save_model("model.json", format="json")`},
	}
	for name, b := range bad {
		write(t, filepath.Join(root, name, "model-settings.json"), b.settings)
	}
	write(t, filepath.Join(root, "catboost", "model.cbm"), "CBM1....")
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root, Unset: true})
	s.Await("the end of loading", func() bool { return strings.Contains(s.Log(), "not ready: some models failed") })
	got := index(t, s)
	for name, b := range bad {
		key := name
		if name == "none" {
			key = "x"
		}
		m, ok := got[key]
		if !ok {
			m, ok = got[key+" 1"]
		}
		if !ok || m.State != "UNAVAILABLE" || !strings.Contains(m.Reason, b.want) {
			t.Errorf("%s: %+v, want %q", name, m, b.want)
		}
	}
}
