package predict

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"serval"
)

// inner is a model with all that a view can change.
var inner = serval.Signature{
	Inputs: []serval.TensorInfo{
		{Name: "rows", DType: serval.FP32, Shape: []int64{-1, 6}, Symbols: []string{"batch", ""}},
		{Name: "flag", DType: serval.FP32, Shape: []int64{-1}},
		{Name: "bias", DType: serval.FP32, Shape: []int64{2}, Optional: true},
	},
	Outputs: []serval.TensorInfo{
		{Name: "scores", DType: serval.FP32, Shape: []int64{-1, 3}, Labels: []string{"a", "b", "c"}},
		{Name: "pair", DType: serval.FP64, Shape: []int64{-1, 2}},
		{Name: "scalar", DType: serval.FP32, Shape: []int64{}},
		{Name: "any", DType: serval.FP32},
	},
}

func floats32(v ...float32) []byte {
	var b []byte
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

func floats64(v ...float64) []byte {
	var b []byte
	for _, f := range v {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
	}
	return b
}

// model answers for inner, two rows, and keeps what reached it.
type model struct{ got []serval.Tensor }

func (m *model) Handle(_ context.Context, r *serval.Request, s serval.Sink) error {
	m.got = r.Input.(*serval.Tensors).List
	return s.Send(&serval.Chunk{Output: &serval.Tensors{List: []serval.Tensor{
		{Name: "scores", DType: serval.FP32, Shape: []int64{2, 3}, Data: floats32(0.1, 0.7, 0.2, 0.4, 0.4, 0.2)},
		{Name: "pair", DType: serval.FP64, Shape: []int64{2, 2}, Data: floats64(0.7, 0.3, 0.6, 0.4)},
		{Name: "scalar", DType: serval.FP32, Shape: []int64{}, Data: floats32(5)},
		{Name: "any", DType: serval.FP32, Shape: []int64{1, 2, 3}, Data: floats32(1, 2, 3, 4, 5, 6)},
	}}})
}

func text(list []serval.Tensor) string {
	var b strings.Builder
	for _, t := range list {
		fmt.Fprintf(&b, "%s %s %s %x; ", t.Name, t.DType, serval.ShapeString(t.Shape), t.Data)
	}
	return b.String()
}

func TestView(t *testing.T) {
	_, err := NewView(inner, []serval.TensorSettings{
		{Name: "on", Source: "flag", Datatype: "FP32", Shape: []int64{-1, 1}, Reshape: []int64{-1}},
		{Name: "matrix", Source: "rows", Shape: []int64{-1, 2, 3}, Reshape: []int64{-1, 6}},
	}, []serval.TensorSettings{
		{Name: "one", Source: "scalar", Shape: []int64{1}},
		{Name: "best", Source: "scores", Class: true},
		{Name: "yes", Source: "pair", Class: true, Datatype: "FP32", Threshold: 0.35},
		{Name: "maybe", Source: "pair", Class: true, Datatype: "INT32"},
		{Name: "flat", Source: "any", Shape: []int64{-1, 6}, Reshape: []int64{-1, 2, 3}},
		{Name: "scores", OnRequest: true},
	}, true)
	if err == nil || !strings.Contains(err.Error(), "output 'one' of the model has shape []; for batches") {
		t.Fatalf("a scalar has no batch: %v", err)
	}
	v, err := NewView(inner, []serval.TensorSettings{
		{Name: "on", Source: "flag", Datatype: "FP32", Shape: []int64{-1, 1}, Reshape: []int64{-1}},
		{Name: "matrix", Source: "rows", Shape: []int64{-1, 2, 3}, Reshape: []int64{-1, 6}},
	}, []serval.TensorSettings{
		{Name: "one", Source: "scalar", Shape: []int64{1}},
		{Name: "best", Source: "scores", Class: true},
		{Name: "yes", Source: "pair", Class: true, Datatype: "FP32", Threshold: 0.35},
		{Name: "maybe", Source: "pair", Class: true, Datatype: "INT32"},
		{Name: "flat", Source: "any", Shape: []int64{-1, 6}, Reshape: []int64{-1, 2, 3}},
		{Name: "scores", OnRequest: true},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	sig := v.Signature()
	if got := describe(sig.Inputs) + " → " + describe(sig.Outputs); got != "'on' FP32 [-1,1], 'matrix' FP32 [-1,2,3] → 'one' FP32 [1], 'best' INT64 [-1,1], 'yes' FP32 [-1,1], 'maybe' INT32 [-1,1], 'flat' FP32 [-1,6], 'scores' FP32 [-1,3]" {
		t.Error(got)
	}
	next := &model{}
	m := New("m", "1", sig, true, v.Before(next)).Limit(2).Usual(v.Usual())
	call := func(rows int64, want ...string) ([]serval.Tensor, error) {
		in := &serval.Tensors{Want: want, List: []serval.Tensor{
			{Name: "matrix", DType: serval.FP32, Shape: []int64{rows, 2, 3}, Data: make([]byte, 24*rows)},
			{Name: "on", DType: serval.FP32, Shape: []int64{rows, 1}, Data: make([]byte, 4*rows)}}}
		req := &serval.Request{Input: in}
		var got []serval.Tensor
		err := m.Handle(t.Context(), req, serval.SinkFunc(func(c *serval.Chunk) error { got = c.Output.(*serval.Tensors).List; return nil }))
		if req.Input != in {
			t.Error("the request has another input now")
		}
		return got, err
	}
	got, err := call(2)
	if err != nil {
		t.Fatal(err)
	}
	if text(next.got) != "rows FP32 [2,6] "+strings.Repeat("00", 48)+"; flag FP32 [2] "+strings.Repeat("00", 8)+";  INVALID [] ; " {
		t.Errorf("the model got %s", text(next.got))
	}
	one, zero := fmt.Sprintf("%x", floats32(1)), fmt.Sprintf("%x", floats32(0))
	want := fmt.Sprintf("one FP32 [1] %x; best INT64 [2,1] 01000000000000000000000000000000; yes FP32 [2,1] %s%s; maybe INT32 [2,1] 0000000000000000; flat FP32 [1,6] %x; ",
		floats32(5), zero, one, floats32(1, 2, 3, 4, 5, 6))
	if text(got) != want {
		t.Errorf("got  %s\nwant %s", text(got), want)
	}
	if got, err := call(1, "scores"); err != nil || len(got) != 1 || got[0].Name != "scores" || !reflect.DeepEqual(got[0].Labels, []string{"a", "b", "c"}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := call(3); err == nil || !strings.Contains(err.Error(), "batch-size must be <= 2") {
		t.Errorf("three rows: %v", err)
	}
}

// A view that shows the model as it is costs nothing, and narrows what it declares narrower.
func TestPlainView(t *testing.T) {
	one := serval.Signature{
		Inputs:  []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, -1}, Symbols: []string{"batch", "n"}}},
		Outputs: []serval.TensorInfo{{Name: "y", DType: serval.FP32, Shape: []int64{-1, 3}}},
	}
	v, err := NewView(one, []serval.TensorSettings{{Name: "x", Datatype: "FP32", Shape: []int64{-1, 4}}}, []serval.TensorSettings{{Name: "y", Shape: []int64{-1, -1}}}, true)
	if err != nil {
		t.Fatal(err)
	}
	next := serval.Handler(&model{})
	if v.Before(next) != next {
		t.Error("it stands in the way")
	}
	sig := v.Signature()
	if got := describe(sig.Inputs) + " → " + describe(sig.Outputs); got != "'x' FP32 [batch,4] → 'y' FP32 [-1,3]" {
		t.Error(got)
	}
	if v, err := NewView(one, nil, nil, false); err != nil || !reflect.DeepEqual(v.Signature(), one) || v.Before(next) != next {
		t.Errorf("nothing declared: %+v, %v", v, err)
	}
}

func TestViewsThatDoNotFit(t *testing.T) {
	rows, flag := serval.TensorSettings{Name: "rows"}, serval.TensorSettings{Name: "flag"}
	scores := serval.TensorSettings{Name: "scores"}
	for want, c := range map[string]struct{ in, out []serval.TensorSettings }{
		"input 'rows' is declared as FP32 [-1,7], the model has FP32 [batch,6]":                        {in: []serval.TensorSettings{{Name: "rows", Shape: []int64{-1, 7}}, flag}},
		"input 'rows' is declared as FP64 [-1,6], the model has FP32 [batch,6]":                        {in: []serval.TensorSettings{{Name: "rows", Datatype: "FP64", Shape: []int64{-1, 6}}, flag}},
		"input 'rows' is declared as FP32 [-1,2,2] (reshaped to [-1,4]), the model has FP32 [batch,6]": {in: []serval.TensorSettings{{Name: "rows", Shape: []int64{-1, 2, 2}, Reshape: []int64{-1, 4}}, flag}},
		"input 'row' is declared, but the model has no input 'row'; it takes 'rows' FP32 [batch,6]":    {in: []serval.TensorSettings{{Name: "row"}, flag}},
		"input 'rows' is declared twice": {in: []serval.TensorSettings{rows, rows, flag}},
		"input 'flag' of the model, FP32 [-1], is not among the declared inputs ('rows')":              {in: []serval.TensorSettings{rows}},
		"output 'y' is declared, but the model has no output 'y'; it gives 'scores' FP32 [-1,3]":       {out: []serval.TensorSettings{{Name: "y"}}},
		"output 'scores' is declared twice":                                                            {out: []serval.TensorSettings{scores, scores}},
		"every output is declared on_request":                                                          {out: []serval.TensorSettings{{Name: "scores", OnRequest: true}}},
		"output 'any': the model gives 'any' as FP32 of any shape; a class is the highest of each row": {out: []serval.TensorSettings{{Name: "any", Class: true}}},
		"output 'scores': a class is INT64, INT32 or FP32, not \"FP16\"":                               {out: []serval.TensorSettings{{Name: "scores", Class: true, Datatype: "FP16"}}},
		"output 'scores' is declared with shape [-1,3]; a class of each row is [-1,1]":                 {out: []serval.TensorSettings{{Name: "scores", Class: true, Shape: []int64{-1, 3}}}},
		"output 'scores': a threshold is for two classes, the model has 3":                             {out: []serval.TensorSettings{{Name: "scores", Class: true, Threshold: 0.5}}},
		"input 'rows': the datatype \"FLOAT\" is not known":                                            {in: []serval.TensorSettings{{Name: "rows", Datatype: "FLOAT"}, flag}},
	} {
		if _, err := NewView(inner, c.in, c.out, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// What a reshape leaves open is checked against what the model fixes.
func TestReshapeThatARequestBreaks(t *testing.T) {
	v, err := NewView(inner, []serval.TensorSettings{{Name: "rows", Shape: []int64{-1, 1, -1}, Reshape: []int64{-1, -1}}, {Name: "flag"}}, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	m := New("m", "1", v.Signature(), false, v.Before(&model{}))
	in := &serval.Tensors{List: []serval.Tensor{
		{Name: "rows", DType: serval.FP32, Shape: []int64{2, 1, 5}, Data: make([]byte, 40)}, {Name: "flag", DType: serval.FP32, Shape: []int64{2}, Data: make([]byte, 8)}}}
	err = m.Handle(t.Context(), &serval.Request{Input: in}, serval.SinkFunc(func(*serval.Chunk) error { return nil }))
	if err == nil || !strings.Contains(err.Error(), "input 'rows' becomes shape [2,5] for the model, which takes [batch,6]") {
		t.Error(err)
	}
}
