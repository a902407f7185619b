package tree

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"serval"
	"serval/engine"
)

// grower makes ensembles of every kind of split at random.
type grower struct {
	*rand.Rand
	single, oblivious, cat bool
	features, inputs       int
	leaves                 int
	sets, large            bool // some splits ask for sets; for very large ones
	width                  int
}

var thresholds = []float64{0, math.Copysign(0, -1), 1, -1, 0.1, 1e-35, -1e-35, 1e-45, 3.4e38, -3.4e38, math.Inf(1), math.Inf(-1), 0.3333333333333333, 1e300, -1e300, 16777217}

var inputs = []float64{0, math.Copysign(0, -1), 1, -1, 0.1, 0.10000000149011612, 1e-35, -1e-35, 9e-36, 1e-36, -1e-40, 1e-45, 3.4e38, -3.4e38, math.Inf(1), math.Inf(-1), math.NaN(),
	0.3333333333333333, 0.33333334, 2, 7, 31, 32, 40, 63, 64, 1000, -0.5, 2.7, 1 << 24, 1<<24 - 1, 3e9, 1e300, 16777217}

func (g *grower) ensemble() *ensemble {
	e := &ensemble{features: g.features, single: g.single, double: !g.single && !g.cat, scale: 1, slope: 1, width: g.width, outputs: 3, base: []float64{0.5, -1, 2}}
	if g.inputs > 0 {
		e.categories = make([]string, g.inputs)
	}
	var huge []uint32
	if g.large {
		for range maxCategory / 32 {
			huge = append(huge, g.Uint32())
		}
	}
	many := 5 + g.IntN(30)
	if g.features > 1000 {
		many = 40
	}
	for range many {
		t := tree{group: g.IntN(e.outputs), oblivious: g.oblivious}
		n := g.IntN(g.leaves)
		if g.oblivious {
			n = g.IntN(6)
		}
		for i := range n {
			s := g.split(e, huge)
			if !g.oblivious {
				s.left, s.right = ^int32(i), ^int32(n) // below: grown by hanging each split where a leaf was
			}
			t.splits = append(t.splits, s)
		}
		count := n + 1
		if g.oblivious {
			count = 1 << n
		} else {
			g.hang(&t)
		}
		for range count * e.width {
			t.leaves = append(t.leaves, float64(float32(g.NormFloat64())))
		}
		e.trees = append(e.trees, t)
		e.rounds = append(e.rounds, len(e.trees))
	}
	return e
}

// hang makes a tree of the splits: each hangs where a leaf was.
func (g *grower) hang(t *tree) {
	type spot struct {
		at   int
		left bool
	}
	var free []spot
	for i := range t.splits {
		if i > 0 {
			k := g.IntN(len(free))
			if f := free[k]; f.left {
				t.splits[f.at].left = int32(i)
			} else {
				t.splits[f.at].right = int32(i)
			}
			free = slices.Delete(free, k, k+1)
		}
		free = append(free, spot{i, true}, spot{i, false})
	}
	for leaf, f := range free {
		if f.left {
			t.splits[f.at].left = ^int32(leaf)
		} else {
			t.splits[f.at].right = ^int32(leaf)
		}
	}
}

func (g *grower) split(e *ensemble, huge []uint32) split {
	s := split{feature: int32(g.IntN(g.features)), threshold: thresholds[g.IntN(len(thresholds))]}
	if g.single || g.cat {
		s.threshold = float64(float32(s.threshold))
	}
	switch {
	case g.inputs > 0 && g.IntN(3) == 0:
		return split{test: isHash, feature: -1, threshold: float64(e.ask(category{g.IntN(g.inputs), categoryHash([]byte(fmt.Sprint(g.IntN(4))))}))}
	case g.sets && g.IntN(3) == 0:
		s.test, s.absent, s.threshold = inSet, nanRight, 0
		if g.single {
			s.test, s.absent = notInSet, nanLeft+absent(g.IntN(2))
		}
		for range 1 + g.IntN(3) {
			s.set = append(s.set, g.Uint32())
		}
		if g.large {
			s.set = huge
		}
	case g.single:
		s.test, s.absent = less, nanLeft+absent(g.IntN(2))
	case g.cat:
		s.test, s.absent = atMost, nanLeft+absent(g.IntN(2))
	default:
		s.test, s.absent = atMost, absent(g.IntN(5))
		if err := s.decide(0, nil); err != nil { // thresholds among the values that count as 0
			panic(err)
		}
		s.absent = absent(g.IntN(5))
	}
	return s
}

// naive goes down a tree as the libraries do; it returns the leaf.
func naive(e *ensemble, t *tree, row []float64, words []string) int {
	right := func(s *split) bool {
		if s.test == isHash {
			c := e.onehot[int(s.threshold)]
			return categoryHash([]byte(words[c.input])) == c.hash
		}
		x := row[s.feature]
		if e.single || !e.double {
			x = float64(float32(x))
		}
		if s.isSet() {
			set := s.asSet()
			switch {
			case x != x:
				return set.right
			case e.single && (x < 0 || x >= 1<<24), x <= -1 || x >= 1<<31:
				return set.goesRight(codeInvalid)
			}
			return set.goesRight(int64(x))
		}
		zero := !e.single && e.double && math.Abs(x) <= zeroBelow
		if zero {
			x = 0
		}
		switch s.absent {
		case nanZero:
			if x != x {
				x = 0
			}
		case nanLeft, nanRight:
			if x != x {
				return s.absent == nanRight
			}
		default:
			if x != x || zero {
				return s.absent == zeroRight
			}
		}
		if s.test == less {
			return !(x < s.threshold)
		}
		return !(x <= s.threshold)
	}
	if t.oblivious {
		leaf := 0
		for i := range t.splits {
			if right(&t.splits[i]) {
				leaf |= 1 << i
			}
		}
		return leaf
	}
	if len(t.splits) == 0 {
		return 0
	}
	at := int32(0)
	for at >= 0 {
		if s := &t.splits[at]; right(s) {
			at = s.right
		} else {
			at = s.left
		}
	}
	return int(^at)
}

// TestWalkers compares leaves and sums of ensembles made at random with a plain evaluation, over odd values.
func TestWalkers(t *testing.T) {
	kinds := map[string]grower{
		"XGBoost":          {single: true, features: 5, leaves: 40, width: 1},
		"XGBoost vectors":  {single: true, features: 5, leaves: 40, width: 3},
		"XGBoost sets":     {single: true, features: 5, leaves: 40, width: 1, sets: true},
		"XGBoost huge":     {single: true, features: 3, leaves: 40, width: 1, sets: true, large: true},
		"LightGBM":         {features: 5, leaves: 40, width: 1},
		"LightGBM sets":    {features: 5, leaves: 40, width: 1, sets: true},
		"LightGBM deep":    {features: 2, leaves: 2000, width: 1, sets: true},
		"many features":    {single: true, features: 9000, leaves: 3000, width: 1},
		"many of LightGBM": {features: 9000, leaves: 3000, width: 1, sets: true},
		"CatBoost":         {oblivious: true, cat: true, features: 4, inputs: 2, leaves: 40, width: 3},
		"CatBoost one":     {oblivious: true, cat: true, features: 4, inputs: 2, leaves: 40, width: 1},
		"CatBoost nodes":   {cat: true, features: 4, inputs: 2, leaves: 40, width: 3},
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3) {
				for _, double := range []bool{false, true} {
					g := kind
					g.Rand = rand.New(rand.NewPCG(seed, 7))
					compareWithNaive(t, &g, double)
				}
			}
		})
	}
}

func compareWithNaive(t *testing.T, g *grower, double bool) {
	t.Helper()
	e := g.ensemble()
	if err := e.check(); err != nil {
		t.Fatal(err)
	}
	reference := *e
	reference.trees = slices.Clone(e.trees)
	m, err := newModel(e, choices{double: double, doubleOut: true, outputs: []what{margin, leafNumber}})
	if err != nil {
		t.Fatal(err)
	}
	const rows = 83 // blocks, groups and rows alone
	row := make([][]float64, rows)
	words := make([][]string, rows)
	c := &engine.Call{Rows: rows}
	for _, in := range m.signature.Inputs {
		tensor := serval.Tensor{Name: in.Name, DType: in.DType, Shape: []int64{rows, in.Shape[1]}}
		for r := range rows {
			for range in.Shape[1] {
				v := inputs[g.IntN(len(inputs))]
				switch in.DType {
				case serval.Bytes:
					w := fmt.Sprint(g.IntN(6))
					words[r] = append(words[r], w)
					tensor.Data = serval.AppendString(tensor.Data, w)
				case serval.FP64:
					row[r] = append(row[r], v)
					tensor.Data = binary.LittleEndian.AppendUint64(tensor.Data, math.Float64bits(v))
				default:
					row[r] = append(row[r], float64(float32(v)))
					tensor.Data = binary.LittleEndian.AppendUint32(tensor.Data, math.Float32bits(float32(v)))
				}
			}
		}
		c.Inputs = append(c.Inputs, tensor)
	}
	if (g.large || g.features > narrowViews/2) != isWide(m) {
		t.Fatalf("nodes are wide: %v", isWide(m))
	}
	if err := newInstance(m, 1).Execute(context.Background(), []*engine.Call{c}); err != nil || c.Err != nil {
		t.Fatal(err, c.Err)
	}
	for r := range rows {
		sums := slices.Clone(reference.base)
		for i := range reference.trees {
			tr := &reference.trees[i]
			leaf := naive(&reference, tr, row[r], words[r])
			if got := binary.LittleEndian.Uint32(c.Outputs[1].Data[(r*len(reference.trees)+i)*4:]); int(got) != leaf {
				t.Fatalf("row %d %v %v, tree %d: leaf %d, want %d", r, row[r][:min(6, len(row[r]))], words[r], i, got, leaf)
			}
			for j := range reference.width {
				out := tr.group
				if reference.width > 1 {
					out = j
				}
				sums[out] += tr.leaves[leaf*reference.width+j]
				if reference.single {
					sums[out] = float64(float32(sums[out]))
				}
			}
		}
		for j, want := range sums {
			if got := math.Float64frombits(binary.LittleEndian.Uint64(c.Outputs[0].Data[(r*3+j)*8:])); got != want {
				t.Fatalf("row %d, output %d: %v, want %v", r, j, got, want)
			}
		}
	}
}

func isWide(m *model) bool {
	_, wide := m.walker.(*wideWalker)
	return wide
}
