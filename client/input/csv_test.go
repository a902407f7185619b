package input

import (
	"strings"
	"testing"

	"serval"
	"serval/client/element"
)

// people is a model with one input a column.
var people = Model{Signature: serval.Signature{Inputs: []serval.TensorInfo{
	{Name: "age", DType: serval.FP32, Shape: []int64{-1, 1}},
	{Name: "city", DType: serval.Bytes, Shape: []int64{-1}},
	{Name: "vip", DType: serval.Bool, Shape: []int64{-1, 1}, Optional: true},
}}}

// net is a model with one matrix input.
var net = Model{Signature: serval.Signature{Inputs: []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 3}}}}}

// show writes tensors as name type shape values.
func show(t *testing.T, in *Input) string {
	t.Helper()
	var b strings.Builder
	for i := range in.Tensors {
		x := &in.Tensors[i]
		values, err := element.Values(x)
		if err != nil {
			t.Fatalf("the tensor does not hold together: %v", err)
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(x.Name + " " + x.DType.String() + " " + serval.ShapeString(x.Shape) + " ")
		b.WriteString(strings.ReplaceAll(strings.Trim(strings.ReplaceAll(sprint(values), "\n", " "), "[]"), "  ", " "))
	}
	for _, c := range in.Extra {
		b.WriteString("; extra " + c.Name + " " + strings.Join(c.Texts, ","))
	}
	return b.String()
}

func TestCSV(t *testing.T) {
	recipe := net
	recipe.Recipe = &serval.Recipe{Input: serval.InputRecipe{CSV: &serval.CSVInput{Input: "x", Columns: []string{"c", "a", "b"}}}}
	for _, c := range []struct {
		name, text string
		m          Model
		want       string
	}{
		{"by name", "city,id,age\nParis,7,41\n\"São Paulo, BR\",8,3.5\n", people, "age FP32 [2,1] 41 3.5; city BYTES [2] Paris São Paulo, BR; extra id 7,8"},
		{"optional", "age,city,vip\n1,a,true\n", people, "age FP32 [1,1] 1; city BYTES [1] a; vip BOOL [1,1] true"},
		{"bom, semicolons, crlf", "\xef\xbb\xbfage;city\r\n1;a\r\n", people, "age FP32 [1,1] 1; city BYTES [1] a"},
		{"matrix with header", "a,b,c\n1,2,3\n4,5,nan\n", net, "x FP32 [2,3] 1 2 3 4 5 NaN"},
		{"matrix without header", "1,2,3\n4,5,6\n", net, "x FP32 [2,3] 1 2 3 4 5 6"},
		{"recipe", "id,a,b,c\nq,1,2,3\n", recipe, "x FP32 [1,3] 3 1 2; extra id q"},
	} {
		in, err := Read("t.csv", []byte(c.text), c.m)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := show(t, in); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestCSVErrorsNameThePlace(t *testing.T) {
	one := Model{Signature: serval.Signature{Inputs: []serval.TensorInfo{{Name: "x", DType: serval.Int64, Shape: []int64{1, 1}}}}}
	wide := Model{Signature: serval.Signature{Inputs: []serval.TensorInfo{{Name: "a", DType: serval.FP32, Shape: []int64{-1, 2}}, {Name: "b", DType: serval.FP32, Shape: []int64{-1}}}}}
	for _, c := range []struct {
		text  string
		m     Model
		want  string
		param string
	}{
		{"", people, "t.csv: empty; the first line must name the columns", ""},
		{"age,city\n", people, "t.csv: names its columns, but has no rows", ""},
		{"age\n1\n", people, "t.csv, line 1: no column 'city'; the model's inputs are 'age', 'city', 'vip'", "city"},
		{"age,age,city\n1,2,a\n", people, "t.csv, line 1: two columns are named 'age'", "age"},
		{"age,city\n1,a\nold,b\n", people, "t.csv, line 3, column 'age': \"old\" is not a number", "age"},
		{"city,age\n\"a\nb\",\n", people, "t.csv, line 3, column 'age': empty, where a number is needed (write nan for a missing one)", "age"},
		{"age,city\n1,a,b\n", people, "t.csv, line 2: not as many columns as line 1 has", ""},
		{"age,city\n1,\"a\n", people, "t.csv, line 2: extraneous or missing \" in quoted-field", ""},
		{"1,2\n", net, "t.csv, line 1: 2 columns, where the input 'x' takes 3", "x"},
		{"1,2,3\n1,x,3\n", net, "t.csv, line 2, column '2': \"x\" is not a number", "2"},
		{"x\n1\n2\n", one, "t.csv, input 'x': 2 rows, where the model takes exactly 1 a request", "x"},
		{"a,b\n1,2\n", wide, "t.csv, input 'a': one column, where the model takes [2] a row; give it as .json or .npy", "a"},
	} {
		_, err := Read("dir/t.csv", []byte(c.text), c.m)
		if err == nil || err.Error() != c.want {
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
			continue
		}
		if e := serval.AsError(err); e.Code != serval.InvalidArgument || e.Param != c.param {
			t.Errorf("%q: code %v, param %q", c.text, e.Code, e.Param)
		}
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"age,city\n1,a\n", "1,2,3\n4,5,6\n", "a;b;c\n1;2;3\n", "\"", "\xef\xbb\xbf", ",\n,\n", "x\ty\tz\n1\t2\t3"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range []Model{people, net} {
			in, err := Read("f.csv", data, m)
			if err != nil {
				continue
			}
			for i := range in.Tensors {
				if err := in.Tensors[i].Check(); err != nil {
					t.Errorf("a tensor that does not hold together: %v", err)
				}
			}
		}
	})
}
