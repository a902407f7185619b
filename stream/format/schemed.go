package format

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"

	"serval"
	"serval/stream"
)

// Schemed is what the formats of a schema registry have in common: a message is one record, whose schema the registry has
// under the id that stands in front of it (a zero byte, and four bytes of id, the largest first).
type Schemed struct {
	Registry Registry          `yaml:"registry" doc:"the schema registry"`
	Input    string            `yaml:"input" doc:"with columns: the input that they are of; default: the model's only one"`
	Columns  []string          `yaml:"columns" doc:"fields that are the columns of a matrix input, in their order; a field inside another one is outer.inner"`
	Fields   map[string]string `yaml:"fields" doc:"field → input, where the names differ; a field inside another one is outer.inner"`
	Missing  string            `yaml:"missing" doc:"of a field that the message's schema does not have: error (default), or nan: no value, as null is" enum:"error,nan"`
	Pass     []string          `yaml:"pass" doc:"fields that the result has too, as they are"`
	Outputs  []string          `yaml:"outputs" doc:"outputs that the result has; default: all"`
	Result   string            `yaml:"result" doc:"how results are written: schema (default), as the messages are, or json, as format rows does, without a schema" enum:"schema,json"`
	Subject  string            `yaml:"subject" doc:"the subject of the results' schema; by the registry's usual strategy the target's topic and -value"`
	Register bool              `yaml:"register" doc:"register the results' schema where the subject does not have it; false: it must be there"`
	Name     string            `yaml:"name" doc:"the name of the results' record or message, with its name space"`
}

func defaultSchemed() Schemed {
	return Schemed{Registry: defaultRegistry(), Register: true, Name: "serval.Prediction"}
}

// schemed is what such a format has, whatever its encoding. B is a schema made ready for a model.
type schemed[B any] struct {
	opt    Schemed
	format string // its name
	kind   sr.SchemaType
	in     mapping
	reg    *registry
	ready  *cache[uint32, *parsed] // by id
	bound  *cache[bond, B]
	parse  func(*source) (any, error)
	bind   func(*parsed, *plan, *serval.ModelInfo) (B, error)
}

// parsed is a schema of messages.
type parsed struct {
	id     uint32
	schema any // the format's own
}

// bond is a pair of a model and a schema of messages.
type bond struct {
	plan *plan
	id   uint32
}

func newSchemed[B any](format string, kind sr.SchemaType, o *Schemed) (*schemed[B], error) {
	f := &schemed[B]{opt: *o, format: format, kind: kind, in: mapping{input: o.Input, columns: o.Columns, fields: o.Fields, missing: o.Missing == "nan"}}
	reg, err := newRegistry(&o.Registry)
	if err != nil {
		return nil, err
	}
	f.reg = reg
	switch {
	case o.Missing != "" && o.Missing != "error" && o.Missing != "nan":
		return nil, wrong("missing", "format %s: missing is %q; use error or nan", format, o.Missing)
	case o.Result != "" && o.Result != "schema" && o.Result != "json":
		return nil, wrong("result", "format %s: result is %q; use schema or json", format, o.Result)
	case o.Result != "json" && o.Subject == "":
		return nil, wrong("subject", "format %s: subject is missing; write the subject of the results' schema, usually the target's topic and -value, or set result: json", format)
	case o.Result == "json" && o.Subject != "":
		return nil, wrong("subject", "format %s: subject is of results with a schema, but result is json; remove one of them", format)
	}
	if err := checkName(format, o.Name); err != nil {
		return nil, err
	}
	for i, p := range o.Pass {
		if p == "" || slices.Contains(o.Pass[:i], p) || slices.Contains([]string{memberPrediction, memberModel, memberVersion, memberTrace}, p) {
			return nil, wrong("pass", "format %s: pass names %q, which is empty, there twice, or a member of every result already", format, p)
		}
	}
	f.ready, f.bound = newCache[uint32, *parsed](o.Registry.Cache), newCache[bond, B](o.Registry.Cache)
	return f, checkColumns(format, o.Columns)
}

// checkName refuses what is no name with its name space.
func checkName(format, name string) error {
	for part := range strings.SplitSeq(name, ".") {
		if part == "" || part != identifier(part) {
			return wrong("name", "format %s: name is %q; write words of a-z A-Z 0-9 _, with dots between them, such as risk.Prediction", format, name)
		}
	}
	return nil
}

// binding makes ready what a message needs: its schema by the id in front, fitted to the model. It may wait for the registry,
// within its timeout. The rest of the value is returned too.
func (f *schemed[B]) binding(m *stream.Message, model *serval.ModelInfo) (b B, p *plan, body []byte, err error) {
	if len(m.Value) < 5 || m.Value[0] != 0 {
		return b, nil, nil, wrong("", "the message does not begin as those of a schema registry do, with a zero byte and a schema's id; format %s reads only such", f.format)
	}
	id := binary.BigEndian.Uint32(m.Value[1:])
	if p, err = f.in.of(model); err != nil {
		return b, nil, nil, err
	}
	b, err = f.bound.get(bond{p, id}, func() (b B, err error) {
		s, err := f.ready.get(id, func() (*parsed, error) { return f.load(id) })
		if err != nil {
			return b, err
		}
		return f.bind(s, p, model)
	})
	return b, p, m.Value[5:], err
}

func (f *schemed[B]) load(id uint32) (*parsed, error) {
	s, err := f.reg.fetch(id)
	if err != nil {
		return nil, err
	}
	if s.kind != f.kind {
		return nil, wrong("", "schema %d of the message is one of %s; format %s reads %s", id, kindOf(s.kind), f.format, kindOf(f.kind))
	}
	schema, err := f.parse(s)
	if err != nil {
		return nil, wrong("", "schema %d of the message cannot be read: %v", id, err)
	}
	return &parsed{id, schema}, nil
}

// enrol is what stands in front of results with that schema; nil where they have none.
func (f *schemed[B]) enrol(text string) ([]byte, error) {
	id, err := f.reg.enrol(f.opt.Subject, f.opt.Register, sr.Schema{Schema: text, Type: f.kind})
	if err != nil {
		return nil, err
	}
	return binary.BigEndian.AppendUint32([]byte{0}, id), nil
}

// wanted are the fields that a message must give: those of the model's inputs, then those that are passed on.
func (f *schemed[B]) wanted(p *plan) (list []string) {
	for field := range p.fields {
		list = append(list, field)
	}
	slices.Sort(list)
	return append(list, f.opt.Pass...)
}

// column is one output in a result.
type column struct {
	output string // the model's name
	name   string // in the schema
	dtype  serval.DType
	depth  int // of the list that a row of it is; 0: a single value
}

// columnsOf are the outputs of a result, by the model's signature.
func (f *schemed[B]) columnsOf(model *serval.ModelInfo) ([]column, error) {
	names := f.opt.Outputs
	if len(names) == 0 {
		for _, o := range model.Signature.Outputs {
			names = append(names, o.Name)
		}
	}
	var list []column
	var taken []string
	for _, name := range names {
		i := model.Signature.Output(name)
		if i < 0 {
			return nil, misfit("model '%s' has no output '%s'; the format's outputs name it", model.Name, name)
		}
		o := &model.Signature.Outputs[i]
		if o.DType == serval.FP16 || o.DType == serval.BF16 {
			return nil, misfit("output '%s' is %s, which format %s does not carry; leave it out of the format's outputs", name, o.DType, f.format)
		}
		c := column{output: name, name: unique(identifier(name), taken), dtype: o.DType, depth: depthOf(o.Shape)}
		taken = append(taken, c.name)
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, misfit("model '%s' does not say which outputs it has, so that there is no schema of results; set result: json", model.Name)
	}
	return list, nil
}

// depthOf is how deep the list is that one row of a shape makes.
func depthOf(shape []int64) int {
	if len(shape) > 0 && (shape[0] == 1 || shape[0] < 0) {
		shape = shape[1:]
	}
	if len(shape) == 1 && shape[0] == 1 {
		return 0
	}
	return len(shape)
}

// identifier makes a name one that Avro and Protobuf take.
func identifier(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			b[i] = '_'
		}
	}
	if len(b) == 0 || b[0] >= '0' && b[0] <= '9' {
		b = append([]byte{'_'}, b...)
	}
	return string(b)
}

func unique(name string, taken []string) string {
	for slices.Contains(taken, name) {
		name += "_"
	}
	return name
}

// results checks that an answer is what the schema of results was made for, and returns its outputs in the schema's order.
func (f *schemed[B]) results(a *stream.Answer, columns []column) ([]serval.Tensor, error) {
	if a.Outputs == nil {
		return nil, noTensors(a, f.format)
	}
	list := make([]serval.Tensor, len(columns))
	for i, c := range columns {
		at := slices.IndexFunc(a.Outputs, func(t serval.Tensor) bool { return t.Name == c.output })
		if at < 0 || a.Outputs[at].DType != c.dtype {
			return nil, misfit("version %s of model '%s' answers without output '%s' of %s, which the results' schema has", a.Model.Version, a.Model.Name, c.output, c.dtype)
		}
		list[i] = a.Outputs[at]
	}
	return list, nil
}

// json writes a result as format rows does; pass are the values of Schemed.Pass.
func (f *schemed[B]) json(pass []any, a *stream.Answer, out *stream.Message) error {
	var keep carried
	for i, v := range pass {
		if v == (absent{}) {
			continue
		}
		text, err := appendValue(nil, v)
		if err != nil {
			return err
		}
		keep = append(keep, passed{f.opt.Pass[i], text})
	}
	plain := rows{opt: Rows{Outputs: f.opt.Outputs}}
	return plain.Encode(nil, &stream.Call{Carry: &keep}, a, out)
}
