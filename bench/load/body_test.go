package load

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"serval"
)

func tensor(name string, t serval.DType, shape []int64, data ...byte) serval.Tensor {
	return serval.Tensor{Name: name, DType: t, Shape: shape, Data: data}
}

func TestJSONBody(t *testing.T) {
	words := serval.AppendString(serval.AppendString(nil, "a \"quote\""), "ü")
	p, err := Body(JSON, serval.Ref{Name: "m", Version: "2"}, []serval.Tensor{
		tensor("f", serval.FP32, []int64{2, 1}, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xbf),
		tensor("i", serval.Int16, []int64{2}, 0xff, 0xff, 1, 0),
		tensor("u", serval.Uint8, []int64{1}, 200),
		tensor("b", serval.Bool, []int64{2}, 1, 0),
		{Name: "s", DType: serval.Bytes, Shape: []int64{2}, Data: words},
		tensor("none", serval.FP64, []int64{0, 3}),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"inputs":[{"name":"f","shape":[2,1],"datatype":"FP32","data":[1,-0.5]},{"name":"i","shape":[2],"datatype":"INT16","data":[-1,1]},` +
		`{"name":"u","shape":[1],"datatype":"UINT8","data":[200]},{"name":"b","shape":[2],"datatype":"BOOL","data":[true,false]},` +
		`{"name":"s","shape":[2],"datatype":"BYTES","data":["a \"quote\"","ü"]},{"name":"none","shape":[0,3],"datatype":"FP64","data":[]}]}`
	if string(p.Bytes) != want {
		t.Errorf("got  %s\nwant %s", p.Bytes, want)
	}
	if p.Model != "m" || p.Version != "2" || p.Rows != 2 {
		t.Errorf("%+v", p)
	}
}

func TestBodyRefuses(t *testing.T) {
	nan := math.Float32bits(float32(math.NaN()))
	for name, c := range map[string]struct {
		format Format
		model  string
		input  serval.Tensor
		want   string
	}{
		"NaN":        {JSON, "m", tensor("x", serval.FP32, []int64{1}, byte(nan), byte(nan>>8), byte(nan>>16), byte(nan>>24)), "input 'x', value 0: JSON cannot carry NaN; use the binary format"},
		"half":       {JSON, "m", tensor("x", serval.FP16, []int64{1}, 0, 0), "JSON cannot carry FP16"},
		"not UTF-8":  {JSON, "m", tensor("x", serval.Bytes, []int64{1}, 1, 0, 0, 0, 0xff), "not UTF-8"},
		"short data": {Binary, "m", tensor("x", serval.FP32, []int64{2}, 0, 0, 0, 0), "takes 8 bytes, the data holds 4"},
		"no model":   {JSON, "", tensor("x", serval.Bool, []int64{1}, 0), "no name"},
		"format":     {0, "m", tensor("x", serval.Bool, []int64{1}, 0), "format"},
	} {
		if _, err := Body(c.format, serval.Ref{Name: c.model}, []serval.Tensor{c.input}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestBinaryBody(t *testing.T) {
	p, err := Body(Binary, serval.Ref{Name: "m", Alias: "best"}, []serval.Tensor{tensor("x", serval.FP16, []int64{2}, 1, 2, 3, 4), tensor("y", serval.Bool, []int64{1}, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(p.Bytes[:p.Header]) || string(p.Bytes[p.Header:]) != "\x01\x02\x03\x04\x01" || p.Model != "m@best" {
		t.Errorf("%+v", p)
	}
	if want := `"parameters":{"binary_data_size":4}`; !strings.Contains(string(p.Bytes), want) {
		t.Errorf("%s lacks %s", p.Bytes, want)
	}
}

func TestProtoBody(t *testing.T) {
	p, err := Body(Proto, serval.Ref{Name: "m", Version: "3"}, []serval.Tensor{tensor("x", serval.FP32, []int64{1, 300}, make([]byte, 1200)...)})
	if err != nil {
		t.Fatal(err)
	}
	fields := map[protowire.Number][]byte{}
	for b := p.Bytes; len(b) > 0; {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 || kind != protowire.BytesType {
			t.Fatalf("tag %v at %d", kind, len(p.Bytes)-len(b))
		}
		value, m := protowire.ConsumeBytes(b[n:])
		if m < 0 {
			t.Fatal("value")
		}
		fields[number], b = value, b[n+m:]
	}
	if string(fields[1]) != "m" || string(fields[2]) != "3" || string(fields[5]) != "\x0a\x01x\x12\x04FP32\x1a\x03\x01\xac\x02" || len(fields[7]) != 1200 {
		t.Errorf("%q", p.Bytes)
	}
}

func TestTensors(t *testing.T) {
	sig := serval.Signature{Inputs: []serval.TensorInfo{
		{Name: "a", DType: serval.FP32, Shape: []int64{-1, 3}, Symbols: []string{"batch", ""}},
		{Name: "b", DType: serval.Bytes, Shape: []int64{-1, -1}, Symbols: []string{"batch", "width"}},
		{Name: "c", DType: serval.FP16, Shape: []int64{2, -1}},
		{Name: "d", DType: serval.Bool},
		{Name: "e", DType: serval.Int64, Optional: true},
	}}
	list, err := Tensors(sig, Sample{Rows: 4, Seed: 7, Dims: map[string]int64{"width": 5}})
	if err != nil {
		t.Fatal(err)
	}
	shapes := ""
	for i := range list {
		if err := list[i].Check(); err != nil {
			t.Error(err)
		}
		shapes += list[i].Name + serval.ShapeString(list[i].Shape)
	}
	if want := "a[4,3]b[4,5]c[2,1]d[4]"; shapes != want {
		t.Errorf("got %s, want %s", shapes, want)
	}
	again, err := Tensors(sig, Sample{Rows: 4, Seed: 7, Dims: map[string]int64{"width": 5}})
	if err != nil || string(again[0].Data) != string(list[0].Data) {
		t.Errorf("the same seed drew other values (%v)", err)
	}
	if _, err := Tensors(sig, Sample{Dims: map[string]int64{"width": 1 << 40}}); err == nil || !strings.Contains(err.Error(), "input 'b'") {
		t.Errorf("a huge dimension: %v", err)
	}
}
