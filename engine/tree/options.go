package tree

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"serval"
	"serval/engine"
)

// The names that may stand under options: in a model.yaml.
const (
	optionInput      = "input"       // fp32 (default), fp64: the type of input__0
	optionOutput     = "output"      // prediction (default), margin, probability, leaf; several, separated by commas
	optionOutputType = "output_type" // fp32 (default), fp64: of what is no class and no leaf
	optionIterations = "iterations"  // all (default), best, or how many rounds of boosting are used
	optionMissing    = "missing"     // a number that stands for a missing value, besides NaN
)

// what an output holds.
type what uint8

const (
	prediction  what = iota // what the library's predict answers
	margin                  // the sum of the trees
	probability             // of each class
	leafNumber              // of each tree
	numWhats
)

var whatNames = [numWhats]string{"prediction", "margin", "probability", "leaf"}

// choices are a model's options.
type choices struct {
	double     bool // the input is FP64
	doubleOut  bool
	outputs    []what
	iterations int // 0: all; best: what the model says
	missing    float64
	hasMissing bool
}

const iterationsBest = -1

// readOptions reads a model's options.
func readOptions(spec engine.Spec) (choices, error) {
	c := choices{outputs: []what{prediction}}
	for _, name := range slices.Sorted(maps.Keys(spec.Settings.Options)) {
		v := spec.Settings.Options[name]
		var err error
		switch name {
		case optionInput:
			c.double, err = isDouble(v)
		case optionOutputType:
			c.doubleOut, err = isDouble(v)
		case optionOutput:
			c.outputs, err = readOutputs(v)
		case optionIterations:
			c.iterations, err = readIterations(v)
		case optionMissing:
			n := 0
			if c.missing, n = parseNumber([]byte(v)); n == 0 || n != len(v) {
				err = fmt.Errorf("must be a number")
			}
			c.hasMissing = !math.IsNaN(c.missing)
		default:
			return c, serval.Errorf(serval.InvalidArgument, "model '%s': the tree engine has no option %q; it knows %s, %s, %s, %s and %s",
				spec.Name, name, optionInput, optionIterations, optionMissing, optionOutput, optionOutputType).At("options." + name)
		}
		if err != nil {
			return c, serval.Errorf(serval.InvalidArgument, "model '%s': options.%s is %q; it %w", spec.Name, name, clip(v), err).At("options." + name)
		}
	}
	return c, nil
}

func isDouble(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "fp32":
		return false, nil
	case "fp64":
		return true, nil
	}
	return false, fmt.Errorf("must be fp32 or fp64")
}

func readOutputs(v string) ([]what, error) {
	var list []what
	for _, name := range strings.Split(v, ",") {
		name = strings.TrimSpace(name)
		if name == "raw" { // CatBoost's and LightGBM's word
			name = whatNames[margin]
		}
		i := slices.Index(whatNames[:], name)
		if i < 0 {
			return nil, fmt.Errorf("must be a list of %s", strings.Join(whatNames[:], ", "))
		}
		if slices.Contains(list, what(i)) {
			return nil, fmt.Errorf("names %s twice", name)
		}
		list = append(list, what(i))
	}
	return list, nil
}

func readIterations(v string) (int, error) {
	switch v {
	case "all":
		return 0, nil
	case "best":
		return iterationsBest, nil
	}
	n, used := parseNumber([]byte(v))
	if used == 0 || used != len(v) || n != math.Trunc(n) || n < 1 || n > math.MaxInt32 {
		return 0, fmt.Errorf("must be all, best, or a whole number of rounds from 1")
	}
	return int(n), nil
}

// cut leaves the rounds of boosting that the options ask for.
func (c choices) cut(e *ensemble) error {
	n := c.iterations
	switch n {
	case 0:
		return nil
	case iterationsBest:
		if n = e.best; n == 0 {
			return fmt.Errorf("options.%s is best, and the model's file does not say which round was; LightGBM and CatBoost save the best rounds only, XGBoost its attribute best_iteration", optionIterations)
		}
	}
	return e.keep(n)
}
