package format

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"serval"
	"serval/stream"
	"serval/wire/inference"
)

// matrix is a model with one input of three columns; columns is one with an input for each field.
func matrix() *serval.ModelInfo {
	return &serval.ModelInfo{Name: "m", Version: "3", Loaded: time.Unix(1, 0), Signature: serval.Signature{
		Inputs:  []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 3}}},
		Outputs: []serval.TensorInfo{{Name: "y", DType: serval.FP32, Shape: []int64{-1, 1}}},
	}}
}

func columns() *serval.ModelInfo {
	return &serval.ModelInfo{Name: "c", Version: "1", Loaded: time.Unix(2, 0), Signature: serval.Signature{Inputs: []serval.TensorInfo{
		{Name: "age", DType: serval.Int64, Shape: []int64{-1, 1}}, {Name: "job", DType: serval.Bytes, Shape: []int64{-1}},
		{Name: "vector", DType: serval.FP64, Shape: []int64{-1, 2}}, {Name: "extra", DType: serval.FP32, Shape: []int64{-1}, Optional: true},
	}}}
}

func language() *serval.ModelInfo {
	return &serval.ModelInfo{Name: "l", Version: "1", Language: &serval.Language{Generate: true}}
}

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// made makes a format, or fails the test.
func made(t testing.TB, options any, events *CloudEvents) stream.Format {
	t.Helper()
	f, err := New(options, events)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func decode(t testing.TB, f stream.Format, model *serval.ModelInfo, m *stream.Message) *stream.Call {
	t.Helper()
	var call stream.Call
	if err := f.Decode(m, model, &call); err != nil {
		t.Fatalf("%s: %v", m.Value, err)
	}
	return &call
}

// answer is what a model of matrix's kind says.
func answer() *stream.Answer {
	y := serval.Tensor{Name: "y", DType: serval.FP32, Shape: []int64{1, 1}, Data: f32(0.25)}
	return &stream.Answer{Model: serval.Ref{Name: "m", Version: "3"}, Trace: trace, Outputs: []serval.Tensor{
		y, {Name: "p", DType: serval.FP64, Shape: []int64{1, 2}, Data: append(f64(0.5), f64(1.5)...)}, {Name: "label", DType: serval.Bytes, Shape: []int64{1}, Data: serval.AppendString(nil, `good "one"`)},
	}, Finish: serval.Stop}
}

func f32(v float32) []byte { return narrow(nil, uint64(math.Float32bits(v)), 4) }
func f64(v float64) []byte { return narrow(nil, math.Float64bits(v), 8) }

func encode(t testing.TB, f stream.Format, call *stream.Call, a *stream.Answer, m *stream.Message) *stream.Message {
	t.Helper()
	out := &stream.Message{Headers: append([]stream.Header(nil), m.Headers...)}
	if err := f.Encode(m, call, a, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func tensors(c *stream.Call) []serval.Tensor { return c.Input.(*serval.Tensors).List }

func TestRows(t *testing.T) {
	f := made(t, &Rows{Columns: []string{"a", "b.c", "d"}, Pass: []string{"id", "b.c"}}, nil)
	m := &stream.Message{Value: []byte(`{"d": 3, "id": "x\"1", "other": [1, {"a": 9}], "b": {"c": null, "z": 1}, "a": 1.5}`)}
	call := decode(t, f, matrix(), m)
	x := tensors(call)[0]
	if number := x.DType.Numbers(); x.Name != "x" || serval.ShapeString(x.Shape) != "[1,3]" || number(x.Data, 0) != 1.5 || !math.IsNaN(number(x.Data, 1)) || number(x.Data, 2) != 3 {
		t.Errorf("%+v", x)
	}
	out := encode(t, f, call, answer(), m)
	want := `{"id":"x\"1","b.c":null,"prediction":{"y":0.25,"p":[0.5,1.5],"label":"good \"one\""},"model":"m","version":"3","trace_id":"0af7651916cd43dd8448eb211c80319c"}`
	if string(out.Value) != want {
		t.Errorf("the result is\n%s, not\n%s", out.Value, want)
	}
	f = made(t, &Rows{Fields: map[string]string{"years": "age"}}, nil)
	call = decode(t, f, columns(), &stream.Message{Value: []byte(`{"years": 41, "job": "clerk", "vector": [1, 2.5]}`)})
	list := tensors(call)
	if len(list) != 3 || list[0].DType.Numbers()(list[0].Data, 0) != 41 || string(list[1].Data[4:]) != "clerk" || list[2].DType.Numbers()(list[2].Data, 1) != 2.5 {
		t.Errorf("%+v", list)
	}
}

func TestRowsMistakes(t *testing.T) {
	f := made(t, &Rows{Columns: []string{"a", "b", "d"}}, nil)
	for text, want := range map[string]string{
		`{"a": 1, "b": 2}`:                 "field 'd' is missing",
		`{"a": "x", "b": 2, "d": 1}`:       "field 'a'",
		`{"a": 1, "a": 2, "b": 2, "d": 1}`: "field 'a' is given twice",
		`{"a": [1], "b": 2, "d": 1}`:       "field 'a'",
		`{"a": 1e99, "b": 2, "d": 1}`:      "field 'a'",
		`[1, 2, 3]`:                        "must be an object",
		``:                                 "",
		`{"a": 1, "b": 2, "d": 1} {}`:      "",
		`{"a": 1, "b": 2, "d": {"a": 1}}`:  "field 'd'",
	} {
		var call stream.Call
		err := f.Decode(&stream.Message{Value: []byte(text)}, matrix(), &call)
		if e := serval.AsError(err); err == nil || e.Code != serval.InvalidArgument || !strings.Contains(e.Message, want) {
			t.Errorf("%s: %v; it must say %q", text, err, want)
		}
	}
	// A format that does not fit the model is no message's fault.
	var call stream.Call
	for _, o := range []any{&Rows{Columns: []string{"a"}}, &Rows{Columns: []string{"a"}, Input: "z"}, &Rows{Fields: map[string]string{"a": "z"}}, &Chat{}} {
		err := made(t, o, nil).Decode(&stream.Message{Value: []byte(`{"a": 1}`)}, matrix(), &call)
		if e := serval.AsError(err); err == nil || e.Code != serval.Conflict {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestCSV(t *testing.T) {
	f := made(t, &CSV{Separator: ";", Line: []string{"id", "a", "b", "c"}, Columns: []string{"a", "b", "c"}, Pass: []string{"id"}}, nil)
	m := &stream.Message{Value: []byte("\"n;1\";1.5;;-3\n")}
	call := decode(t, f, matrix(), m)
	x := tensors(call)[0]
	if number := x.DType.Numbers(); number(x.Data, 0) != 1.5 || !math.IsNaN(number(x.Data, 1)) || number(x.Data, 2) != -3 {
		t.Errorf("%+v", x)
	}
	if out := encode(t, f, call, answer(), m); string(out.Value) != `"n;1";0.25;0.5;1.5;"good ""one""";m;3` {
		t.Errorf("the result is %s", out.Value)
	}
	for text, want := range map[string]string{"1;2;3": "3 columns", "x;1;y;2": "column 'b'", "1;2;3;4\n1;2;3;4": "more than one line", `"`: "not a CSV line", "": "not a CSV line"} {
		var call stream.Call
		if err := f.Decode(&stream.Message{Value: []byte(text)}, matrix(), &call); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; it must say %q", text, err, want)
		}
	}
}

func TestOIP(t *testing.T) {
	m := &stream.Message{Value: []byte(`{"id":"7","parameters":{"priority":2,"x":true},"inputs":[{"data":[[1,2,3]],"name":"x","shape":[1,3],"datatype":"FP32"}],"outputs":[{"name":"y"}]}`)}
	f := made(t, &OIP{}, nil)
	call := decode(t, f, matrix(), m)
	if call.ID != "7" || call.Priority != 2 || len(tensors(call)[0].Data) != 12 || call.Input.(*serval.Tensors).Want[0] != "y" {
		t.Errorf("%+v", call)
	}
	out := encode(t, f, call, answer(), m)
	want := `{"model_name":"m","model_version":"3","id":"7","parameters":{"trace_id":"0af7651916cd43dd8448eb211c80319c"},"outputs":[{"name":"y","datatype":"FP32","shape":[1,1],"data":[0.25]},{"name":"p","datatype":"FP64","shape":[1,2],"data":[0.5,1.5]},{"name":"label","datatype":"BYTES","shape":[1],"data":["good \"one\""]}]}`
	if string(out.Value) != want {
		t.Errorf("the result is\n%s, not\n%s", out.Value, want)
	}
	for _, text := range []string{`{}`, `{"inputs":[{}]}`, `{"inputs":[{"name":"x","shape":[1000000000000,30],"datatype":"FP32","data":[1]}]}`, `{"inputs":[{"name":"x","shape":[1],"datatype":"FP99","data":[1]}]}`, `{"inputs":[]} x`} {
		if err := f.Decode(&stream.Message{Value: []byte(text)}, matrix(), &stream.Call{}); serval.AsError(err).Code != serval.InvalidArgument {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestProtobuf(t *testing.T) {
	value, err := proto.Marshal(&inference.ModelInferRequest{Id: "7", Inputs: []*inference.ModelInferRequest_InferInputTensor{
		{Name: "x", Datatype: "FP32", Shape: []int64{1, 3}, Contents: &inference.InferTensorContents{Fp32Contents: []float32{1, 2, 3}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	f, m := made(t, &Protobuf{}, nil), &stream.Message{Value: value}
	call := decode(t, f, matrix(), m)
	if x := tensors(call)[0]; x.DType.Numbers()(x.Data, 2) != 3 {
		t.Errorf("%+v", x)
	}
	var r inference.ModelInferResponse
	if err := proto.Unmarshal(encode(t, f, call, answer(), m).Value, &r); err != nil || r.Id != "7" || r.ModelVersion != "3" || len(r.RawOutputContents) != 3 || r.Parameters["trace_id"].GetStringParam() == "" {
		t.Errorf("%v %v", &r, err)
	}
}

func TestChat(t *testing.T) {
	f := made(t, &Chat{System: "Be brief.", MaxTokens: 20, Pass: []string{"ticket"}}, nil)
	m := &stream.Message{Value: []byte(`{"ticket": 7, "messages": [{"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}], "stop": "\n"}`)}
	call := decode(t, f, language(), m)
	c := call.Input.(*serval.Chat)
	if len(c.Messages) != 2 || c.Messages[0].Content != "Be brief." || c.Messages[1].Content != "Hello" || *c.Limit != 20 || c.Stop[0] != "\n" {
		t.Errorf("%+v", c)
	}
	a := &stream.Answer{Model: serval.Ref{Name: "l", Version: "1"}, Text: "Hi", Finish: serval.Stop, Usage: serval.Usage{Prompt: 3, Completion: 1}, Calls: []serval.ToolCall{{ID: "i", Name: "n", Arguments: "{}"}}}
	var got map[string]any
	if err := json.Unmarshal(encode(t, f, call, a, m).Value, &got); err != nil || got["text"] != "Hi" || got["ticket"] != 7.0 || got["finish_reason"] != "stop" || got["model"] != "l" || got["tool_calls"] == nil {
		t.Errorf("%v %v", got, err)
	}
	if p := decode(t, f, language(), &stream.Message{Value: []byte(`{"prompt": "Once"}`)}).Input.(*serval.Completion); p.Text != "Once" {
		t.Errorf("%+v", p)
	}
	for _, text := range []string{`{}`, `{"prompt":"a","messages":[{"role":"user","content":"x"}]}`, `{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, `{"prompt":"a","max_tokens":0}`, `nothing`} {
		if err := f.Decode(&stream.Message{Value: []byte(text)}, language(), &stream.Call{}); serval.AsError(err).Code != serval.InvalidArgument {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestRaw(t *testing.T) {
	f := made(t, &Raw{}, nil)
	if c := decode(t, f, language(), &stream.Message{Value: []byte("Once")}).Input.(*serval.Completion); c.Text != "Once" {
		t.Errorf("%+v", c)
	}
	call := decode(t, f, matrix(), &stream.Message{Value: append(append(f32(1), f32(2)...), f32(3)...)})
	if x := tensors(call)[0]; serval.ShapeString(x.Shape) != "[1,3]" {
		t.Errorf("%+v", x)
	}
	if err := f.Decode(&stream.Message{Value: []byte("abc")}, matrix(), &stream.Call{}); serval.AsError(err).Code != serval.InvalidArgument {
		t.Errorf("three bytes: %v", err)
	}
	a := answer()
	a.Outputs = a.Outputs[2:]
	if out := encode(t, f, call, a, &stream.Message{}); string(out.Value) != `good "one"` {
		t.Errorf("%s", out.Value)
	}
}

func TestCloudEvents(t *testing.T) {
	f := made(t, &Rows{Columns: []string{"a", "b", "d"}}, &CloudEvents{On: true, Source: "/scores"})
	structured := &stream.Message{Headers: []stream.Header{{Key: "content-type", Value: []byte("application/cloudevents+json")}},
		Value: []byte(`{"specversion":"1.0","id":"e1","source":"/shop","type":"applied","subject":"s","traceparent":"` + trace + `","data":{"a":1,"b":2,"d":3}}`)}
	call := decode(t, f, matrix(), structured)
	var got map[string]any
	out := encode(t, f, call, answer(), structured)
	if err := json.Unmarshal(out.Value, &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"specversion": "1.0", "id": "e1", "source": "/scores", "type": "applied.prediction", "subject": "s", "traceparent": trace, "datacontenttype": "application/json", "servalversion": "3"} {
		if got[key] != want {
			t.Errorf("structured: %s is %v, not %s", key, got[key], want)
		}
	}
	if got["data"].(map[string]any)["model"] != "m" {
		t.Errorf("data: %v", got["data"])
	}
	binary := &stream.Message{Value: []byte(`{"a":1,"b":2,"d":3}`)}
	for key, v := range map[string]string{"ce_specversion": "1.0", "ce_id": "e2", "ce_source": "/shop", "ce_type": "applied", "content-type": "application/json"} {
		binary.Headers = append(binary.Headers, stream.Header{Key: key, Value: []byte(v)})
	}
	out = encode(t, f, decode(t, f, matrix(), binary), answer(), binary)
	for key, want := range map[string]string{"ce_specversion": "1.0", "ce_id": "e2", "ce_source": "/scores", "ce_type": "applied.prediction", "content-type": "application/json"} {
		if v, _ := out.Header(key); string(v) != want {
			t.Errorf("binary: %s is %s, not %s", key, v, want)
		}
	}
	if !json.Valid(out.Value) || strings.Contains(string(out.Value), "specversion") {
		t.Errorf("binary: %s", out.Value)
	}
	for _, text := range []string{`{}`, `{"specversion":"0.3","id":"1","source":"s","type":"t","data":{}}`, `{"specversion":"1.0","id":"1","source":"s","type":"t"}`, `{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"?"}`, `[]`} {
		if err := f.Decode(&stream.Message{Value: []byte(text)}, matrix(), &stream.Call{}); serval.AsError(err).Code != serval.InvalidArgument {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// fuzz gives a format bytes from outside: it must not panic, and what it takes must be tensors that hold what they say.
func fuzz(f *testing.F, format stream.Format, model *serval.ModelInfo, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var call stream.Call
		err := format.Decode(&stream.Message{Value: value}, model, &call)
		if err != nil {
			if c := serval.AsError(err).Code; c != serval.InvalidArgument && c != serval.TooLarge {
				t.Fatalf("%q: %v is %v", value, err, c)
			}
			return
		}
		if in, ok := call.Input.(*serval.Tensors); ok {
			for i := range in.List {
				if err := in.List[i].Check(); err != nil {
					t.Fatalf("%q: %v", value, err)
				}
			}
		}
		if model.Language != nil {
			return
		}
		var out stream.Message
		if err := format.Encode(&stream.Message{Value: value}, &call, answer(), &out); err != nil {
			t.Fatalf("%q: the result: %v", value, err)
		}
		if kind, _ := out.Header(contentType); isJSON(string(kind)) && !json.Valid(out.Value) {
			t.Fatalf("%q: the result is not JSON: %q", value, out.Value)
		}
	})
}

func FuzzRows(f *testing.F) {
	fuzz(f, made(f, &Rows{Columns: []string{"a", "b.c", "d"}, Pass: []string{"id", "b"}, Missing: "nan"}, nil), matrix(), `{"a":1,"b":{"c":2},"d":null,"id":[1]}`)
}

// FuzzRowsGroup: a message in a group is read as it is alone, whatever came before it.
func FuzzRowsGroup(f *testing.F) {
	rows := made(f, &Rows{Columns: []string{"a", "b.c", "d"}, Pass: []string{"id", "b"}, Missing: "nan"}, nil)
	f.Add([]byte(`{"a":1,"b":{"c":2},"d":null,"id":[1]}`), []byte(`{"id":[1],"a" : 1.5,"x":{},"b":{"c":-2e9},"d":3,"id":"again"}`))
	f.Add([]byte(`{"a":1,"d":2,"b.c":3}`), []byte(`{"a":1,"d":2,"a":3}`))
	f.Add([]byte(`{"a":1,"d":`), []byte(`{"\u0061":1,"d":"NaN","b.c":[3]}`))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		together := rows.(stream.Gatherer).Gather(4)
		var calls []stream.Call
		list := [][]byte{first, second, first, second, second}
		for _, value := range list {
			var call, alone stream.Call
			a := together(&stream.Message{Value: value}, matrix(), &call)
			b := rows.Decode(&stream.Message{Value: value}, matrix(), &alone)
			if (a == nil) != (b == nil) || !reflect.DeepEqual(call.Carry, alone.Carry) {
				t.Fatalf("%q: in a group %v %v, alone %v %v", value, a, call, b, alone)
			}
			if calls = append(calls, call, alone); a == nil {
				// The call's own piece ends where the next one's begins.
				_ = append(call.Input.(*serval.Tensors).List[0].Data, 1, 2, 3, 4)
			}
		}
		for i := 0; i < len(calls); i += 2 {
			if !reflect.DeepEqual(calls[i], calls[i+1]) {
				t.Fatalf("%q: in a group %v, alone %v", list[i/2], calls[i], calls[i+1])
			}
		}
	})
}

func FuzzRowsInputs(f *testing.F) {
	fuzz(f, made(f, &Rows{}, nil), columns(), `{"age":1,"job":"x","vector":[1,2]}`, `{"age":[1],"job":["x"],"vector":[[1,2]],"extra":null}`)
}

func FuzzCSV(f *testing.F) {
	fuzz(f, made(f, &CSV{Separator: ",", Line: []string{"a", "b", "c"}, Columns: []string{"a", "b", "c"}, Pass: []string{"b"}}, nil), matrix(), "1,2,3", "\"1\",,3\n")
}

func FuzzOIP(f *testing.F) {
	fuzz(f, made(f, &OIP{}, nil), matrix(), `{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`, `{"id":"1","inputs":[{"data":["a"],"name":"x","shape":[1],"datatype":"BYTES"}],"outputs":[{"name":"y"}]}`)
}

func FuzzProtobuf(f *testing.F) {
	value, _ := proto.Marshal(&inference.ModelInferRequest{Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: "x", Datatype: "INT8", Shape: []int64{1}, Contents: &inference.InferTensorContents{IntContents: []int32{1}}}}})
	fuzz(f, made(f, &Protobuf{}, nil), matrix(), string(value))
}

func FuzzChat(f *testing.F) {
	fuzz(f, made(f, &Chat{Pass: []string{"x"}}, nil), language(), `{"messages":[{"role":"user","content":"a"}],"x":1}`, `{"prompt":"a","stop":["b"]}`)
}

func FuzzRaw(f *testing.F) { fuzz(f, made(f, &Raw{Output: "p"}, nil), matrix(), "123456789012") }

func FuzzCloudEvents(f *testing.F) {
	fuzz(f, made(f, &Rows{Columns: []string{"a", "b", "d"}, Missing: "nan"}, &CloudEvents{On: true}), matrix(),
		`{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"a":1}}`, `{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"text/plain","data":"{}"}`, `{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"e30="}`)
}

// BenchmarkRows is a row of 16 fields in 280 bytes, alone and in groups.
func BenchmarkRows(b *testing.B) {
	const fields, group = 16, 256
	o := &Rows{Pass: []string{"id"}}
	value := []byte(`{"id":123456`)
	for i := range fields {
		o.Columns = append(o.Columns, fmt.Sprintf("f%d", i))
		value = fmt.Appendf(value, `,"f%d":%v`, i, float32(i*i)*1.37-90)
	}
	value = fmt.Appendf(value, `,"note":"%s"}`, strings.Repeat("n", max(0, 268-len(value))))
	f := made(b, o, nil)
	model := &serval.ModelInfo{Name: "m", Version: "1", Signature: serval.Signature{Inputs: []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, fields}}}}}
	m := &stream.Message{Value: value}
	run := func(name string, decode func() stream.Decode) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(value)))
			next := decode()
			for i := range b.N {
				if i%group == 0 {
					next = decode()
				}
				var call stream.Call
				if err := next(m, model, &call); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("alone", func() stream.Decode { return f.Decode })
	run("group", func() stream.Decode { return f.(stream.Gatherer).Gather(group) })
	b.Run("encode", func(b *testing.B) {
		var call stream.Call
		if err := f.Decode(m, model, &call); err != nil {
			b.Fatal(err)
		}
		a := answer()
		a.Outputs = a.Outputs[:1]
		room, headers := make([]byte, 0, 1024), make([]stream.Header, 0, 4)
		b.ReportAllocs()
		for range b.N {
			out := stream.Message{Value: room, Headers: headers}
			if err := f.Encode(m, &call, a, &out); err != nil {
				b.Fatal(err)
			}
		}
	})
}
