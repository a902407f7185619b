package tree

import (
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
