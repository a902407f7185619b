package tree

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"serval"
	"serval/engine"
)

// questions makes oblivious trees whose views have from none to some hundred bounds.
func questions(r *rand.Rand, views int) *obliviousWalker {
	bounds := make([][]int32, views)
	for v := range bounds {
		for range []int{1, 2, 100, perColumn, perColumn + 1, 2 * perColumn, 600}[v%7] {
			bounds[v] = append(bounds[v], int32(r.Uint32()))
		}
	}
	w := &obliviousWalker{}
	leaf := uint32(1)
	for i := range 400 {
		t := obliviousTree{first: uint32(len(w.levels)), leaf: leaf}
		depth := i % 13
		for range depth {
			v := r.IntN(views)
			w.levels = append(w.levels, level{bound: bounds[v][r.IntN(len(bounds[v]))], view: uint32(v) * 4})
		}
		t.end = uint32(len(w.levels))
		w.trees = append(w.trees, t)
		leaf += 1 << depth
	}
	return w
}

// TestBinsTellWhatKeysTell compares the leaves that bins and keys lead to.
func TestBinsTellWhatKeysTell(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const views = 15 // the last is never asked about
	w := questions(r, views-1)
	b := newBins(w, views)
	if b == nil {
		t.Fatal("no bins")
	}
	for groups := range inTurn {
		groups++
		keys := make([]int32, groups*views*group)
		for i := range keys {
			switch r.IntN(4) {
			case 0:
				keys[i] = []int32{lowestKey, highestKey, 0, math.MaxInt32}[r.IntN(4)]
			case 1: // a bound of that view, or next to it
				if bounds := b.views[i/group%views].bounds; len(bounds) > 0 {
					keys[i] = bounds[r.IntN(len(bounds))] + int32(r.IntN(3)) - 1
				}
			default:
				keys[i] = int32(r.Uint32())
			}
		}
		const first = 3 // group of the words
		words := make([]uint64, b.columns*pitch)
		for g := range groups {
			b.fill(words, first+g, keys[g*views*group:(g+1)*views*group])
		}
		want, got := make([][group]uint32, groups), make([][group]uint32, groups)
		for tree := range w.trees {
			w.rows(tree, unsafe.Pointer(&keys[0]), views*group*4, want)
			b.rows(tree, words, first, got)
			for g := range want {
				if got[g] != want[g] {
					t.Fatalf("%d groups, tree %d of %d levels, group %d: leaves %v, want %v", groups, tree, w.trees[tree].end-w.trees[tree].first, g, got[g], want[g])
				}
			}
		}
	}
}

func TestTooManyBoundsForBins(t *testing.T) {
	w := &obliviousWalker{}
	for i := range int32(maxColumns*perColumn + 1) {
		w.levels = append(w.levels, level{bound: i})
	}
	if newBins(w, 1) != nil {
		t.Error("bins of more columns than there may be")
	}
	w.levels = w.levels[1:]
	if b := newBins(w, 1); b == nil || b.columns != maxColumns {
		t.Error("no bins of as many columns as there may be")
	}
}

// TestSumsAloneAreThoseWithLeaves compares the margins that a model answers alone, where nothing but sums is kept, with those
// that it answers beside the leaves.
func TestSumsAloneAreThoseWithLeaves(t *testing.T) {
	for seed := range uint64(4) {
		var first []byte
		for _, outputs := range [][]what{{margin, leafNumber}, {margin}} {
			g := grower{Rand: rand.New(rand.NewPCG(seed, 9)), cat: true, oblivious: true, features: 6, inputs: 2, leaves: 40, width: 1}
			e := g.ensemble()
			e.outputs, e.base = 1, e.base[:1]
			for i := range e.trees {
				tr := &e.trees[i]
				tr.group = 0
				for i%3 == 0 && len(tr.splits) < perWord+int(seed%2) { // trees of eight levels, and of nine
					tr.splits = append(tr.splits, g.split(e, nil))
				}
				for len(tr.leaves) < 1<<len(tr.splits) {
					tr.leaves = append(tr.leaves, g.NormFloat64())
				}
			}
			if err := e.check(); err != nil {
				t.Fatal(err)
			}
			m, err := newModel(e, choices{doubleOut: true, outputs: outputs})
			if err != nil {
				t.Fatal(err)
			}
			const rows = 8*(atOnce+2*inStep+1) + 5
			c := &engine.Call{Rows: rows}
			for _, in := range m.signature.Inputs {
				x := serval.Tensor{Name: in.Name, DType: in.DType, Shape: []int64{rows, in.Shape[1]}}
				for range rows * in.Shape[1] {
					if in.DType == serval.Bytes {
						x.Data = serval.AppendString(x.Data, fmt.Sprint(g.IntN(6)))
					} else {
						x.Data = binary.LittleEndian.AppendUint32(x.Data, math.Float32bits(float32(inputs[g.IntN(len(inputs))])))
					}
				}
				c.Inputs = append(c.Inputs, x)
			}
			if err := newInstance(m, 1).Execute(context.Background(), []*engine.Call{c}); err != nil || c.Err != nil {
				t.Fatal(err, c.Err)
			}
			if first == nil {
				first = bytes.Clone(c.Outputs[0].Data)
			} else if !bytes.Equal(first, c.Outputs[0].Data) {
				t.Errorf("seed %d: the sums differ", seed)
			}
		}
	}
}
