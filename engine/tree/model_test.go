package tree

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"serval"
	"serval/engine"
)

func load(t *testing.T, name string, options map[string]string) (engine.Batcher, error) {
	t.Helper()
	m, err := New().Open(context.Background(), engine.Spec{Name: "m", Dir: folder(t, name), Threads: 1, Settings: serval.ModelSettings{Options: options}})
	if err != nil {
		return nil, err
	}
	return m.(engine.Batcher), nil
}

func TestSignature(t *testing.T) {
	describe := func(list []serval.TensorInfo) string {
		var b strings.Builder
		for _, i := range list {
			b.WriteString(i.Name + " " + i.DType.String() + serval.ShapeString(i.Shape) + " " + strings.Join(i.Symbols, ",") + " " + strings.Join(i.Labels, ",") + ";")
		}
		return b.String()
	}
	cases := []struct {
		model   string
		options map[string]string
		in, out string
	}{
		{"xgb_reg", nil, "input__0 FP32[-1,6] batch, ;", "output__0 FP32[-1,1] batch, ;"},
		{"xgb_binary_logistic", map[string]string{"output": "probability, margin,leaf,prediction"}, "input__0 FP32[-1,6] batch, ;",
			"output__0 FP32[-1,2] batch, ;margin FP32[-1,1] batch, ;leaf INT32[-1,3] batch, ;prediction FP32[-1,1] batch, ;"},
		{"xgb_multi_softprob", map[string]string{"output_type": "fp64"}, "input__0 FP32[-1,6] batch, ;", "output__0 FP64[-1,3] batch, ;"},
		{"xgb_multi_softmax", nil, "input__0 FP32[-1,6] batch, ;", "output__0 FP32[-1,1] batch, ;"},
		{"lgb_multiclass", map[string]string{"input": "FP64", "output": "raw"}, "input__0 FP64[-1,6] batch, Column_0,Column_1,Column_2,Column_3,Column_4,Column_5;", "output__0 FP32[-1,3] batch, ;"},
		{"cat_multi", map[string]string{"output": "prediction,probability"}, "input__0 FP32[-1,5] batch, ,,,,;", "output__0 INT64[-1,1] batch, ;probability FP32[-1,3] batch, 3,4,5;"},
		{"cat_multi_float", nil, "input__0 FP32[-1,5] batch, ,,,,;", "output__0 FP32[-1,1] batch, ;"},
		{"cat_logloss_bool", nil, "input__0 FP32[-1,5] batch, ,,,,;", "output__0 BOOL[-1,1] batch, ;"},
		{"cat_logloss_text", map[string]string{"output": "prediction,probability"}, "input__0 FP32[-1,5] batch, ,,,,;", "output__0 BYTES[-1,1] batch, ;probability FP32[-1,2] batch, no,yes;"},
		{"cat_onehot", nil, "input__0 FP32[-1,5] batch, ,,,,;categories__0 BYTES[-1,2] batch, ,;", "output__0 FP32[-1,1] batch, ;"},
		{"cat_words", nil, "categories__0 BYTES[-1,2] batch, ,;", "output__0 FP32[-1,1] batch, ;"},
	}
	for _, c := range cases {
		m, err := load(t, c.model, c.options)
		if err != nil {
			t.Errorf("%s: %v", c.model, err)
			continue
		}
		sig := m.Signature()
		if in, out := describe(sig.Inputs), describe(sig.Outputs); in != c.in || out != c.out {
			t.Errorf("%s %v:\n%s\n%s\nwant\n%s\n%s", c.model, c.options, in, out, c.in, c.out)
		}
		if m.Memory().Bytes <= 0 || m.Memory().Estimated {
			t.Errorf("%s: memory %+v", c.model, m.Memory())
		}
	}
}

func TestBadOptions(t *testing.T) {
	cases := []struct {
		model, name, value string
		want               []string
	}{
		{"xgb_reg", "speed", "high", []string{"no option \"speed\"", "output_type"}},
		{"xgb_reg", "input", "int8", []string{"options.input", "fp32 or fp64"}},
		{"xgb_reg", "output", "all", []string{"options.output", "prediction, margin, probability, leaf"}},
		{"xgb_reg", "output", "leaf,leaf", []string{"options.output", "twice"}},
		{"xgb_reg", "output", "probability", []string{"probability", "objective"}},
		{"xgb_reg", "iterations", "0", []string{"options.iterations", "from 1"}},
		{"xgb_reg", "iterations", "7", []string{"6 rounds"}},
		{"xgb_reg", "iterations", "best", []string{"best_iteration"}},
		{"xgb_reg", "missing", "none", []string{"options.missing", "number"}},
	}
	for _, c := range cases {
		_, err := load(t, c.model, map[string]string{c.name: c.value})
		names(t, err, append(c.want, "model 'm'"))
		var e *serval.Error
		if !errors.As(err, &e) || e.Code != serval.InvalidArgument {
			t.Errorf("%s=%s: %#v", c.name, c.value, err)
		}
	}
	_, err := New().Open(context.Background(), engine.Spec{Name: "m", Dir: folder(t, "xgb_reg"), Device: engine.Device{Kind: "cuda"}})
	names(t, err, []string{"CPU", "cuda"})
}

// The first rounds alone answer what a model of as many rounds answers, and a value may stand for missing ones.
func TestRoundsAndMissing(t *testing.T) {
	w := readWant(t, "lgb_binary")
	x := w.X.bytes(t)
	whole := run(t, open(t, folder(t, "lgb_binary"), map[string]string{"output": "leaf"}, 1), w, x, w.Rows)[0]
	part := run(t, open(t, folder(t, "lgb_binary"), map[string]string{"output": "leaf", "iterations": "2"}, 1), w, x, w.Rows)[0]
	for r := range w.Rows {
		if !bytes.Equal(part.Data[r*8:r*8+8], whole.Data[r*24:r*24+8]) {
			t.Fatalf("row %d: %x is not the beginning of %x", r, part.Data[r*8:r*8+8], whole.Data[r*24:r*24+24])
		}
	}
	marked := slices.Clone(x)
	for i := 0; i < len(x); i += 4 {
		if v := math.Float32frombits(binary.LittleEndian.Uint32(x[i:])); v != v {
			binary.LittleEndian.PutUint32(marked[i:], math.Float32bits(-999))
		}
	}
	if bytes.Equal(marked, x) {
		t.Fatal("the fixture has no missing values")
	}
	for _, input := range []string{"fp32", "fp64"} {
		data := marked
		if input == "fp64" {
			data = widen(marked)
		}
		m := open(t, folder(t, "lgb_binary"), map[string]string{"output": "leaf", "missing": "-999", "input": input}, 1)
		if got := run(t, m, w, data, w.Rows)[0]; !bytes.Equal(got.Data, whole.Data) {
			t.Errorf("%s: -999 is not taken for a missing value", input)
		}
	}
}

// One bad call fails alone.
func TestBadCalls(t *testing.T) {
	w := readWant(t, "cat_onehot")
	x := w.X.bytes(t)
	m := open(t, folder(t, "cat_onehot"), nil, 1)
	good := func() *engine.Call { return w.call(x, 2, 5, m.Signature()) }
	want := good()
	if err := m.Execute(t.Context(), []*engine.Call{want}); err != nil || want.Err != nil {
		t.Fatal(err, want.Err)
	}
	for name, c := range map[string]struct {
		spoil func(c *engine.Call)
		want  []string
	}{
		"type":       {func(c *engine.Call) { c.Inputs[0].DType = serval.FP64 }, []string{"input__0", "FP64", "FP32"}},
		"columns":    {func(c *engine.Call) { c.Inputs[0].Shape[1] = 4 }, []string{"input__0", "[3,4]", "[-1,5]"}},
		"rank":       {func(c *engine.Call) { c.Inputs[0].Shape = []int64{15} }, []string{"input__0", "[15]"}},
		"short":      {func(c *engine.Call) { c.Inputs[0].Data = c.Inputs[0].Data[4:] }, []string{"input__0", "bytes"}},
		"rows":       {func(c *engine.Call) { c.Inputs[1].Shape[0] = 2 }, []string{"categories__0", "2 rows"}},
		"cut text":   {func(c *engine.Call) { c.Inputs[1].Data = c.Inputs[1].Data[:5] }, []string{"categories__0"}},
		"negative":   {func(c *engine.Call) { c.Inputs[0].Shape[0], c.Inputs[1].Shape[0] = -1, -1 }, []string{"input__0"}},
		"few inputs": {func(c *engine.Call) { c.Inputs = c.Inputs[:1] }, []string{"2 inputs", "1"}},
	} {
		bad := good()
		c.spoil(bad)
		calls := []*engine.Call{good(), bad, good()}
		if err := m.Execute(t.Context(), calls); err != nil {
			t.Fatal(err)
		}
		names(t, bad.Err, c.want)
		for _, i := range []int{0, 2} {
			if calls[i].Err != nil || !bytes.Equal(calls[i].Outputs[0].Data, want.Outputs[0].Data) {
				t.Errorf("%s: its neighbour was answered %v, %v", name, calls[i].Outputs, calls[i].Err)
			}
		}
		alone := []*engine.Call{good()}
		c.spoil(alone[0])
		if err := m.Execute(t.Context(), alone); err != nil || alone[0].Err == nil {
			t.Errorf("%s: alone: %v, %v", name, err, alone[0].Err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Execute(ctx, []*engine.Call{good()}); !errors.Is(err, context.Canceled) {
		t.Errorf("a batch whose context has ended: %v", err)
	}
}

// Instances that share the trees run side by side, each on several goroutines.
func TestShare(t *testing.T) {
	w := readWant(t, "lgb_multiclass")
	x := bytes.Repeat(w.X.bytes(t), 20)
	w.Rows *= 20
	first := open(t, folder(t, "lgb_multiclass"), nil, 3)
	want := run(t, first, w, x, w.Rows)
	var wait sync.WaitGroup
	for range 4 {
		m, err := first.(engine.Sharer).Share(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wait.Add(1)
		go func() {
			defer wait.Done()
			for range 20 {
				c := []*engine.Call{w.call(x, 0, w.Rows, m.Signature())}
				if err := m.Execute(t.Context(), c); err != nil || !bytes.Equal(c[0].Outputs[0].Data, want[0].Data) {
					t.Error("another answer", err)
				}
				c[0].Reset()
			}
			_ = m.Close()
		}()
	}
	wait.Wait()
}

// Calls allocate nothing, whatever the model, once buffers are there.
func TestAllocations(t *testing.T) {
	for _, name := range []string{"xgb_reg", "xgb_cat_sets", "lgb_multiclass", "cat_onehot", "cat_logloss_text", "xgb_vector_leaf"} {
		w := readWant(t, name)
		x := w.X.bytes(t)
		m := open(t, folder(t, name), map[string]string{"output": "prediction,margin,leaf"}, 1)
		for _, rows := range []int{1, 8, w.Rows} {
			in := w.call(x, 0, rows, m.Signature()).Inputs
			c := &engine.Call{}
			calls := []*engine.Call{c}
			once := func() {
				c.Inputs, c.Rows = append(c.Inputs[:0], in...), int64(rows)
				if err := m.Execute(context.Background(), calls); err != nil || c.Err != nil {
					t.Fatal(err, c.Err)
				}
				c.Reset()
			}
			once()
			if n := testing.AllocsPerRun(200, once); n >= 1 && !raceEnabled {
				t.Errorf("%s, %d rows: %v allocations a call", name, rows, n)
			}
		}
	}
}
