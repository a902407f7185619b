package predict

import (
	"context"
	"errors"
	"strings"
	"testing"

	"serval"
)

var sig = serval.Signature{
	Inputs: []serval.TensorInfo{
		{Name: "age", DType: serval.FP32, Shape: []int64{-1, 1}, Symbols: []string{"batch", ""}},
		{Name: "job", DType: serval.Bytes, Shape: []int64{-1, 1}, Symbols: []string{"batch", ""}},
		{Name: "hint", DType: serval.Int32, Shape: nil, Optional: true},
	},
	Outputs: []serval.TensorInfo{{Name: "risk", DType: serval.FP32, Shape: []int64{-1, 1}, Labels: []string{"default"}}, {Name: "class", DType: serval.Int64, Shape: []int64{-1}}},
}

func age(rows int64) serval.Tensor {
	return serval.Tensor{Name: "age", DType: serval.FP32, Shape: []int64{rows, 1}, Data: make([]byte, 4*rows)}
}

func job(rows int64) serval.Tensor {
	t := serval.Tensor{Name: "job", DType: serval.Bytes, Shape: []int64{rows, 1}}
	for range rows {
		t.Data = serval.AppendString(t.Data, "cook")
	}
	return t
}

// echo sees what reaches the queue and answers with both outputs.
type echo struct{ got []serval.Tensor }

func (e *echo) Handle(_ context.Context, r *serval.Request, s serval.Sink) error {
	e.got = r.Input.(*serval.Tensors).List
	return s.Send(&serval.Chunk{Output: &serval.Tensors{List: []serval.Tensor{{Name: "risk"}, {Name: "class"}}}})
}

func TestWhatDoesNotFitIsRefusedByName(t *testing.T) {
	cases := []struct {
		name   string
		inputs []serval.Tensor
		want   []string
		err    string
	}{
		{"fits, any order", []serval.Tensor{job(2), age(2)}, nil, ""},
		{"unknown", []serval.Tensor{age(1), job(1), {Name: "Age"}}, nil, "unexpected input 'Age' for model 'credit' version 1; it takes 'age' FP32 [batch,1], 'job' BYTES [batch,1], 'hint' INT32 of any shape"},
		{"missing", []serval.Tensor{age(1)}, nil, "input 'job' is missing"},
		{"twice", []serval.Tensor{age(1), age(1), job(1)}, nil, "input 'age' is given twice"},
		{"dtype", []serval.Tensor{{Name: "age", DType: serval.FP64, Shape: []int64{1, 1}, Data: make([]byte, 8)}, job(1)}, nil, "input 'age' of model 'credit' version 1 is FP32, the request gives FP64"},
		{"rank", []serval.Tensor{{Name: "age", DType: serval.FP32, Shape: []int64{1}, Data: make([]byte, 4)}, job(1)}, nil, "has shape [batch,1], the request gives [1]"},
		{"dimension", []serval.Tensor{{Name: "age", DType: serval.FP32, Shape: []int64{1, 2}, Data: make([]byte, 8)}, job(1)}, nil, "has shape [batch,1], the request gives [1,2]"},
		{"rows", []serval.Tensor{age(2), job(3)}, nil, "input 'job' has 3 rows, input 'age' has 2"},
		{"output", []serval.Tensor{age(1), job(1)}, []string{"risks"}, "output 'risks' is not one of model 'credit' version 1; it gives 'risk' FP32 [-1,1], 'class' INT64 [-1]"},
	}
	for _, c := range cases {
		next := &echo{}
		m := New("credit", "1", sig, true, next)
		err := m.Handle(context.Background(), &serval.Request{Input: &serval.Tensors{List: c.inputs, Want: c.want}}, serval.SinkFunc(func(*serval.Chunk) error { return nil }))
		var e *serval.Error
		switch {
		case c.err == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.err == "" && (len(next.got) != 3 || next.got[0].Name != "age" || next.got[1].Name != "job" || next.got[2].DType != serval.InvalidType):
			t.Errorf("%s: the queue got %v", c.name, next.got)
		case c.err != "" && (!errors.As(err, &e) || e.Code != serval.InvalidArgument || e.Param == "" || !strings.Contains(e.Message, c.err)):
			t.Errorf("%s: %v\nwant %s", c.name, err, c.err)
		}
	}
}

func TestWantedOutputsComeInTheOrderAsked(t *testing.T) {
	m := New("credit", "1", sig, true, &echo{})
	var got []string
	err := m.Handle(context.Background(), &serval.Request{Input: &serval.Tensors{List: []serval.Tensor{age(1), job(1)}, Want: []string{"class", "risk"}}},
		serval.SinkFunc(func(c *serval.Chunk) error {
			for _, o := range c.Output.(*serval.Tensors).List {
				got = append(append(got, o.Name), o.Labels...)
			}
			return nil
		}))
	if err != nil || strings.Join(got, " ") != "class risk default" {
		t.Errorf("%v, %v", got, err)
	}
}
