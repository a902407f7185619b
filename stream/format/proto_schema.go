package format

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"serval"
	"serval/stream"
)

// ProtobufSchema is one Protobuf message a message, with a schema of a registry, and behind the schema's id the place of its
// type among the schema's.
type ProtobufSchema struct {
	Schemed `yaml:",inline"`
}

// protoRecords keep a schema's descriptors; which of its types a message is, each message says.
type protoRecords struct {
	*schemed[*protoTypes]
}

// protoTypes are a schema's types, made ready for a model one by one, when a message is of them.
type protoTypes struct {
	id    uint32
	file  protoreflect.FileDescriptor
	ready *cache[string, *protoBinding] // by full name
}

// protoBinding is a type of messages, made ready for a model.
type protoBinding struct {
	root   *protoNode
	paths  []string // the inputs' fields, then those passed on
	inputs int
	pass   []protoPass
	out    []column
	head   []byte // in front of results: the schema's id, and that they are its first type
}

// protoPass is a field that is passed on.
type protoPass struct {
	name   string
	number protowire.Number
	field  protoreflect.FieldDescriptor // nil: the type does not have it
}

// protoFields of results; what is passed on comes behind them, in the order of Schemed.Pass.
const (
	protoModel      protowire.Number = 1
	protoVersion    protowire.Number = 2
	protoTrace      protowire.Number = 3
	protoPrediction protowire.Number = 4
	protoFirstPass  protowire.Number = 16
)

func newProtobufSchema(o *ProtobufSchema) (*protoRecords, error) {
	f, err := newSchemed[*protoTypes]("protobuf", sr.TypeProtobuf, &o.Schemed)
	if err != nil {
		return nil, err
	}
	r := &protoRecords{f}
	f.parse = r.parse
	f.bind = func(s *parsed, _ *plan, _ *serval.ModelInfo) (*protoTypes, error) {
		return &protoTypes{s.id, s.schema.(protoreflect.FileDescriptor), newCache[string, *protoBinding](64)}, nil
	}
	return r, nil
}

// The files that Confluent's serializers import without saying so.
const (
	confluentMeta = `syntax = "proto3"; package confluent; import "google/protobuf/descriptor.proto";
message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; }
extend google.protobuf.FileOptions { Meta file_meta = 1088; } extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
extend google.protobuf.FieldOptions { Meta field_meta = 1088; } extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }`
	confluentDecimal = `syntax = "proto3"; package confluent.type; message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }`
)

func (f *protoRecords) parse(s *source) (any, error) {
	const main = "schema.proto"
	files := map[string]string{"confluent/meta.proto": confluentMeta, "confluent/type/decimal.proto": confluentDecimal}
	for _, r := range s.refs {
		files[r.name] = r.text
	}
	files[main] = s.text
	c := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(protocompile.ResolverFunc(func(name string) (protocompile.SearchResult, error) {
			text, ok := files[name]
			if !ok {
				return protocompile.SearchResult{}, fmt.Errorf("%s is none of the schema's references in the registry", name)
			}
			return protoFile(name, text), nil
		})),
		MaxParallelism: 1,
	}
	list, err := c.Compile(context.Background(), main)
	if err != nil {
		return nil, err
	}
	return protoreflect.FileDescriptor(list[0]), nil
}

// protoFile is a file as text, or as the Base64 of its descriptor, as which some serialisers register it.
func protoFile(name, text string) protocompile.SearchResult {
	if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
		file := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(raw, file); err == nil {
			file.Name = &name
			for _, m := range file.MessageType {
				nameJSON(m)
			}
			return protocompile.SearchResult{Proto: file}
		}
	}
	return protocompile.SearchResult{Source: strings.NewReader(text)}
}

// nameJSON gives fields their JSON names, which protoc writes down and descriptors that were made otherwise may lack: the compiler
// takes them to be there.
func nameJSON(m *descriptorpb.DescriptorProto) {
	for _, f := range m.Field {
		if f.JsonName == nil {
			name := []byte(nil)
			for i, c := range []byte(f.GetName()) {
				if c != '_' {
					if i > 0 && f.GetName()[i-1] == '_' && c >= 'a' && c <= 'z' {
						c -= 'a' - 'A'
					}
					name = append(name, c)
				}
			}
			f.JsonName = proto.String(string(name))
		}
	}
	for _, inner := range m.NestedType {
		nameJSON(inner)
	}
}

// typeOf takes the place of the type from the front of a body.
func typeOf(file protoreflect.FileDescriptor, body []byte) (protoreflect.MessageDescriptor, []byte, error) {
	index, rest, err := new(sr.ConfluentHeader).DecodeIndex(body, 32)
	if err != nil {
		return nil, nil, wrong("", "behind the schema's id the message has no place of a type: %v", err)
	}
	var all interface {
		Len() int
		Get(int) protoreflect.MessageDescriptor
	} = file.Messages()
	var d protoreflect.MessageDescriptor
	for _, i := range index {
		if i < 0 || i >= all.Len() {
			return nil, nil, wrong("", "the message is of the type at %v, which its schema does not have", index)
		}
		d = all.Get(i)
		all = d.Messages()
	}
	return d, rest, nil
}

// fit makes a type ready for a model.
func (f *protoRecords) fit(id uint32, d protoreflect.MessageDescriptor, p *plan, model *serval.ModelInfo) (*protoBinding, error) {
	b := &protoBinding{root: &protoNode{}, paths: f.wanted(p)}
	b.inputs = len(b.paths) - len(f.opt.Pass)
	for i, path := range b.paths {
		field, err := b.root.want(d, strings.Split(path, "."), i)
		if err != nil {
			return nil, wrong(path, "field '%s': %v", path, err)
		}
		if i >= b.inputs {
			n := i - b.inputs
			b.pass = append(b.pass, protoPass{"", protoFirstPass + protowire.Number(n), field})
		}
	}
	if f.opt.Result == "json" {
		return b, nil
	}
	var err error
	if b.out, err = f.columnsOf(model); err != nil {
		return nil, err
	}
	text := f.text(b)
	if b.head, err = f.enrol(text); err != nil {
		return nil, err
	}
	b.head = append(b.head, 0) // the first type
	return b, nil
}

// text is the schema of results.
func (f *protoRecords) text(b *protoBinding) string {
	space, name := "", f.opt.Name
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		space, name = name[:i], name[i+1:]
	}
	var t strings.Builder
	t.WriteString("syntax = \"proto3\";\n")
	if space != "" {
		fmt.Fprintf(&t, "package %s;\n", space)
	}
	fmt.Fprintf(&t, "\nmessage %s {\n", name)
	fmt.Fprintf(&t, "  string model = %d;\n  string version = %d;\n  optional string trace_id = %d;\n  Outputs prediction = %d;\n", protoModel, protoVersion, protoTrace, protoPrediction)
	taken := []string{memberPrediction, memberModel, memberVersion, memberTrace}
	for i := range b.pass {
		p := &b.pass[i]
		if p.field == nil {
			continue
		}
		p.name = unique(identifier(f.opt.Pass[i]), taken)
		taken = append(taken, p.name)
		label := "optional"
		if p.field.IsList() {
			label = "repeated"
		}
		fmt.Fprintf(&t, "  %s %s %s = %d;\n", label, protoPassType(p.field), p.name, p.number)
	}
	t.WriteString("\n  message Outputs {\n")
	for i, c := range b.out {
		label := ""
		if c.depth > 0 {
			label = "repeated "
		}
		fmt.Fprintf(&t, "    %s%s %s = %d;\n", label, protoScalar(c.dtype), c.name, i+1)
	}
	t.WriteString("  }\n}\n")
	return t.String()
}

// protoPassType is the type that a field has in results: its own, of an enumeration the symbol's name, and of the well-known
// types what they stand for.
func protoPassType(d protoreflect.FieldDescriptor) string {
	switch d.Kind() {
	case protoreflect.EnumKind:
		return "string"
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return known[d.Message().FullName()].kind
	}
	return d.Kind().String()
}

func protoScalar(d serval.DType) string {
	switch d {
	case serval.Bool:
		return "bool"
	case serval.Int64:
		return "int64"
	case serval.Uint64:
		return "uint64"
	case serval.Uint8, serval.Uint16, serval.Uint32:
		return "uint32"
	case serval.FP32:
		return "float"
	case serval.FP64:
		return "double"
	case serval.Bytes:
		return "string"
	}
	return "int32"
}

// protoCarry is what of a message belongs into its result.
type protoCarry struct {
	b    *protoBinding
	pass []any
}

// Decode implements stream.Format. It may wait for the registry.
func (f *protoRecords) Decode(m *stream.Message, model *serval.ModelInfo, call *stream.Call) error {
	types, p, body, err := f.binding(m, model)
	if err != nil {
		return err
	}
	d, body, err := typeOf(types.file, body)
	if err != nil {
		return err
	}
	b, err := types.ready.get(string(d.FullName()), func() (*protoBinding, error) { return f.fit(types.id, d, p, model) })
	if err != nil {
		return err
	}
	values := make([]any, len(b.paths))
	for i := range values {
		values[i] = absent{}
	}
	if err := b.root.read(body, values); err != nil {
		return err
	}
	r := p.row()
	for i, path := range b.paths[:b.inputs] {
		if values[i] != (absent{}) {
			if err := r.value(values[i], p.fields[path], path); err != nil {
				return err
			}
		}
	}
	call.Carry = &protoCarry{b, values[b.inputs:]}
	call.Input, err = r.done(f.in.missing)
	return err
}

// Encode implements stream.Format.
func (f *protoRecords) Encode(_ *stream.Message, call *stream.Call, a *stream.Answer, out *stream.Message) error {
	carry := call.Carry.(*protoCarry)
	if f.opt.Result == "json" {
		return f.json(carry.pass, a, out)
	}
	b := carry.b
	list, err := f.results(a, b.out)
	if err != nil {
		return err
	}
	var inner []byte
	for i := range b.out {
		values, err := elements(&list[i])
		if err != nil {
			return err
		}
		number := protowire.Number(i + 1)
		if b.out[i].depth > 0 {
			inner = appendRepeated(inner, number, protoScalar(b.out[i].dtype), values)
		} else if len(values) != 1 {
			return misfit("output '%s' has %d values, of which the results' schema takes one", list[i].Name, len(values))
		} else {
			inner = appendProto(inner, number, protoScalar(b.out[i].dtype), values[0])
		}
	}
	v := append(make([]byte, 0, 128+len(inner)), b.head...)
	v = protowire.AppendString(protowire.AppendTag(v, protoModel, protowire.BytesType), a.Model.Name)
	v = protowire.AppendString(protowire.AppendTag(v, protoVersion, protowire.BytesType), a.Model.Version)
	if id := traceID(a.Trace); id != "" {
		v = protowire.AppendString(protowire.AppendTag(v, protoTrace, protowire.BytesType), id)
	}
	v = protowire.AppendBytes(protowire.AppendTag(v, protoPrediction, protowire.BytesType), inner)
	for i := range b.pass {
		p := &b.pass[i]
		value := carry.pass[i]
		if p.field == nil || value == nil || value == (absent{}) {
			continue
		}
		if many, ok := value.([]any); ok {
			v = appendRepeated(v, p.number, protoPassType(p.field), many)
		} else {
			v = appendProto(v, p.number, protoPassType(p.field), value)
		}
	}
	out.Value = v
	typed(out, protoType)
	return nil
}
