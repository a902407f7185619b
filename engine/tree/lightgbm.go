package tree

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
)

// LightGBM's text models, versions v2 to v4. Read from src/boosting/gbdt_model_text.cpp and src/io/tree.cpp: a head of
// key=value lines, a block of them for each tree, and what the library needs to go on training.

// readLightGBM reads a model file.
func readLightGBM(data []byte) (*ensemble, error) {
	l := lines{rest: data, number: 0}
	head, err := l.block("")
	if err != nil {
		return nil, err
	}
	e, perRound, err := head.ensemble()
	if err != nil {
		return nil, err
	}
	for l.tree() {
		name := fmt.Sprintf("tree %d (line %d)", len(e.trees), l.number)
		b, err := l.block(name)
		if err != nil {
			return nil, err
		}
		t, err := b.lightTree()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		t.group = len(e.trees) % perRound
		e.trees = append(e.trees, t)
	}
	if sizes, ok := head.fields["tree_sizes"]; ok {
		if want := len(bytes.Fields(sizes)); want != len(e.trees) {
			return nil, fmt.Errorf("line %d: tree_sizes lists %d trees, the file holds %d: it is cut short or was changed", l.number, want, len(e.trees))
		}
	}
	if !l.ended {
		return nil, fmt.Errorf("line %d: the file ends before its line \"end of trees\": it is cut short", l.number)
	}
	if len(e.trees) == 0 || len(e.trees)%perRound != 0 {
		return nil, fmt.Errorf("the file holds %d trees; num_tree_per_iteration is %d", len(e.trees), perRound)
	}
	for n := perRound; n <= len(e.trees); n += perRound {
		e.rounds = append(e.rounds, n)
	}
	return e, e.check()
}

// lines walks the file.
type lines struct {
	rest   []byte
	number int // of the line that was read last
	ended  bool
}

// line reads one line, without its end.
func (l *lines) line() ([]byte, bool) {
	if len(l.rest) == 0 {
		return nil, false
	}
	line, rest, _ := bytes.Cut(l.rest, []byte("\n"))
	l.rest = rest
	l.number++
	return bytes.TrimSuffix(line, []byte("\r")), true
}

// tree moves to the head of the next tree; it reports false at the end of the trees.
func (l *lines) tree() bool {
	for {
		line, ok := l.line()
		switch {
		case !ok:
			return false
		case string(line) == "end of trees":
			l.ended = true
			return false
		case bytes.HasPrefix(line, []byte("Tree=")):
			return true
		}
	}
}

// block is a run of key=value lines.
type block struct {
	fields map[string][]byte
}

// block reads lines up to an empty one.
func (l *lines) block(where string) (block, error) {
	b := block{fields: map[string][]byte{}}
	for {
		line, ok := l.line()
		if !ok || len(line) == 0 {
			return b, nil
		}
		key, value, _ := bytes.Cut(line, []byte("="))
		if _, twice := b.fields[string(key)]; twice {
			return b, fmt.Errorf("%sline %d: %s stands there twice", prefix(where), l.number, clip(key))
		}
		b.fields[string(key)] = value
	}
}

func prefix(where string) string {
	if where == "" {
		return ""
	}
	return where + ": "
}

// integer reads a whole number that must be there.
func (b block) integer(key string, lo, hi int) (int, error) {
	text, ok := b.fields[key]
	if !ok {
		return 0, fmt.Errorf("%s is missing", key)
	}
	v, n := parseNumber(bytes.TrimSpace(text))
	if n == 0 || n != len(bytes.TrimSpace(text)) || v != math.Trunc(v) || v < float64(lo) || v > float64(hi) {
		return 0, fmt.Errorf("%s is %q; it must be a whole number from %d to %d", key, clip(text), lo, hi)
	}
	return int(v), nil
}

// numbers reads a list of n numbers that must be there. Nothing is allocated for more numbers than the line has bytes for.
func (b block) numbers(key string, n int, put func(v float64) bool) error {
	text, ok := b.fields[key]
	if !ok {
		return fmt.Errorf("%s is missing", key)
	}
	i := 0
	for ; ; i++ {
		text = bytes.TrimLeft(text, " ")
		if len(text) == 0 {
			break
		}
		v, used := parseNumber(text)
		if used == 0 || used < len(text) && text[used] != ' ' {
			return fmt.Errorf("%s[%d] is %q, not a number", key, i, clip(text))
		}
		text = text[used:]
		if i < n && !put(v) {
			return fmt.Errorf("%s[%d] is %v, which is out of range", key, i, v)
		}
	}
	if i != n {
		return fmt.Errorf("%s has %d entries; it must have %d", key, i, n)
	}
	return nil
}

func (b block) float64s(key string, n int) (list []float64, err error) {
	err = b.numbers(key, n, func(v float64) bool {
		list = append(list, v)
		return true
	})
	return list, err
}

func (b block) int32s(key string, n int) (list []int32, err error) {
	err = b.numbers(key, n, func(v float64) bool {
		list = append(list, int32(v))
		return v == math.Trunc(v) && v >= math.MinInt32 && v <= math.MaxInt32
	})
	return list, err
}

// ensemble reads the head; it returns the number of trees in a round too.
func (b block) ensemble() (*ensemble, int, error) {
	if _, ok := b.fields["tree"]; !ok {
		return nil, 0, errors.New("the file does not start with the line \"tree\": it is no model of LightGBM")
	}
	last, err := b.integer("max_feature_idx", 0, maxFeatures-1)
	if err != nil {
		return nil, 0, err
	}
	classes, err := b.integer("num_class", 1, maxOutputs)
	if err != nil {
		return nil, 0, err
	}
	perRound := classes
	if _, ok := b.fields["num_tree_per_iteration"]; ok {
		if perRound, err = b.integer("num_tree_per_iteration", 1, maxOutputs); err != nil {
			return nil, 0, err
		}
	}
	e := &ensemble{
		format: "LightGBM " + clip(string(b.fields["version"])) + " model", features: last + 1, outputs: perRound,
		double: true, width: 1, scale: 1, slope: 1, base: make([]float64, perRound),
	}
	_, e.mean = b.fields["average_output"]
	if names := strings.Split(string(b.fields["feature_names"]), " "); len(names) == e.features {
		e.names = names
	}
	return e, perRound, b.objective(e, classes)
}

// lightObjective is what an objective means when it is served.
type lightObjective struct {
	predict, proba link
	classes        bool // num_class margins
}

// lightObjectives are the objectives of LightGBM, as they are written into models.
var lightObjectives = map[string]lightObjective{
	"regression":           {predict: identity},
	"regression_l1":        {predict: identity},
	"quantile":             {predict: identity},
	"huber":                {predict: identity},
	"fair":                 {predict: identity},
	"mape":                 {predict: identity},
	"poisson":              {predict: exponent},
	"gamma":                {predict: exponent},
	"tweedie":              {predict: exponent},
	"binary":               {predict: sigmoid, proba: sigmoid},
	"multiclass":           {predict: softmax, proba: softmax, classes: true},
	"multiclassova":        {predict: sigmoid, proba: sigmoid, classes: true},
	"cross_entropy":        {predict: sigmoid, proba: sigmoid},
	"cross_entropy_lambda": {predict: logOnePlusExp},
	"lambdarank":           {predict: identity},
	"rank_xendcg":          {predict: identity},
	"custom":               {predict: identity},
}

// objective reads "binary sigmoid:1" and its like. A model without one predicts its margins.
func (b block) objective(e *ensemble, classes int) error {
	words := strings.Fields(string(b.fields["objective"]))
	if len(words) == 0 {
		return nil
	}
	o, ok := lightObjectives[words[0]]
	if !ok {
		return fmt.Errorf("objective is %q, which is not known here; known are %s", clip(words[0]), known(lightObjectives))
	}
	e.predict, e.proba = o.predict, o.proba
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, ":")
		switch {
		case name == "sqrt" && (words[0] == "regression" || words[0] == "regression_l1" || words[0] == "quantile" || words[0] == "fair" || words[0] == "mape"):
			e.predict = signedSquare
		case name == "sigmoid":
			v, n := parseNumber([]byte(value))
			if n != len(value) || !(v > 0) {
				return fmt.Errorf("objective: sigmoid is %q; it must be above 0", clip(value))
			}
			e.slope = v
		}
	}
	if o.classes && (classes < 2 || e.outputs != classes) {
		return fmt.Errorf("objective %s needs num_class of 2 or more, and as many trees in a round; they are %d and %d", words[0], classes, e.outputs)
	}
	if !o.classes && e.predict != identity && e.outputs != 1 {
		return fmt.Errorf("objective %s is for one output; num_tree_per_iteration is %d", words[0], e.outputs)
	}
	return nil
}
