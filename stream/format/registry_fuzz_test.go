package format

import (
	"encoding/hex"
	"math"
	"math/big"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"serval"
	"serval/stream"
)

// fuzzRegistered fuzzes what stands behind the schema's id of a golden message, with that schema and without a registry.
func fuzzRegistered(f *testing.F, read stream.Format, keep func(id uint32, parsed *parsed), parse func(*source) (any, error), names ...string) {
	g := goldens(f)
	for _, name := range names {
		m := g.message(f, name, nil)
		f.Add(m.Value)
		id := uint32(m.Value[4])
		schema, err := parse(g.source(id))
		if err != nil {
			f.Fatal(err)
		}
		keep(id, &parsed{id, schema})
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if len(value) < 5 || value[1] != 0 || value[2] != 0 || value[3] != 0 || value[4] > 5 || value[4] == 0 {
			return // nobody is there to be asked
		}
		var call stream.Call
		model := applicants()
		m := &stream.Message{Value: value}
		if err := read.Decode(m, model, &call); err != nil {
			if c := serval.AsError(err).Code; c != serval.InvalidArgument && c != serval.Unavailable {
				t.Fatalf("%v: %v", c, err)
			}
			return
		}
		for _, x := range call.Input.(*serval.Tensors).List {
			if err := x.Check(); err != nil {
				t.Fatalf("%s: %v", x.Name, err)
			}
		}
		if err := read.Encode(m, &call, verdict(), &stream.Message{}); err != nil && serval.AsError(err).Code == serval.Internal {
			t.Fatal(err)
		}
	})
}

// nowhere are options with a registry that nobody answers at.
func nowhere() Schemed {
	o := defaultSchemed()
	o.Registry.URLs, o.Result, o.Missing, o.Fields = []string{"http://127.0.0.1:1"}, "json", "nan", applicantFields
	o.Pass = []string{"id", "address.zip", "since"}
	return o
}

func keepIn[B any](f *schemed[B]) func(uint32, *parsed) {
	return func(id uint32, p *parsed) { _, _ = f.ready.get(id, func() (*parsed, error) { return p, nil }) }
}

func FuzzAvro(f *testing.F) {
	o := nowhere()
	o.Pass = append(o.Pass, "address", "ratios", "amount")
	a, err := newAvro(&Avro{o})
	if err != nil {
		f.Fatal(err)
	}
	fuzzRegistered(f, a, keepIn(a.schemed), a.parse, "avro", "avro-later")
}

func FuzzProtobufSchema(f *testing.F) {
	p, err := newProtobufSchema(&ProtobufSchema{nowhere()})
	if err != nil {
		f.Fatal(err)
	}
	fuzzRegistered(f, p, keepIn(p.schemed), p.parse, "protobuf", "protobuf-wage", "protobuf-empty")
}

func FuzzJSONSchema(f *testing.F) {
	j, err := newJSONSchema(&JSONSchema{nowhere(), true})
	if err != nil {
		f.Fatal(err)
	}
	fuzzRegistered(f, j, keepIn(j.schemed), j.parse, "json")
}

// FuzzProtoWalk: what is read straight from the bytes is what Google's own decoder reads.
func FuzzProtoWalk(f *testing.F) {
	g := goldens(f)
	p := &protoRecords{}
	file, err := p.parse(g.source(4))
	if err != nil {
		f.Fatal(err)
	}
	d, _, err := typeOf(file.(protoreflect.FileDescriptor), []byte{4, 2, 0})
	if err != nil {
		f.Fatal(err)
	}
	root := &protoNode{}
	paths := []string{"id", "age", "income", "wage", "job", "address.zip", "address.geo", "limit", "zero"}
	for i, path := range paths {
		if _, err := root.want(d, strings.Split(path, "."), i); err != nil {
			f.Fatal(err)
		}
	}
	for _, name := range []string{"protobuf", "protobuf-wage"} {
		b, _ := hex.DecodeString(g.Messages[name])
		f.Add(b[8:])
	}
	f.Add(protowire.AppendBytes(protowire.AppendTag(nil, 8, protowire.BytesType), nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		theirs := dynamicpb.NewMessage(d)
		theirErr := proto.Unmarshal(body, theirs)
		values := make([]any, len(paths))
		err := root.read(body, values)
		if theirErr != nil {
			return // it may be in what we do not read
		}
		if err != nil {
			t.Fatalf("%v, which they read: %v", err, theirs)
		}
		for i, path := range paths {
			if want := their(theirs, strings.Split(path, ".")); !same(values[i], want) {
				t.Errorf("%s is %#v, not %#v", path, values[i], want)
			}
		}
	})
}

// their is a field's value by Google's decoder, as ours has it.
func their(m protoreflect.Message, path []string) any {
	d := m.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	switch {
	case len(path) > 1 && !m.Has(d), d.HasPresence() && !m.Has(d):
		return nil
	case len(path) > 1:
		return their(m.Get(d).Message(), path[1:])
	case d.IsList():
		list := []any(nil)
		for i := range m.Get(d).List().Len() {
			list = append(list, m.Get(d).List().Get(i).Interface())
		}
		return list
	case d.Enum() != nil:
		return enumOf(d, m.Get(d).Enum())
	}
	return m.Get(d).Interface()
}

func same(a, b any) bool {
	x, many := a.([]any)
	y, too := b.([]any)
	if many != too || len(x) != len(y) {
		return false
	}
	for i := range x {
		if !same(x[i], y[i]) {
			return false
		}
	}
	if f, ok := a.(float32); ok && f != f {
		g, ok := b.(float32)
		return ok && g != g
	}
	if f, ok := a.(float64); ok && f != f {
		g, ok := b.(float64)
		return ok && g != g
	}
	return many || a == b
}

// TestValues: what fits into which type, and what is said of the rest.
func TestValues(t *testing.T) {
	for _, c := range []struct {
		d    serval.DType
		v    any
		want string // the value, or part of the error
	}{
		{serval.Int8, int32(-128), "-128"}, {serval.Int8, int32(-129), "cannot hold"}, {serval.Uint8, int64(255), "255"}, {serval.Uint8, int64(-1), "cannot hold"},
		{serval.Int64, uint64(math.MaxUint64), "cannot hold"}, {serval.Uint64, uint64(math.MaxUint64), "18446744073709551615"}, {serval.Int32, 3.0, "3"}, {serval.Int32, 3.5, "cannot hold"},
		{serval.FP32, 1e300, "cannot hold"}, {serval.FP32, math.Inf(-1), `"-Infinity"`}, {serval.FP64, int64(7), "7.0"}, {serval.FP64, big.NewRat(1, 4), "0.25"}, {serval.Bool, true, "true"},
		{serval.Bool, int32(2), "cannot hold"}, {serval.FP32, "old", `the text "old"`}, {serval.Bytes, "x", `"x"`}, {serval.Bytes, symbol{"A", 1}, `"A"`}, {serval.Int16, symbol{"A", 1}, "1"},
		{serval.Bytes, int32(1), "takes text"}, {serval.FP32, []any{float32(1)}, "1.0"}, {serval.FP32, []any{1.0, 2.0}, "2 values"}, {serval.FP32, map[string]any{}, "a record"},
		{serval.Bytes, [16]byte{15: 1}, `"00000000-0000-0000-0000-000000000001"`}, {serval.Bytes, big.NewRat(-5, 4), `"-1.25"`}, {serval.Int64, nil, "has no value"},
	} {
		m := mapping{}
		p, err := m.of(&serval.ModelInfo{Signature: serval.Signature{Inputs: []serval.TensorInfo{{Name: "x", DType: c.d, Shape: []int64{-1, 1}}}}})
		if err != nil {
			t.Fatal(err)
		}
		r := p.row()
		got := ""
		if err := r.value(c.v, place{0, -1}, "x"); err != nil {
			got = err.Error()
		} else if in, err := r.done(false); err != nil {
			got = err.Error()
		} else {
			text, err := appendRow(nil, &in.List[0])
			if err != nil {
				t.Fatal(err)
			}
			got = string(text)
		}
		if got != c.want && !(strings.Contains(got, "field 'x'") && strings.Contains(got, c.want)) {
			t.Errorf("%T %v in %s: %s, not %s", c.v, c.v, c.d, got, c.want)
		}
	}
}

// TestSchemedOptions: what is wrong is said when the configuration is read, without asking anybody.
func TestSchemedOptions(t *testing.T) {
	for want, change := range map[string]func(*Schemed){
		"urls is missing":             func(o *Schemed) { o.Registry.URLs = nil },
		"write http":                  func(o *Schemed) { o.Registry.URLs = []string{"registry:8081"} },
		"user within":                 func(o *Schemed) { o.Registry.URLs = []string{"http://a:b@registry"} },
		"two ways":                    func(o *Schemed) { o.Registry.Token, o.Registry.Username = "a", "b" },
		"belong together":             func(o *Schemed) { o.Registry.Cert = "a" },
		"subject is missing":          func(o *Schemed) { o.Result = "" },
		"but result is json":          func(o *Schemed) { o.Subject = "a" },
		"risk.Prediction":             func(o *Schemed) { o.Name = "a..b" },
		"a member of every result":    func(o *Schemed) { o.Pass = []string{"model"} },
		"use error or nan":            func(o *Schemed) { o.Missing = "zero" },
		"column 2":                    func(o *Schemed) { o.Columns = []string{"a", "a"} },
		"timeout must be more than 0": func(o *Schemed) { o.Registry.Timeout = 0 },
		"no such file or directory":   func(o *Schemed) { o.Registry.CA = "/nowhere/ca.pem" },
		"use schema or json":          func(o *Schemed) { o.Result = "xml" },
	} {
		for _, options := range []any{&Avro{nowhere()}, &ProtobufSchema{nowhere()}, &JSONSchema{nowhere(), true}} {
			switch o := options.(type) {
			case *Avro:
				change(&o.Schemed)
			case *ProtobufSchema:
				change(&o.Schemed)
			case *JSONSchema:
				change(&o.Schemed)
			}
			if _, err := New(options, nil); err == nil || serval.AsError(err).Code != serval.InvalidArgument || !strings.Contains(err.Error(), want) {
				t.Errorf("%T: %v; it must say %q", options, err, want)
			}
		}
	}
}

// BenchmarkDecode is one message to the model's inputs, beside the same as plain JSON:
// go test ./stream/format -run xxx -bench Decode
func BenchmarkDecode(b *testing.B) {
	g, model := goldens(b), applicants()
	o := nowhere()
	a, errA := newAvro(&Avro{o})
	p, errP := newProtobufSchema(&ProtobufSchema{o})
	o.Fields = map[string]string{"address.zip": "zip", "address.geo": "geo", "ratios.debt": "debt"}
	r, errR := newRows(&Rows{Fields: o.Fields, Pass: o.Pass, Missing: "nan"})
	if errA != nil || errP != nil || errR != nil {
		b.Fatal(errA, errP, errR)
	}
	for name, f := range map[string]stream.Format{"avro": a, "protobuf": p, "rows": r} {
		m := &stream.Message{Value: []byte(`{"id":4711,"age":42,"income":1234.5,"job":"PILOT","amount":1999.99,"since":1795766400250,"born":5172,"ref":"0af76519-16cd-43dd-8448-eb211c80319c","address":{"zip":"8001","geo":[47.375,8.5]},"ratios":{"debt":0.25},"other":null}`)}
		switch name {
		case "avro":
			m = g.message(b, "avro", nil)
			schema, err := a.parse(g.source(1))
			if err != nil {
				b.Fatal(err)
			}
			keepIn(a.schemed)(1, &parsed{1, schema})
		case "protobuf":
			m = g.message(b, "protobuf", nil)
			schema, err := p.parse(g.source(4))
			if err != nil {
				b.Fatal(err)
			}
			keepIn(p.schemed)(4, &parsed{4, schema})
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var call stream.Call
				if err := f.Decode(m, model, &call); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
