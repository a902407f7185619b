package tree

import (
	"bytes"
	"context"
	"math"
	"path/filepath"
	"testing"

	"serval"
	"serval/engine"
)

// seeds adds the small fixtures of one kind: go test spends long on making large inputs smaller.
func seeds(f *testing.F, pattern string) {
	f.Helper()
	found, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(found) == 0 {
		f.Fatalf("no seeds %s: %v", pattern, err)
	}
	for _, path := range found {
		if raw := read(f, path); len(raw) < 5000 {
			f.Add(raw)
		}
	}
}

// walkAnything lays out whatever was read and walks odd rows through it: what the parsers let through must be safe, and a
// row alone must be answered as it is among others.
func walkAnything(t *testing.T, e *ensemble, err error) {
	if err != nil {
		return
	}
	if e.features > 1000 || e.outputs > 100 || len(e.categories) > 1000 {
		return
	}
	c := choices{outputs: []what{prediction, margin, leafNumber}, doubleOut: true}
	m, err := newModel(e, c)
	if err != nil {
		return
	}
	values := []float32{0, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), -1, 3, 1e30}
	const rows = 9
	call := func(lo, hi int) *engine.Call {
		c := &engine.Call{Rows: int64(hi - lo)}
		for _, in := range m.signature.Inputs {
			t := serval.Tensor{Name: in.Name, DType: in.DType, Shape: []int64{int64(hi - lo), in.Shape[1]}}
			for r := lo; r < hi; r++ {
				for i := range int(in.Shape[1]) {
					if in.DType == serval.Bytes {
						t.Data = serval.AppendString(t.Data, string(rune('a'+(r+i)%4)))
						continue
					}
					b := math.Float32bits(values[(r*5+i)%len(values)])
					t.Data = append(t.Data, byte(b), byte(b>>8), byte(b>>16), byte(b>>24))
				}
			}
			c.Inputs = append(c.Inputs, t)
		}
		return c
	}
	in := newInstance(m, 1)
	together, alone := []*engine.Call{call(0, rows)}, []*engine.Call{call(3, 4)}
	for _, calls := range [][]*engine.Call{together, alone} {
		if err := in.Execute(context.Background(), calls); err != nil || calls[0].Err != nil {
			t.Fatal(err, calls[0].Err)
		}
	}
	for i, o := range alone[0].Outputs {
		if o.DType == serval.Bytes {
			continue
		}
		size := len(o.Data)
		if among := together[0].Outputs[i].Data[3*size : 4*size]; !bytes.Equal(among, o.Data) {
			t.Fatalf("%s: alone %x, among others %x", o.Name, o.Data, among)
		}
	}
}

func FuzzXGBoostUBJ(f *testing.F) {
	seeds(f, "*.ubj")
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := readXGBoost(newUBJ(b))
		walkAnything(t, e, err)
	})
}

func FuzzXGBoostJSON(f *testing.F) {
	seeds(f, "xgb_*.json")
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := readXGBoost(newJSON(b))
		walkAnything(t, e, err)
	})
}

func FuzzLightGBM(f *testing.F) {
	seeds(f, "lgb_*.txt")
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := readLightGBM(b)
		walkAnything(t, e, err)
	})
}

func FuzzCatBoost(f *testing.F) {
	seeds(f, "cat_*.json")
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := readCatBoost(b)
		walkAnything(t, e, err)
	})
}

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"0", "-0", "1.5e-3", "123456789012345678901234567890", "1e400", "-Infinity", "NaN", ".", "-", "1e", "1.7976931348623157e308", "4.9e-324"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkNumber(t, b) })
}
