package format

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"serval"
	"serval/internal/testkit"
	"serval/stream"
)

// golden are schemas and messages as Confluent's serialisers made them; see test/python/registry.
type golden struct {
	Schemas []struct {
		Subject, Type, Schema string
		ID, Version           int
		References            []sr.SchemaReference
	}
	Messages map[string]string
}

func goldens(t testing.TB) *golden {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "registry.json"))
	if err != nil {
		t.Fatal(err)
	}
	g := &golden{}
	if err := json.Unmarshal(raw, g); err != nil {
		t.Fatal(err)
	}
	return g
}

// message is one, with its schema's id as ids says.
func (g *golden) message(t testing.TB, name string, ids map[uint32]uint32) *stream.Message {
	t.Helper()
	b, err := hex.DecodeString(g.Messages[name])
	if err != nil || len(b) < 5 {
		t.Fatalf("%s: %v", name, err)
	}
	if ids != nil {
		binary.BigEndian.PutUint32(b[1:], ids[binary.BigEndian.Uint32(b[1:])])
	}
	return &stream.Message{Value: b}
}

// source is a schema without a registry.
func (g *golden) source(id uint32) *source {
	out := &source{}
	for _, s := range g.Schemas {
		if uint32(s.ID) != id {
			continue
		}
		_ = out.kind.UnmarshalText([]byte(s.Type))
		out.text = s.Schema
		for _, ref := range s.References {
			for _, r := range g.Schemas {
				if r.Subject == ref.Subject && r.Version == ref.Version {
					out.refs = append(out.refs, reference{ref.Name, r.Schema})
				}
			}
		}
	}
	return out
}

// applicants is a model with an input for each of many fields; its outputs are a label, scores and a table.
func applicants() *serval.ModelInfo {
	one := func(name string, d serval.DType) serval.TensorInfo {
		return serval.TensorInfo{Name: name, DType: d, Shape: []int64{-1, 1}}
	}
	return &serval.ModelInfo{Name: "credit", Version: "7", Loaded: time.Unix(1, 0), Signature: serval.Signature{
		Inputs: []serval.TensorInfo{one("age", serval.Int64), one("income", serval.FP32), one("job", serval.Bytes), one("amount", serval.FP64),
			one("since", serval.FP64), one("zip", serval.Bytes), {Name: "geo", DType: serval.FP64, Shape: []int64{-1, 2}}, one("debt", serval.FP32)},
		Outputs: []serval.TensorInfo{{Name: "label", DType: serval.Bytes, Shape: []int64{-1}}, {Name: "output-0", DType: serval.FP32, Shape: []int64{-1, 3}},
			{Name: "table", DType: serval.Int64, Shape: []int64{-1, 2, 2}}, one("sure", serval.Bool)},
	}}
}

var applicantFields = map[string]string{"address.zip": "zip", "address.geo": "geo", "ratios.debt": "debt"}

func verdict() *stream.Answer {
	return &stream.Answer{Model: serval.Ref{Name: "credit", Version: "7"}, Trace: trace, Outputs: []serval.Tensor{
		{Name: "label", DType: serval.Bytes, Shape: []int64{1}, Data: serval.AppendString(nil, "good")},
		{Name: "output-0", DType: serval.FP32, Shape: []int64{1, 3}, Data: slices.Concat(f32(0.5), f32(0.25), f32(-1))},
		{Name: "table", DType: serval.Int64, Shape: []int64{1, 2, 2}, Data: slices.Concat(i64(1), i64(2), i64(3), i64(-4))},
		{Name: "sure", DType: serval.Bool, Shape: []int64{1, 1}, Data: []byte{1}},
	}}
}

func i64(v int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(v)) }

// shown is an input's tensors as JSON, to be compared with a text that a person can read.
func shown(t *testing.T, in serval.Input) string {
	t.Helper()
	out := map[string]any{}
	for _, x := range in.(*serval.Tensors).List {
		if err := x.Check(); err != nil {
			t.Fatal(err)
		}
		var list []any
		for i := 0; x.DType != serval.Bytes && i < len(x.Data); i += x.DType.Size() {
			var v any
			switch d := x.Data[i:]; x.DType {
			case serval.Int64:
				v = int64(binary.LittleEndian.Uint64(d))
			case serval.FP32:
				v = math.Float32frombits(binary.LittleEndian.Uint32(d))
			case serval.FP64:
				v = math.Float64frombits(binary.LittleEndian.Uint64(d))
			}
			if f, ok := v.(float32); ok && f != f {
				v = "NaN"
			} else if f, ok := v.(float64); ok && f != f {
				v = "NaN"
			}
			list = append(list, v)
		}
		for rest := x.Data; x.DType == serval.Bytes && len(rest) > 0; {
			var one []byte
			one, rest, _ = serval.NextBytes(rest)
			list = append(list, string(one))
		}
		out[x.Name] = list
	}
	b, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func pemOf(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }

func validate(schema any, text []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.(*jsonschema.Schema).Validate(v)
}

// fieldsOf are a message's fields as name:value, by name.
func fieldsOf(m protoreflect.Message) (list []string) {
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		var text []string
		switch {
		case d.IsList():
			for i := range v.List().Len() {
				text = append(text, fmt.Sprint(v.List().Get(i).Interface()))
			}
		case d.Message() != nil:
			text = []string{"{" + strings.Join(fieldsOf(v.Message()), " ") + "}"}
		case d.Kind() == protoreflect.DoubleKind:
			text = []string{strconv.FormatFloat(v.Float(), 'f', -1, 64)}
		default:
			text = []string{fmt.Sprint(v.Interface())}
		}
		list = append(list, string(d.Name())+":"+strings.Join(text, ","))
		return true
	})
	slices.Sort(list)
	return list
}

// gate stands in front of a registry: it counts, asks for a password, and may be closed.
type gate struct {
	*httptest.Server
	asked  atomic.Int64
	closed atomic.Bool
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: u.Scheme, Host: u.Host}) }}
	g.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.asked.Add(1)
		user, password, _ := r.BasicAuth()
		switch {
		case g.closed.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case (user != "alice" || password != "secret") && r.Header.Get("Authorization") != "Bearer token":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(g.Close)
	return g
}

// TestRegistry reads what Confluent's serialisers wrote, and writes results whose schemas the registry takes, through TLS and
// with a user, with the real registry behind.
func TestRegistry(t *testing.T) {
	real := testkit.Registry(t)
	client, err := sr.NewClient(sr.URLs(real.URL))
	if err != nil {
		t.Fatal(err)
	}
	g, ids := goldens(t), map[uint32]uint32{}
	for _, s := range g.Schemas {
		schema := sr.Schema{Schema: s.Schema, References: s.References}
		if err := schema.Type.UnmarshalText([]byte(s.Type)); err != nil {
			t.Fatal(err)
		}
		id, err := client.RegisterSchema(t.Context(), s.Subject, schema, -1, -1)
		if err != nil {
			t.Fatal(err)
		}
		ids[uint32(s.ID)] = uint32(id)
	}
	front := newGate(t, real.URL)
	u, _ := url.Parse(real.URL)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pemOf(front.Certificate().Raw), 0o600); err != nil {
		t.Fatal(err)
	}
	options := func(subject string) Schemed {
		o := defaultSchemed()
		o.Registry.URLs, o.Registry.CA = []string{front.URL + u.Path}, ca
		o.Registry.Username, o.Registry.Password = "alice", "secret"
		o.Fields, o.Subject, o.Missing = applicantFields, subject, "nan"
		return o
	}
	t.Run("avro", func(t *testing.T) { testAvro(t, g, ids, client, options("avro-results")) })
	t.Run("protobuf", func(t *testing.T) { testProtobuf(t, g, ids, client, options("protobuf-results")) })
	t.Run("json", func(t *testing.T) { testJSONSchema(t, g, ids, client, options("json-results")) })
	t.Run("trouble", func(t *testing.T) { testTrouble(t, g, ids, front, client, options("trouble-results")) })
}

// resultOf decodes a message, has it answered, and returns the result and the schema that stands in front of it.
func resultOf(t *testing.T, f stream.Format, m *stream.Message, client *sr.Client, want string) (value []byte, schema sr.Schema) {
	t.Helper()
	call := decode(t, f, applicants(), m)
	if got := shown(t, call.Input); got != want {
		t.Errorf("the inputs are\n%s, not\n%s", got, want)
	}
	var out stream.Message
	if err := f.Encode(m, call, verdict(), &out); err != nil {
		t.Fatal(err)
	}
	if client == nil {
		return out.Value, sr.Schema{}
	}
	if len(out.Value) < 5 || out.Value[0] != 0 {
		t.Fatalf("the result is %x", out.Value)
	}
	schema, err := client.SchemaByID(t.Context(), int(binary.BigEndian.Uint32(out.Value[1:])))
	if err != nil {
		t.Fatal(err)
	}
	return out.Value[5:], schema
}

func testAvro(t *testing.T, g *golden, ids map[uint32]uint32, client *sr.Client, o Schemed) {
	o.Pass = []string{"id", "income", "address", "address.zip", "segment", "since", "amount", "ref"}
	f := made(t, &Avro{o}, nil)
	for name, want := range map[string][2]string{
		"avro": {`{"age":[42],"amount":[1999.99],"debt":[0.25],"geo":[47.375,8.5],"income":[1234.5],"job":["PILOT"],"since":[1795766400250],"zip":["8001"]}`,
			`{"address":{"geo":[47.375,8.5],"zip":"8001"},"address_zip":"8001","amount":"\u0003\r?","id":4711,"income":1234.5,"model":"credit",` +
				`"prediction":{"label":"good","output_0":[0.5,0.25,-1],"sure":true,"table":[[1,2],[3,-4]]},"ref":"0af76519-16cd-43dd-8448-eb211c80319c","since":1795766400250,"trace_id":"0af7651916cd43dd8448eb211c80319c","version":"7"}`},
	} {
		value, schema := resultOf(t, f, g.message(t, name, ids), client, want[0])
		if got := avroText(t, schema, value); got != want[1] {
			t.Errorf("%s: the result is\n%s, not\n%s", name, got, want[1])
		}
	}
	m := g.message(t, "avro-later", ids)
	want := strings.ReplaceAll(`{"age":[43],"amount":[5.5],"debt":[NaN],"geo":[1,2],"income":[10.5],"job":["CLERK"],"since":[1000000],"zip":[]}`, "NaN", `"NaN"`)
	if err := f.Decode(m, applicants(), &stream.Call{}); err == nil || !strings.Contains(err.Error(), "address.zip") {
		t.Errorf("a text without a value: %v", err)
	}
	o.Fields = map[string]string{"segment": "zip", "address.geo": "geo", "ratios.debt": "debt"}
	f = made(t, &Avro{o}, nil)
	value, schema := resultOf(t, f, m, client, strings.Replace(want, `"zip":[]`, `"zip":["gold"]`, 1))
	if got := avroText(t, schema, value); !strings.Contains(got, `"segment":"gold","since":1000000`) || strings.Contains(got, `"ref"`) || !strings.Contains(got, `"address_zip":null`) {
		t.Errorf("the later result is %s", got)
	}
	versions, err := client.SubjectVersions(t.Context(), o.Subject)
	if err != nil || len(versions) != 2 {
		t.Errorf("versions %v of the results' schema, %v", versions, err)
	}
	o.Result, o.Subject = "json", ""
	text, _ := resultOf(t, made(t, &Avro{o}, nil), m, nil, strings.Replace(want, `"zip":[]`, `"zip":["gold"]`, 1))
	if want := `{"id":4712,"income":10.5,"address":{"geo":[1.0,2.0],"zip":null},"address.zip":null,"segment":"gold","since":1000000,"amount":5.5,"prediction":{"label":"good",`; !strings.HasPrefix(string(text), want) {
		t.Errorf("as JSON the result is %s, not %s", text, want)
	}
}

// avroText is an Avro record as JSON with its members in order.
func avroText(t *testing.T, schema sr.Schema, value []byte) string {
	t.Helper()
	s, err := avro.Parse(schema.Schema, rawTimes()...)
	if err != nil || schema.Type != sr.TypeAvro {
		t.Fatalf("%v: %s", err, schema.Schema)
	}
	var v any
	if rest, err := s.Decode(value, &v); err != nil || len(rest) > 0 {
		t.Fatalf("%v, %d bytes are left", err, len(rest))
	}
	text, err := s.EncodeJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	return ordered(t, text)
}

func ordered(t *testing.T, text []byte) string {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	b, _ := json.Marshal(v)
	return string(b)
}

func testProtobuf(t *testing.T, g *golden, ids map[uint32]uint32, client *sr.Client, o Schemed) {
	model := func(string) string {
		return `{"age":[42],"amount":["NaN"],"debt":[0.25],"geo":[47.375,8.5],"income":[1234.5],"job":["PILOT"],"since":[1795766400.25],"zip":["8001"]}`
	}
	o.Pass = []string{"id", "job", "wage", "score", "since", "zero", "limit", "address.geo"}
	f := made(t, &ProtobufSchema{o}, nil)
	value, schema := resultOf(t, f, g.message(t, "protobuf", ids), client, model(""))
	want := `address_geo:47.375,8.5 id:-4711 job:PILOT model:credit prediction:{label:good output_0:0.5,0.25,-1 sure:true table:1,2,3,-4} since:1795766400.25 trace_id:0af7651916cd43dd8448eb211c80319c version:7 zero:0`
	if got := protoText(t, schema, value); got != want {
		t.Errorf("the result is\n%s, not\n%s", got, want)
	}
	m := g.message(t, "protobuf-wage", ids)
	value, schema = resultOf(t, f, m, client, `{"age":[42],"amount":["NaN"],"debt":["NaN"],"geo":[47.375,8.5],"income":["NaN"],"job":["PILOT"],"since":[1795766400.25],"zip":["8001"]}`)
	if got := protoText(t, schema, value); !strings.Contains(got, " wage:2.5 ") || !strings.Contains(got, " limit:7 ") {
		t.Errorf("the result is %s", got)
	}
	if err := f.Decode(g.message(t, "protobuf-empty", ids), applicants(), &stream.Call{}); err == nil || !strings.Contains(err.Error(), "field 'address.") {
		t.Errorf("an empty message: %v", err)
	}
	m = g.message(t, "protobuf", ids)
	m.Value[5], m.Value[6], m.Value[7] = 4, 2, 8 // a type that is not there
	if err := f.Decode(m, applicants(), &stream.Call{}); err == nil || serval.AsError(err).Code != serval.InvalidArgument || !strings.Contains(err.Error(), "[1 4]") {
		t.Errorf("a type that is not there: %v", err)
	}
	o.Fields = map[string]string{"address": "zip"}
	if err := made(t, &ProtobufSchema{o}, nil).Decode(g.message(t, "protobuf", ids), applicants(), &stream.Call{}); err == nil || !strings.Contains(err.Error(), "message risk.Address") {
		t.Errorf("a message as a text: %v", err)
	}
}

// protoText is a result's fields by name; it is read by the schema in the registry.
func protoText(t *testing.T, schema sr.Schema, value []byte) string {
	t.Helper()
	file, err := (&protoRecords{}).parse(&source{kind: schema.Type, text: schema.Schema})
	if err != nil {
		t.Fatalf("%v: %s", err, schema.Schema)
	}
	d, body, err := typeOf(file.(protoreflect.FileDescriptor), value)
	if err != nil {
		t.Fatal(err)
	}
	m := dynamicpb.NewMessage(d)
	if err := proto.Unmarshal(body, m); err != nil || len(m.GetUnknown()) > 0 {
		t.Fatalf("%v, %d bytes are unknown", err, len(m.GetUnknown()))
	}
	return strings.Join(fieldsOf(m), " ")
}

func testJSONSchema(t *testing.T, g *golden, ids map[uint32]uint32, client *sr.Client, o Schemed) {
	o.Fields, o.Pass = map[string]string{"address.zip": "zip"}, []string{"id", "address"}
	model := applicants()
	model.Signature.Inputs = append(model.Signature.Inputs[:3:3], model.Signature.Inputs[5])
	f := made(t, &JSONSchema{o, true}, nil)
	m := g.message(t, "json", ids)
	call := decode(t, f, model, m)
	if got, want := shown(t, call.Input), `{"age":[42],"income":["NaN"],"job":["PILOT"],"zip":["8001"]}`; got != want {
		t.Errorf("the inputs are %s, not %s", got, want)
	}
	var out stream.Message
	if err := f.Encode(m, call, verdict(), &out); err != nil {
		t.Fatal(err)
	}
	schema, err := client.SchemaByID(t.Context(), int(binary.BigEndian.Uint32(out.Value[1:])))
	if err != nil || schema.Type != sr.TypeJSON {
		t.Fatal(err)
	}
	back, err := (&jsonRecords{validate: true}).parse(&source{kind: sr.TypeJSON, text: schema.Schema})
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(back, out.Value[5:]); err != nil {
		t.Errorf("the result does not fit its own schema: %v", err)
	}
	if want := `{"id":4711,"address":{"zip":"8001"},"prediction":{"label":"good","output-0":[0.5,0.25,-1.0],`; !strings.HasPrefix(string(out.Value[5:]), want) {
		t.Errorf("the result is %s, not %s", out.Value[5:], want)
	}
	bad := *m
	bad.Value = append(append([]byte{}, m.Value[:5]...), `{"id":1,"age":-1,"address":{}}`...)
	err = f.Decode(&bad, model, &stream.Call{})
	if err == nil || serval.AsError(err).Code != serval.InvalidArgument || !strings.Contains(err.Error(), "minimum") || serval.AsError(err).Param != "age" {
		t.Errorf("what does not fit the schema: %v (%+v)", err, serval.AsError(err))
	}
}

// testTrouble: what a registry does not know is the message's fault; that it is not there is nobody's, and is tried again.
func testTrouble(t *testing.T, g *golden, ids map[uint32]uint32, front *gate, client *sr.Client, o Schemed) {
	code := func(f stream.Format, m *stream.Message) serval.Code {
		t.Helper()
		err := f.Decode(m, applicants(), &stream.Call{})
		if err == nil {
			t.Fatal("there is no error")
		}
		return serval.AsError(err).Code
	}
	m := g.message(t, "avro", ids)
	f := made(t, &Avro{o}, nil)
	front.closed.Store(true)
	err := f.Decode(m, applicants(), &stream.Call{})
	if e := serval.AsError(err); e == nil || e.Code != serval.Unavailable || e.RetryAfter == 0 || !strings.Contains(e.Message, front.URL) {
		t.Errorf("closed: %v", err)
	}
	before := front.asked.Load()
	if code(f, m); front.asked.Load() != before {
		t.Error("a registry that is closed is asked for each message")
	}
	front.closed.Store(false)
	for end := time.Now().Add(time.Minute); f.Decode(m, applicants(), &stream.Call{}) != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come back")
		}
	}
	before = front.asked.Load()
	for range 100 {
		decode(t, f, applicants(), m)
	}
	if n := front.asked.Load() - before; n != 0 {
		t.Errorf("for 100 messages of a known schema the registry was asked %d times", n)
	}
	binary.BigEndian.PutUint32(m.Value[1:], 999_999)
	for range 3 {
		if c := code(f, m); c != serval.InvalidArgument {
			t.Errorf("an id that is not known: %v", c)
		}
	}
	if n := front.asked.Load() - before; n != 1 {
		t.Errorf("for an id that is not known the registry was asked %d times", n)
	}
	if c := code(f, g.message(t, "json", ids)); c != serval.InvalidArgument {
		t.Errorf("a schema of another kind: %v", c)
	}
	for name, value := range map[string][]byte{"empty": nil, "plain": []byte(`{"age":1}`), "short": {0, 0, 0}} {
		if c := code(f, &stream.Message{Value: value}); c != serval.InvalidArgument {
			t.Errorf("%s: %v", name, c)
		}
	}
	cut := g.message(t, "avro", ids)
	cut.Value = cut.Value[:len(cut.Value)-3]
	if c := code(f, cut); c != serval.InvalidArgument {
		t.Errorf("a message that was cut: %v", c)
	}
	o.Registry.Password = "wrong"
	if c := code(made(t, &Avro{o}, nil), g.message(t, "avro", ids)); c != serval.PermissionDenied {
		t.Errorf("a wrong password: %v", c)
	}
	o.Registry.Username, o.Registry.Password, o.Registry.Token = "", "", "token"
	decode(t, made(t, &Avro{o}, nil), applicants(), g.message(t, "avro", ids))
	o.Register, o.Subject = false, "nobody-made-it"
	err = made(t, &Avro{o}, nil).Decode(g.message(t, "avro", ids), applicants(), &stream.Call{})
	if e := serval.AsError(err); e == nil || e.Code != serval.Conflict || !strings.Contains(e.Message, `"name":"Prediction"`) {
		t.Errorf("results that are not registered: %v", err)
	}
	o.Register, o.Subject = true, "avro-value" // whose schema is another one
	for _, r := range client.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatBackward}, o.Subject) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if c := code(made(t, &Avro{o}, nil), g.message(t, "avro", ids)); c != serval.Conflict {
		t.Errorf("results that the subject does not take: %v", c)
	}
}
