package output

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"serval"
	"serval/client/element"
)

func floats(name string, shape []int64, values ...float64) serval.Tensor {
	t := serval.Tensor{Name: name, DType: serval.FP32, Shape: shape}
	for _, v := range values {
		t.Data, _ = element.AppendFloat(t.Data, t.DType, v)
	}
	return t
}

func strs(name string, shape []int64, values ...string) serval.Tensor {
	t := serval.Tensor{Name: name, DType: serval.Bytes, Shape: shape}
	for _, v := range values {
		t.Data = serval.AppendString(t.Data, v)
	}
	return t
}

func write(t *testing.T, format string, table *Table) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, format, table); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTable(t *testing.T) {
	outputs := []serval.Tensor{
		floats("p", []int64{2, 1}, 0.25, math.NaN()), strs("risk", []int64{2}, "good", "b\x1bad"), floats("two", []int64{2, 2}, 1, 2, 1e-7, 4),
		floats("deep", []int64{2, 1, 2}, 5, 6, 7, 8),
	}
	answer, err := Answer(outputs, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	answer.Carry("who", []string{"Ada", "Zoë"})
	answer.Carry("wrong length", []string{"x"})
	for format, want := range map[string]string{
		"table": "who     p  risk  two[0]  two[1]  deep\nAda  0.25  good       1       2  [[5, 6]]\nZoë   NaN  b·ad   1e-07       4  [[7, 8]]\n",
		"csv":   "who,p,risk,two[0],two[1],deep\nAda,0.25,good,1,2,\"[[5, 6]]\"\nZoë,NaN,b\x1bad,1e-07,4,\"[[7, 8]]\"\n",
		"json": "[\n  {\"who\": \"Ada\", \"p\": 0.25, \"risk\": \"good\", \"two[0]\": 1, \"two[1]\": 2, \"deep\": [[5, 6]]},\n" +
			"  {\"who\": \"Zoë\", \"p\": \"NaN\", \"risk\": \"b\\u001bad\", \"two[0]\": 1e-07, \"two[1]\": 4, \"deep\": [[7, 8]]}\n]\n",
	} {
		if got := write(t, format, answer); got != want {
			t.Errorf("%s:\n got %q\nwant %q", format, got, want)
		}
	}
	if err := Write(&bytes.Buffer{}, "xml", answer); serval.AsError(err).Code != serval.InvalidArgument {
		t.Errorf("xml: %v", err)
	}
}

func TestTableShapes(t *testing.T) {
	for _, c := range []struct {
		outputs []serval.Tensor
		r       *serval.Recipe
		want    string
	}{
		{nil, nil, "[]\n"},
		{[]serval.Tensor{floats("s", []int64{}, 3)}, nil, "[\n  {\"s\": 3}\n]\n"},
		{[]serval.Tensor{floats("e", []int64{0, 2})}, nil, "[]\n"},
		{[]serval.Tensor{floats("a", []int64{2}, 1, 2), floats("b", []int64{3}, 1, 2, 3)}, nil, "[\n  {\"a\": [1, 2], \"b\": [1, 2, 3]}\n]\n"},
		{[]serval.Tensor{floats("a", []int64{1}, 1), floats("b", []int64{1}, 2)},
			&serval.Recipe{Output: serval.OutputRecipe{Table: &serval.TableOutput{Outputs: []string{"b"}}}}, "[\n  {\"b\": 2}\n]\n"},
		{[]serval.Tensor{{Name: "c", DType: serval.Int64, Shape: []int64{1, 2}, Data: make([]byte, 16), Labels: []string{"x", "y"}}}, nil, "[\n  {\"x\": 0, \"y\": 0}\n]\n"},
	} {
		answer, err := Answer(c.outputs, c.r, 0)
		if err != nil {
			t.Error(err)
		} else if got := write(t, "json", answer); got != c.want || !json.Valid([]byte(got)) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if _, err := Answer([]serval.Tensor{{Name: "x", DType: serval.FP32, Shape: []int64{1 << 50, 30}, Data: make([]byte, 4)}}, nil, 0); err == nil {
		t.Error("an output whose shape lies was taken")
	}
}

func TestLabels(t *testing.T) {
	r := &serval.Recipe{Output: serval.OutputRecipe{Labels: &serval.LabelsOutput{Output: "y", Top: 2, Labels: []string{"cat", "dog", "fox"}}}}
	answer, err := Answer([]serval.Tensor{floats("y", []int64{1, 3}, 0.2, 0.5, 0.3)}, r, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := write(t, "csv", answer); got != "label,score\ndog,0.5\nfox,0.3\n" {
		t.Errorf("one row: %q", got)
	}
	r.Output.Labels.Softmax = true
	answer, err = Answer([]serval.Tensor{floats("y", []int64{2, 3}, 1000, math.Inf(-1), 1000, 0, 0, math.Log(2))}, r, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := write(t, "csv", answer); got != "row,label,score\n0,cat,0.5\n0,fox,0.5\n1,fox,0.5\n1,cat,0.25\n" {
		t.Errorf("softmax: %q", got)
	}
	var both Table
	both.Append("file", "a.png", answer)
	both.Append("file", "b.png", answer)
	if len(both.Rows) != 8 || strings.Join(both.Columns, ",") != "file,row,label,score" || both.Rows[4][0] != "b.png" {
		t.Errorf("two files: %+v", both)
	}
	for _, y := range []serval.Tensor{floats("z", []int64{1}, 1), floats("y", []int64{1, 2}, 1, 2), strs("y", []int64{1, 3}, "", "", "")} {
		if _, err := Answer([]serval.Tensor{y}, r, 0); serval.AsError(err).Code != serval.InvalidArgument {
			t.Errorf("%s %v: %v", y.Name, y.Shape, err)
		}
	}
}

func TestCTC(t *testing.T) {
	r := &serval.Recipe{Output: serval.OutputRecipe{CTC: &serval.CTCOutput{Output: "y", Dictionary: []string{"blank", "o", "n", " "}}}}
	// steps: n o o – o n n: repeats join, a blank keeps two equal letters apart
	y := floats("y", []int64{1, 7, 4},
		0, 0, 1, 0, 0, 1, 0, 0, 0, 0.5, 0, 0, 1, 0, 0, 0, 0, 0.4, 0, 0, 0, 0, 0.6, 0, 0, 0, 1, 0)
	answer, err := Answer([]serval.Tensor{y}, r, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := write(t, "csv", answer); got != "text,confidence\nnoon,0.75\n" {
		t.Errorf("got %q", got)
	}
	if answer, err = Answer([]serval.Tensor{floats("y", []int64{1, 0, 4})}, r, 0); err != nil || answer.Rows[0][0] != "" {
		t.Errorf("no steps: %v, %v", answer, err)
	}
	for _, bad := range []serval.Tensor{floats("y", []int64{1, 4}, 1, 2, 3, 4), floats("y", []int64{1, 1, 3}, 1, 2, 3)} {
		if _, err := Answer([]serval.Tensor{bad}, r, 0); err == nil {
			t.Errorf("%v was taken", bad.Shape)
		}
	}
}
