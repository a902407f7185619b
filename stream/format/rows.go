package format

import (
	"slices"
	"sync"
	"sync/atomic"

	"serval"
	"serval/internal/jsontensor"
	"serval/stream"
)

// Rows are one JSON object a message: a row.
type Rows struct {
	Input   string            `yaml:"input" doc:"with columns: the input that they are of; default: the model's only one"`
	Columns []string          `yaml:"columns" doc:"fields that are the columns of a matrix input, in their order"`
	Fields  map[string]string `yaml:"fields" doc:"field → input, where the names differ; a field inside another one is outer.inner"`
	Missing string            `yaml:"missing" doc:"of a field that is not there: error (default), or nan: no value, as null is" enum:"error,nan"`
	Pass    []string          `yaml:"pass" doc:"fields that the result has too, as they are"`
	Outputs []string          `yaml:"outputs" doc:"outputs that the result has; default: all"`
}

// The members of a result beside those that are passed on.
const (
	memberPrediction = "prediction"
	memberModel      = "model"
	memberVersion    = "version"
	memberTrace      = "trace_id"
)

type rows struct {
	opt   Rows
	in    mapping
	pass  map[string]bool
	table atomic.Pointer[table]
	alone sync.Pool // of *rowReader, for messages that come one by one
}

func newRows(o *Rows) (*rows, error) {
	f := &rows{opt: *o, in: mapping{input: o.Input, columns: o.Columns, fields: o.Fields}, pass: map[string]bool{}}
	if o.Missing != "" && o.Missing != "error" && o.Missing != "nan" {
		return nil, wrong("missing", "format rows: missing is %q; use error or nan", o.Missing)
	}
	f.in.missing = o.Missing == "nan"
	for _, p := range o.Pass {
		if slices.Contains([]string{memberPrediction, memberModel, memberVersion, memberTrace}, p) {
			return nil, wrong("pass", "format rows: pass names %q, which is a member of every result already", p)
		}
		f.pass[p] = true
	}
	return f, checkColumns("rows", o.Columns)
}

func checkColumns(format string, columns []string) error {
	for i, c := range columns {
		if c == "" || slices.Contains(columns[:i], c) {
			return wrong("columns", "format %s: column %d is %q; each needs a name of its own", format, i+1, c)
		}
	}
	return nil
}

// passed is a member of a message that the result has too; value is JSON.
type passed struct {
	name  string
	value []byte
}

// carried are those of one message.
type carried []passed

// Decode implements stream.Format.
func (f *rows) Decode(m *stream.Message, model *serval.ModelInfo, call *stream.Call) error {
	r, _ := f.alone.Get().(*rowReader)
	if r == nil {
		r = &rowReader{f: f}
	}
	r.slab, r.carried, r.passed = slab{}, nil, nil // of the message before: its call's
	err := r.decode(m, model, call)
	f.alone.Put(r)
	return err
}

// Gather implements stream.Gatherer.
func (f *rows) Gather(n int) stream.Decode {
	return (&rowReader{f: f, left: n}).decode
}

// maxNesting is how deep fields may lie inside others.
const maxNesting = 16

// object takes a message, or an object in it: then prefix is where it lies.
func (r *rowReader) object(prefix string, depth int) error {
	s := &r.scan
	if err := s.Enter('{', "the message"); err != nil {
		return err
	}
	last := 0      // top level: the member before, as next counts them
	var own member // of others
	for first := true; ; first = false {
		more, err := s.More(first, '}')
		if err != nil || !more {
			return err
		}
		var m *member
		if prefix == "" {
			m, last, err = r.top(last)
		} else {
			m = &own
			err = r.nested(prefix, m)
		}
		if err != nil {
			return err
		}
		start := s.Pos()
		switch {
		case m == nil:
			err = s.Skip()
		case m.wanted:
			err = r.row.json(s, m.at, m.name)
		case m.inside && depth < maxNesting && s.Peek() == '{':
			err = r.object(m.name, depth+1)
		default:
			err = s.Skip()
		}
		if err != nil {
			return err
		}
		if m != nil && m.pass {
			*r.keep = append(*r.keep, passed{m.name, s.Text(start)})
		}
	}
}

// Encode implements stream.Format.
func (f *rows) Encode(_ *stream.Message, call *stream.Call, a *stream.Answer, out *stream.Message) error {
	if a.Outputs == nil {
		return noTensors(a, "rows")
	}
	b := append(room(out), '{')
	if keep, ok := call.Carry.(*carried); ok {
		for _, p := range *keep {
			b = append(jsontensor.AppendString(b, p.name), ':')
			b = append(append(b, p.value...), ',')
		}
	}
	list, err := chosen(a, f.opt.Outputs)
	if err != nil {
		return err
	}
	b = append(b, `"prediction":{`...)
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(jsontensor.AppendString(b, list[i].Name), ':')
		if b, err = appendRow(b, &list[i]); err != nil {
			return err
		}
	}
	b = append(b, '}', ',')
	b = append(appendWho(b, a), '}')
	out.Value = b
	typed(out, jsonType)
	return nil
}

// appendWho appends the members that say who answered.
func appendWho(b []byte, a *stream.Answer) []byte {
	b = jsontensor.AppendString(append(b, `"model":`...), a.Model.Name)
	b = jsontensor.AppendString(append(b, `,"version":`...), a.Model.Version)
	if id := traceID(a.Trace); id != "" {
		b = jsontensor.AppendString(append(b, `,"trace_id":`...), id)
	}
	return b
}

// appendRow appends the only row of an output: a single value bare, a list flat, and anything else nested.
func appendRow(b []byte, t *serval.Tensor) ([]byte, error) {
	if t.DType == serval.FP16 || t.DType == serval.BF16 {
		return b, serval.Errorf(serval.Unimplemented, "output '%s' is %s, which JSON does not carry; leave it out of the format's outputs, or use format oip_protobuf", t.Name, t.DType).At(t.Name)
	}
	shape := t.Shape
	if len(shape) > 0 && shape[0] == 1 {
		shape = shape[1:]
	}
	for len(shape) > 0 && shape[0] == 1 && len(shape) < 2 {
		shape = shape[1:]
	}
	return jsontensor.AppendShaped(b, t, shape)
}
