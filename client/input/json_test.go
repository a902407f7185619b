package input

import (
	"fmt"
	"strings"
	"testing"
)

func sprint(v any) string { return fmt.Sprint(v) }

func TestJSON(t *testing.T) {
	for _, c := range []struct {
		text string
		m    Model
		want string
	}{
		{`{"inputs":[{"name":"x","datatype":"INT32","shape":[2,2],"data":[[1,2],[3,4]]}],"outputs":[{"name":"y"}]}`, net, "x INT32 [2,2] 1 2 3 4"},
		{`{"inputs":[{"name":"s","datatype":"BYTES","shape":[2],"data":["a","b"]},{"name":"b","datatype":"BOOL","shape":[1],"data":[true]}]}`, net, "s BYTES [2] a b; b BOOL [1] true"},
		{`{"inputs":{"x":[[1,2,3],[4,5,6]]}}`, net, "x FP32 [2,3] 1 2 3 4 5 6"},
		{`{"inputs":{"x":[1,2,3]}}`, net, "x FP32 [1,3] 1 2 3"},
		{`{"inputs":{"city":["a","b"],"age":[1,null]}}`, people, "age FP32 [2,1] 1 NaN; city BYTES [2] a b"},
		{`[{"age":1,"city":"a"},{"city":"b","age":2,"note":"n"}]`, people, "age FP32 [2,1] 1 2; city BYTES [2] a b"},
		{`{"age":1,"city":"a","vip":true}`, people, "age FP32 [1,1] 1; city BYTES [1] a; vip BOOL [1,1] true"},
		{`[{"x":[1,2,3]},{"x":[4,5,6]}]`, net, "x FP32 [2,3] 1 2 3 4 5 6"},
		{`[[1,2,3],[4,5,6]]`, net, "x FP32 [2,3] 1 2 3 4 5 6"},
	} {
		in, err := Read("t.json", []byte(c.text), c.m)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		} else if got := show(t, in); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.text, got, c.want)
		}
	}
	in, err := Read("stdin", []byte(` {"inputs":[{"name":"x","datatype":"FP32","shape":[0],"data":[]}],"outputs":[{"name":"y"}],"parameters":{"a":1}}`), net)
	if err != nil || len(in.Want) != 1 || in.Want[0] != "y" || len(in.Ignored) != 1 {
		t.Errorf("outputs and parameters: %+v, %v", in, err)
	}
}

func TestJSONErrorsNameThePlace(t *testing.T) {
	for _, c := range []struct {
		text string
		m    Model
		want string
	}{
		{"{\n\"inputs\": oops}", net, "t.json, line 2: not JSON: invalid character 'o' looking for beginning of value"},
		{`{} x`, net, "t.json: more follows after the end of the JSON value"},
		{`3`, people, "t.json: use {\"inputs\""},
		{`[]`, people, "t.json: use {\"inputs\""},
		{`{"inputs":{"y":[1]}}`, net, "t.json: the model has no input 'y'; its inputs are 'x'"},
		{`{"inputs":{"age":[1]}}`, people, "t.json: nothing for the input 'city' (BYTES [-1])"},
		{`{"inputs":{"x":[[1,2,3],[4,"a",6]]}}`, net, "t.json, input 'x': [1][1]: \"a\" is a string, where a value of type FP32 is needed"},
		{`{"inputs":{"x":[[1,2,3],[4,5]]}}`, net, "t.json, input 'x': [1]: has shape [2], where [0] has [3]"},
		{`{"inputs":{"x":[[1,2],[4,5]]}}`, net, "t.json, input 'x': shape [2,2], where the model takes [-1,3]"},
		{`[{"age":1,"city":"a"},{"age":2}]`, people, "t.json, row 1, field 'city': missing; the model takes BYTES [-1]"},
		{`[{"age":1,"city":"a"},7]`, people, "t.json, row 1: not an object, as row 0 is"},
		{`[{"x":[1,2,3]},{"x":[1,2]}]`, net, "t.json, row 1, field 'x': shape [2], where row 0 has [3]"},
		{`{"inputs":[{"name":"x","datatype":"FLOAT","shape":[1],"data":[1]}]}`, net, "t.json, input 'x': datatype \"FLOAT\" is not known; use FP32, INT64, BYTES, …"},
		{`{"inputs":[{"name":"x","datatype":"FP32","shape":[1000000000000,30],"data":[1]}]}`, net, "t.json: input 'x': shape [1000000000000,30] of FP32 takes"},
		{`{"inputs":[{"datatype":"FP32","shape":[1],"data":[1]}]}`, net, "t.json, inputs[0]: has no name"},
		{strings.Repeat("[", 100_000), net, "t.json"},
	} {
		_, err := Read("t.json", []byte(c.text), c.m)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%.80q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}`))
	f.Add([]byte(`{"inputs":{"x":[[1,2,3]]}}`))
	f.Add([]byte(`[{"x":[1,2,3]},{"x":[4,null,"NaN"]}]`))
	f.Add([]byte(`[[],[]]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := Read("f.json", data, net)
		if err != nil {
			return
		}
		for i := range in.Tensors {
			if err := in.Tensors[i].Check(); err != nil {
				t.Errorf("a tensor that does not hold together: %v", err)
			}
		}
	})
}
