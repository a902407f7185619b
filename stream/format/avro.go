package format

import (
	"maps"
	"slices"
	"strings"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"

	"serval"
	"serval/stream"
)

// Avro is one Avro record a message, with a schema of a registry.
type Avro struct {
	Schemed `yaml:",inline"`
}

type avroRecords struct {
	*schemed[*avroBinding]
	pass [][]string // Schemed.Pass, as paths
}

// avroBinding is a schema of messages, made ready for a model.
type avroBinding struct {
	schema *avro.Schema
	fields []avroField
	pass   []string // names in the results' record, of those that the schema has; "": it does not
	result *avro.Schema
	out    []column
	head   []byte // in front of results
}

type avroField struct {
	name string
	path []string
	at   place
}

// raw has the logical types of time stay the whole numbers that they are.
func rawTimes() (opts []avro.SchemaOpt) {
	for _, kind := range []string{"date", "time-millis", "time-micros", "timestamp-millis", "timestamp-micros", "timestamp-nanos",
		"local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos", "duration"} {
		opts = append(opts, avro.CustomType{LogicalType: kind})
	}
	return opts
}

func newAvro(o *Avro) (*avroRecords, error) {
	f, err := newSchemed[*avroBinding]("avro", sr.TypeAvro, &o.Schemed)
	if err != nil {
		return nil, err
	}
	a := &avroRecords{schemed: f}
	for _, path := range o.Pass {
		a.pass = append(a.pass, strings.Split(path, "."))
	}
	f.parse, f.bind = a.parse, a.bind
	return a, nil
}

func (f *avroRecords) parse(s *source) (any, error) {
	var names avro.SchemaCache
	for _, r := range s.refs {
		if _, err := names.Parse(r.text, rawTimes()...); err != nil {
			return nil, err
		}
	}
	return names.Parse(s.text, rawTimes()...)
}

func (f *avroRecords) bind(s *parsed, p *plan, model *serval.ModelInfo) (*avroBinding, error) {
	b := &avroBinding{schema: s.schema.(*avro.Schema), pass: make([]string, len(f.opt.Pass))}
	root := b.schema.Root()
	if root.Type != "record" {
		return nil, wrong("", "schema %d of the message is %s; format avro reads records", s.id, root.Type)
	}
	for _, name := range slices.Sorted(maps.Keys(p.fields)) {
		b.fields = append(b.fields, avroField{name, strings.Split(name, "."), p.fields[name]})
	}
	if f.opt.Result == "json" {
		return b, nil
	}
	var err error
	if b.out, err = f.columnsOf(model); err != nil {
		return nil, err
	}
	space, name := "", f.opt.Name
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		space, name = name[:i], name[i+1:]
	}
	record := &avro.SchemaNode{Type: "record", Name: name, Namespace: space}
	taken := []string{memberPrediction, memberModel, memberVersion, memberTrace}
	for i, path := range f.opt.Pass {
		node, ok := avroFind(root, f.pass[i])
		if !ok {
			continue
		}
		b.pass[i] = unique(identifier(path), taken)
		taken = append(taken, b.pass[i])
		record.Fields = append(record.Fields, avro.SchemaField{Name: b.pass[i], Type: nullable(node), HasDefault: true})
	}
	outputs := avro.SchemaNode{Type: "record", Name: name + "Outputs", Namespace: space}
	for _, c := range b.out {
		outputs.Fields = append(outputs.Fields, avro.SchemaField{Name: c.name, Type: avroOf(c)})
	}
	record.Fields = append(record.Fields,
		avro.SchemaField{Name: memberPrediction, Type: outputs}, avro.SchemaField{Name: memberModel, Type: avro.SchemaNode{Type: "string"}},
		avro.SchemaField{Name: memberVersion, Type: avro.SchemaNode{Type: "string"}},
		avro.SchemaField{Name: memberTrace, Type: nullable(avro.SchemaNode{Type: "string"}), HasDefault: true})
	if b.result, err = record.Schema(rawTimes()...); err != nil {
		return nil, misfit("no schema of results can be made of the message's schema %d: %v", s.id, err)
	}
	b.head, err = f.enrol(b.result.String())
	return b, err
}

// avroFind is the schema of a field inside others.
func avroFind(n *avro.SchemaNode, path []string) (avro.SchemaNode, bool) {
	whole := n.ExpandReferences()
	for _, name := range path {
		var next *avro.SchemaNode
		candidates := []avro.SchemaNode{*whole}
		if whole.Type == "union" {
			candidates = whole.Branches
		}
		for i := range candidates {
			c := &candidates[i]
			if c.Type == "map" {
				next = c.Values
			}
			for j := range c.Fields {
				if c.Fields[j].Name == name && next == nil {
					next = &c.Fields[j].Type
				}
			}
		}
		if next == nil {
			return avro.SchemaNode{}, false
		}
		whole = next.ExpandReferences()
	}
	return *whole, true
}

// nullable is a type or null, null first.
func nullable(n avro.SchemaNode) avro.SchemaNode {
	branches := []avro.SchemaNode{{Type: "null"}}
	switch n.Type {
	case "null":
	case "union":
		for _, b := range n.Branches {
			if b.Type != "null" {
				branches = append(branches, b)
			}
		}
	default:
		branches = append(branches, n)
	}
	return avro.SchemaNode{Type: "union", Branches: branches}
}

// avroOf is the type of an output's row.
func avroOf(c column) avro.SchemaNode {
	n := avro.SchemaNode{Type: "int"}
	switch c.dtype {
	case serval.Bool:
		n.Type = "boolean"
	case serval.Uint32, serval.Int64, serval.Uint64:
		n.Type = "long"
	case serval.FP32:
		n.Type = "float"
	case serval.FP64:
		n.Type = "double"
	case serval.Bytes:
		n.Type = "string"
	}
	for range c.depth {
		items := n
		n = avro.SchemaNode{Type: "array", Items: &items}
	}
	return n
}

// avroCarry is what of a message belongs into its result.
type avroCarry struct {
	b    *avroBinding
	pass []any // by Schemed.Pass; absent: the message does not have it
}

// absent is the value of a field that the message does not have.
type absent struct{}

// Decode implements stream.Format. It may wait for the registry.
func (f *avroRecords) Decode(m *stream.Message, model *serval.ModelInfo, call *stream.Call) error {
	b, p, body, err := f.binding(m, model)
	if err != nil {
		return err
	}
	var v any
	rest, err := b.schema.Decode(body, &v, avro.AliasInput()) // the call may share the message's memory
	if err != nil {
		return wrong("", "the message is not what its schema says: %v", err)
	}
	if len(rest) > 0 {
		return wrong("", "the message has %d bytes more than its schema says", len(rest))
	}
	record, ok := v.(map[string]any)
	if !ok {
		return wrong("", "the message is %s, not a record", kindOfValue(v))
	}
	r := p.row()
	for i := range b.fields {
		field := &b.fields[i]
		if v := lookup(record, field.path); v != (absent{}) {
			if err := r.value(v, field.at, field.name); err != nil {
				return err
			}
		}
	}
	if len(f.opt.Pass) > 0 || b.head != nil {
		carry := &avroCarry{b, make([]any, len(f.opt.Pass))}
		for i, path := range f.pass {
			carry.pass[i] = lookup(record, path)
		}
		call.Carry = carry
	}
	call.Input, err = r.done(f.in.missing)
	return err
}

// lookup is the value of a field inside others; inside what has no value there is none.
func lookup(record map[string]any, path []string) any {
	for i, name := range path {
		v, ok := record[name]
		if !ok {
			return absent{}
		}
		if i == len(path)-1 {
			return v
		}
		switch inner := v.(type) {
		case nil:
			return nil
		case map[string]any:
			record = inner
		default:
			return absent{}
		}
	}
	return absent{}
}

// Encode implements stream.Format.
func (f *avroRecords) Encode(_ *stream.Message, call *stream.Call, a *stream.Answer, out *stream.Message) error {
	carry, _ := call.Carry.(*avroCarry)
	if f.opt.Result == "json" {
		var pass []any
		if carry != nil {
			pass = carry.pass
		}
		return f.json(pass, a, out)
	}
	b := carry.b
	list, err := f.results(a, b.out)
	if err != nil {
		return err
	}
	outputs := make(map[string]any, len(list))
	for i, c := range b.out {
		if outputs[c.name], err = c.nested(&list[i]); err != nil {
			return err
		}
	}
	record := map[string]any{memberPrediction: outputs, memberModel: a.Model.Name, memberVersion: a.Model.Version}
	for i, v := range carry.pass {
		if b.pass[i] != "" && v != (absent{}) {
			record[b.pass[i]] = v
		}
	}
	if id := traceID(a.Trace); id != "" {
		record[memberTrace] = id
	}
	value, err := b.result.AppendEncode(slices.Clone(b.head), record)
	if err != nil {
		return serval.Errorf(serval.InvalidArgument, "format avro: no result can be written: %v", err)
	}
	out.Value = value
	typed(out, avroType)
	return nil
}
