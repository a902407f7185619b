package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/twmb/franz-go/pkg/sr"
	english "golang.org/x/text/language"
	"golang.org/x/text/message"

	"serval"
	"serval/stream"
)

// JSONSchema is one JSON object a message, with a JSON Schema of a registry.
type JSONSchema struct {
	Schemed  `yaml:",inline"`
	Validate bool `yaml:"validate" doc:"hold messages against their schema; what does not fit it is a dead letter"`
}

type jsonRecords struct {
	*schemed[*jsonBinding]
	validate bool
	rows     *rows
}

// jsonBinding is a schema of messages, and what stands in front of results.
type jsonBinding struct {
	schema *jsonschema.Schema // nil: messages are not held against it
	head   []byte
}

func newJSONSchema(o *JSONSchema) (*jsonRecords, error) {
	f, err := newSchemed[*jsonBinding]("json_schema", sr.TypeJSON, &o.Schemed)
	if err != nil {
		return nil, err
	}
	r, err := newRows(&Rows{Input: o.Input, Columns: o.Columns, Fields: o.Fields, Missing: o.Missing, Pass: o.Pass, Outputs: o.Outputs})
	if err != nil {
		return nil, err
	}
	j := &jsonRecords{f, o.Validate, r}
	f.parse, f.bind = j.parse, j.bind
	return j, nil
}

// closed gives no schema that the registry did not: neither a file nor what a message's schema has an address of.
type closed struct{}

func (closed) Load(url string) (any, error) {
	return nil, errors.New("it refers to " + url + ", which is none of its references in the registry")
}

func (f *jsonRecords) parse(s *source) (any, error) {
	if !f.validate {
		return (*jsonschema.Schema)(nil), nil
	}
	const main = "schema:///of-the-message"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	c.UseLoader(closed{})
	add := func(name, text string) error {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			return err
		}
		return c.AddResource(name, doc)
	}
	for _, r := range s.refs {
		name := r.name
		if !strings.Contains(name, ":") { // a bare name is meant from the schema that refers to it
			name = "schema:///" + strings.TrimPrefix(name, "/")
		}
		if err := add(name, r.text); err != nil {
			return nil, err
		}
	}
	if err := add(main, s.text); err != nil {
		return nil, err
	}
	schema, err := c.Compile(main)
	if err != nil {
		return nil, errors.New(err.Error() + "; set validate: false to read its messages all the same")
	}
	return schema, nil
}

func (f *jsonRecords) bind(s *parsed, _ *plan, model *serval.ModelInfo) (*jsonBinding, error) {
	b := &jsonBinding{schema: s.schema.(*jsonschema.Schema)}
	if f.opt.Result == "json" {
		return b, nil
	}
	columns, err := f.columnsOf(model)
	if err != nil {
		return nil, err
	}
	text, err := f.text(columns)
	if err != nil {
		return nil, err
	}
	b.head, err = f.enrol(text)
	return b, err
}

// text is the schema of results. What is passed on may be anything.
func (f *jsonRecords) text(columns []column) (string, error) {
	type object = map[string]any
	outputs, names := object{}, []string{}
	for _, c := range columns {
		var t any
		switch c.dtype {
		case serval.Bool:
			t = object{"type": "boolean"}
		case serval.Bytes:
			t = object{"type": "string"}
		case serval.FP32, serval.FP64:
			t = object{"anyOf": []any{object{"type": "number"}, object{"enum": []string{"NaN", "Infinity", "-Infinity"}}}}
		default:
			t = object{"type": "integer"}
		}
		for range c.depth {
			t = object{"type": "array", "items": t}
		}
		outputs[c.output] = t
		names = append(names, c.output)
	}
	properties := object{
		memberModel: object{"type": "string"}, memberVersion: object{"type": "string"}, memberTrace: object{"type": "string"},
		memberPrediction: object{"type": "object", "properties": outputs, "required": names},
	}
	for _, p := range f.opt.Pass {
		properties[p] = object{}
	}
	b, err := json.Marshal(object{
		"$schema": "http://json-schema.org/draft-07/schema#", "title": f.opt.Name, "type": "object",
		"properties": properties, "required": []string{memberPrediction, memberModel, memberVersion},
	})
	return string(b), err
}

// jsonCarry is what of a message belongs into its result.
type jsonCarry struct {
	b    *jsonBinding
	keep any // format rows' own
}

// Decode implements stream.Format. It may wait for the registry.
func (f *jsonRecords) Decode(m *stream.Message, model *serval.ModelInfo, call *stream.Call) error {
	b, _, body, err := f.binding(m, model)
	if err != nil {
		return err
	}
	if b.schema != nil {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			return wrong("", "the message is not JSON: %v", err)
		}
		if err := b.schema.Validate(v); err != nil {
			return misses(err)
		}
	}
	bare := *m
	bare.Value = body
	if err := f.rows.Decode(&bare, model, call); err != nil {
		return err
	}
	call.Carry = &jsonCarry{b, call.Carry}
	return nil
}

// misses is the error of a message that its schema does not take: the first thing that is wrong, and where.
func misses(err error) error {
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) {
		return wrong("", "the message does not fit its schema: %v", err)
	}
	for len(v.Causes) > 0 {
		v = v.Causes[0]
	}
	field := strings.Join(v.InstanceLocation, ".")
	return wrong(field, "field '%s' of the message does not fit its schema: %s", field, v.ErrorKind.LocalizedString(message.NewPrinter(english.English)))
}

// Encode implements stream.Format.
func (f *jsonRecords) Encode(m *stream.Message, call *stream.Call, a *stream.Answer, out *stream.Message) error {
	carry := call.Carry.(*jsonCarry)
	plain := *call
	plain.Carry = carry.keep
	if err := f.rows.Encode(m, &plain, a, out); err != nil {
		return err
	}
	if carry.b.head != nil {
		out.Value = append(append(make([]byte, 0, len(carry.b.head)+len(out.Value)), carry.b.head...), out.Value...)
		typed(out, bytesType)
	}
	return nil
}
