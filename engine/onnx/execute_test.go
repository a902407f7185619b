package onnx_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"serval"
	"serval/engine"
)

// rowsOf makes n different calls of one row for the multi-layer perceptron.
func rowsOf(m engine.Model, n int) []*engine.Call {
	calls := make([]*engine.Call, n)
	for i := range calls {
		row := make([]float32, 30)
		for k := range row {
			row[k] = float32((i*31+k*17)%101)/50 - 1
		}
		calls[i] = call(m, fp32("x", []int64{1, 30}, row...))
	}
	return calls
}

// TestBatch wants rows together to equal rows alone, for batches that grow and shrink.
func TestBatch(t *testing.T) {
	m := open(t, "mlp")
	var alone [][]float32
	for _, c := range rowsOf(m, 1000) {
		out := execute(t, m, c.Inputs[0])
		alone = append(alone, slices.Clone(floats(out[0].Data)))
	}
	for _, n := range []int{1, 2, 1000, 3, 64, 1} {
		calls := rowsOf(m, n)
		if err := m.Execute(context.Background(), calls); err != nil {
			t.Fatal(err)
		}
		for i, c := range calls {
			if c.Err != nil {
				t.Fatal(c.Err)
			}
			same(t, c.Outputs[0], fp32("y", []int64{1, 1}, alone[i]...))
			c.Reset()
		}
	}
}

// TestAnswersStay wants an answer to hold while the instance goes on.
func TestAnswersStay(t *testing.T) {
	m := open(t, "mlp")
	calls := rowsOf(m, 3)
	if err := m.Execute(context.Background(), calls); err != nil {
		t.Fatal(err)
	}
	var before []string
	for _, c := range calls {
		before = append(before, fmt.Sprint(c.Outputs))
	}
	for range 20 {
		if err := m.Execute(context.Background(), rowsOf(m, 5)); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range calls {
		if now := fmt.Sprint(c.Outputs); now != before[i] {
			t.Errorf("call %d: the answer changed from %s to %s", i, before[i], now)
		}
	}
}

// TestLargeCall takes the path that lets C read a call's data where it stands, aligned and not.
func TestLargeCall(t *testing.T) {
	m := open(t, "mlp")
	big := fp32("x", []int64{1000, 30}, make([]float32, 30_000)...)
	for i := range big.Data {
		if i%4 == 2 {
			big.Data[i] = byte(i >> 4) // small numbers
		}
	}
	want := execute(t, m, big)
	odd := append(make([]byte, 1), big.Data...)
	big.Data = odd[1:]
	same(t, execute(t, m, big)[0], want[0])
}

// TestNeighbours wants one bad call to fail alone.
func TestNeighbours(t *testing.T) {
	m := open(t, "gather")
	calls := []*engine.Call{
		call(m, int64s("x", []int64{1}, 1)), call(m, int64s("x", []int64{2}, 4, 99)), call(m, int64s("x", []int64{1}, 3)),
	}
	if err := m.Execute(context.Background(), calls); err != nil {
		t.Fatal(err)
	}
	same(t, calls[0].Outputs[0], fp32("y", []int64{1, 2}, 2, 3))
	same(t, calls[2].Outputs[0], fp32("y", []int64{1, 2}, 6, 7))
	wantError(t, calls[1].Err, serval.InvalidArgument, "out of data bounds", "99")
}

// TestNotBatched wants right answers also where the outputs do not have the batch's rows.
func TestNotBatched(t *testing.T) {
	m := open(t, "nonzero")
	calls := []*engine.Call{call(m, fp32("x", []int64{3}, 0, 1, 1)), call(m, fp32("x", []int64{2}, 1, 0))}
	if err := m.Execute(context.Background(), calls); err != nil {
		t.Fatal(err)
	}
	same(t, calls[0].Outputs[0], int64s("y", []int64{1, 2}, 1, 2))
	same(t, calls[1].Outputs[0], int64s("y", []int64{1, 1}, 0))
}

// TestStringBatch shares a batch of strings, one of them with a NUL inside and one empty.
func TestStringBatch(t *testing.T) {
	m := open(t, "concat")
	calls := []*engine.Call{
		call(m, text("a", []int64{1, 1}, "nul\x00inside"), text("b", []int64{1, 1}, "é")),
		call(m, text("a", []int64{2, 1}, "", "x"), text("b", []int64{2, 1}, "日本", "\x00")),
		call(m, text("a", []int64{0, 1}), text("b", []int64{0, 1})),
	}
	if err := m.Execute(context.Background(), calls); err != nil {
		t.Fatal(err)
	}
	same(t, calls[0].Outputs[0], text("y", []int64{1, 2}, "nul\x00inside", "é"))
	same(t, calls[1].Outputs[0], text("y", []int64{2, 2}, "", "日本", "x", "\x00"))
	same(t, calls[2].Outputs[0], text("y", []int64{0, 2}))
}

// TestClassifierBatch shares a batch whose answers are maps.
func TestClassifierBatch(t *testing.T) {
	m := open(t, "zipmap_string")
	signature := m.Signature()
	labels := []string{"setosa", "virginica", "ärger"}
	if got := signature.Outputs[1]; !slices.Equal(got.Shape, []int64{-1, -1}) || !slices.Equal(got.Labels, labels) || got.DType != serval.FP32 {
		t.Errorf("the signature's output is %+v", got)
	}
	a, b := fp32("x", []int64{1, 4}, 1, 2, 3, 4), fp32("x", []int64{2, 4}, 4, 3, 2, 1, 0, 0, 0, 0)
	alone := [][]serval.Tensor{execute(t, m, a), execute(t, m, b)}
	calls := []*engine.Call{call(m, a), call(m, b)}
	if err := m.Execute(context.Background(), calls); err != nil {
		t.Fatal(err)
	}
	for i, c := range calls {
		for k := range c.Outputs {
			same(t, c.Outputs[k], alone[i][k])
		}
		if !slices.Equal(c.Outputs[1].Labels, labels) {
			t.Errorf("labels are %q", c.Outputs[1].Labels)
		}
	}
	none := execute(t, m, fp32("x", []int64{0, 4}))
	if !slices.Equal(none[1].Shape, []int64{0, 3}) {
		t.Errorf("no rows give the shape %s", serval.ShapeString(none[1].Shape))
	}
}

// TestBadInput wants each mistake to be named, and the model to go on.
func TestBadInput(t *testing.T) {
	x := func(shape []int64, values ...float32) []serval.Tensor {
		return []serval.Tensor{fp32("x", shape, values...)}
	}
	lying := fp32("x", []int64{1, 30})
	unequal := []serval.Tensor{fp32("a", []int64{1, 2}, 1, 2), fp32("b", []int64{2, 2}, 1, 2, 3, 4)}
	bools := make([]serval.Tensor, 0)
	for _, c := range cases(t) {
		if c.Model == "types" && c.Note == "1 rows" {
			for _, in := range c.Inputs {
				bools = append(bools, in.tensor(t))
			}
		}
	}
	bools[0].Data = []byte{0, 2, 1}
	for _, c := range []struct {
		model string
		in    []serval.Tensor
		code  serval.Code
		param string
		words []string
	}{
		{"mlp", x([]int64{1, 3}, 1, 2, 3), serval.InvalidArgument, "x", []string{"'mlp'", "invalid dimensions", "Got: 3 Expected: 30"}},
		{"mlp", x([]int64{3}, 1, 2, 3), serval.InvalidArgument, "x", []string{"Invalid rank", "Got: 1 Expected: 2"}},
		{"mlp", []serval.Tensor{lying}, serval.InvalidArgument, "x", []string{"[1,30] of FP32 takes 120 bytes", "holds 0"}},
		{"mlp", x([]int64{-1, 30}), serval.InvalidArgument, "x", []string{"negative"}},
		{"mlp", x([]int64{1 << 62, 30}), serval.InvalidArgument, "x", []string{"more elements"}},
		{"mlp", nil, serval.InvalidArgument, "x", []string{"missing"}},
		{"mlp", []serval.Tensor{int64s("x", []int64{1, 1}, 1)}, serval.InvalidArgument, "x", []string{"is INT64", "takes FP32"}},
		{"undone", []serval.Tensor{{Name: "x", DType: serval.Bool, Shape: []int64{0}}}, serval.Unimplemented, "", []string{"cannot compute these inputs", "not defined for empty set"}},
		{"reshape", x([]int64{1, 3}, 1, 2, 3), serval.InvalidArgument, "", []string{"cannot be reshaped"}},
		{"sequence", unequal, serval.InvalidArgument, "", []string{"'y'", "different shapes", "[1,2]", "[2,2]"}},
		{"types", bools, serval.InvalidArgument, "in_BOOL", []string{"0 or 1"}},
		{"concat", []serval.Tensor{text("a", []int64{1, 1}, "a"), {Name: "b", DType: serval.Bytes, Shape: []int64{1, 1}, Data: []byte{9, 0, 0, 0, 1}}}, serval.InvalidArgument, "b", []string{"runs past the end"}},
	} {
		t.Run(c.model+" "+strings.Join(c.words, " "), func(t *testing.T) {
			m := open(t, c.model)
			one := call(m, c.in...)
			if err := m.Execute(context.Background(), []*engine.Call{one}); err != nil {
				t.Fatal(err)
			}
			wantError(t, one.Err, c.code, c.words...)
			if c.param != "" && serval.AsError(one.Err).Param != c.param {
				t.Errorf("the error is at %q, not %q", serval.AsError(one.Err).Param, c.param)
			}
			for _, good := range cases(t) {
				if good.Model == c.model {
					var in []serval.Tensor
					for _, w := range good.Inputs {
						in = append(in, w.tensor(t))
					}
					execute(t, m, in...)
				}
			}
		})
	}
}

func wantError(t *testing.T, err error, code serval.Code, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	t.Logf("%v", err)
	if got := serval.AsError(err).Code; got != code {
		t.Errorf("the code is %s, not %s", got, code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q lacks %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q has more than one line", err)
	}
}

// TestCanceled wants nothing to be computed for a caller who has left.
func TestCanceled(t *testing.T) {
	m := open(t, "mlp")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	calls := rowsOf(m, 2)
	if err := m.Execute(ctx, calls); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if calls[0].Answered() {
		t.Error("a call was answered")
	}
	if err := m.Execute(context.Background(), nil); err != nil {
		t.Errorf("no calls: %v", err)
	}
}

// TestShared runs instances of one session at the same time.
func TestShared(t *testing.T) {
	for _, name := range []string{"mlp", "zipmap_int", "concat", "types"} {
		t.Run(name, func(t *testing.T) {
			first := open(t, name)
			var wg sync.WaitGroup
			for k := range 4 {
				m, err := first.(engine.Sharer).Share(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				wg.Go(func() {
					defer m.Close()
					for i := range 50 {
						for _, c := range cases(t) {
							if c.Model != name || (i+k)%3 == 0 {
								continue
							}
							var in []serval.Tensor
							for _, w := range c.Inputs {
								in = append(in, w.tensor(t))
							}
							one := call(m, in...)
							if err := m.Execute(context.Background(), []*engine.Call{one}); err != nil || one.Err != nil {
								t.Error(err, one.Err)
								return
							}
							for k := range one.Outputs {
								if w := c.Outputs[k].tensor(t); w.DType != serval.FP32 && string(one.Outputs[k].Data) != string(w.Data) {
									t.Errorf("output '%s' differs", w.Name)
								}
							}
							one.Reset()
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestNoRows wants no rows to give no rows, also where ONNX Runtime will not run them.
func TestNoRows(t *testing.T) {
	m := open(t, "norows")
	same(t, execute(t, m, fp32("x", []int64{0, 2}))[0], fp32("y", []int64{0, 2}))
	same(t, execute(t, m, fp32("x", []int64{1, 2}, 1, 2))[0], fp32("y", []int64{1, 2}, 2, 4))
}
