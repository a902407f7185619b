package tree

import "testing"

// Margins and leaves are equal to the last bit.
func TestCatBoost(t *testing.T) {
	for _, name := range fixtures(t, "cat_") {
		t.Run(name, func(t *testing.T) {
			checkFixture(t, name, map[string]float64{"margin": 0, "leaf": 0, "prediction": 1e-12, "probability": 1e-12})
		})
	}
}
