package serval_test

import (
	"fmt"
	"strings"
	"testing"

	"serval"
)

func TestColumns(t *testing.T) {
	matrix := serval.Signature{Inputs: []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 2}}}}
	two := serval.Signature{Inputs: []serval.TensorInfo{{Name: "age", Shape: []int64{-1, 1}}, {Name: "city", Shape: []int64{-1, 1}}, {Name: "note", Shape: []int64{-1, 1}, Optional: true}}}
	recipe := &serval.Recipe{Input: serval.InputRecipe{CSV: &serval.CSVInput{Input: "x", Columns: []string{"b", "a"}}}}
	for name, c := range map[string]struct {
		sig    serval.Signature
		header string
		recipe *serval.Recipe
		mapped map[string][]string
		want   string // or what the error says
	}{
		"matrix":            {sig: matrix, header: "a b", want: "[{0 [0 1] true}]"},
		"matrix too wide":   {sig: matrix, header: "a b c", want: "3 columns, where the input 'x' takes 2"},
		"matrix by its own": {sig: matrix, header: "a x", want: "[{0 [1] false}]"},
		"recipe":            {sig: matrix, header: "a id b", recipe: recipe, want: "[{0 [2 0] true}]"},
		"recipe, missing":   {sig: matrix, header: "a id", recipe: recipe, want: "no column 'b'; the model's recipe needs"},
		"mapped":            {sig: matrix, header: "a id b", recipe: recipe, mapped: map[string][]string{"x": {"a", "b"}}, want: "[{0 [0 2] true}]"},
		"mapped, missing":   {sig: matrix, header: "a id", mapped: map[string][]string{"x": {"a", "b"}}, want: "no column 'b', which is mapped to the input 'x'"},
		"mapped, no input":  {sig: matrix, header: "a b", mapped: map[string][]string{"y": {"a"}}, want: "no input 'y'"},
		"by name":           {sig: two, header: "id city age", want: "[{0 [2] false} {1 [1] false}]"},
		"optional":          {sig: two, header: "note city age", want: "[{0 [2] false} {1 [1] false} {2 [0] false}]"},
		"renamed":           {sig: two, header: "town age", mapped: map[string][]string{"city": {"town"}}, want: "[{0 [1] false} {1 [0] false}]"},
		"missing":           {sig: two, header: "id age", want: "no column 'city'; the model's inputs are 'age', 'city', 'note'"},
		"twice":             {sig: two, header: "age city age", want: "two columns are named 'age'"},
	} {
		got, err := c.sig.Columns(strings.Fields(c.header), c.recipe, c.mapped)
		if said := fmt.Sprint(got); err == nil && said != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
