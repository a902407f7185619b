package tree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Margins and leaves are equal to the last bit. Releases before 1.3 added the trees up first and base_score last, where all
// since then start from it: their answers differ by a rounding.
func TestXGBoost(t *testing.T) {
	for _, name := range fixtures(t, "xgb_") {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "xgb_1.0") {
				checkFixture(t, name, map[string]float64{"margin": -1e-6, "prediction": -1e-6, "leaf": 0})
			} else {
				checkFixture(t, name, map[string]float64{"margin": 0, "leaf": 0})
			}
		})
	}
}

// Since 3.3 dart is a gbtree whose model holds the weights.
func TestDartOfLaterReleases(t *testing.T) {
	raw := edit(t, "xgb_dart.json", func(d map[string]any) {
		dart := in(d, "learner", "gradient_booster")
		model := in(dart, "gbtree", "model")
		model["weight_drop"] = dart["weight_drop"]
		in(d, "learner")["gradient_booster"] = map[string]any{"name": "gbtree", "model": model}
	})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	w := readWant(t, "xgb_dart")
	out := run(t, open(t, dir, nil, 1), w, w.X.bytes(t), w.Rows)
	if err := compare(t, w.Outputs["prediction"], out[0], 0); err != nil {
		t.Error(err)
	}
}
