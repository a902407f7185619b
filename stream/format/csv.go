package format

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strconv"
	"unicode/utf8"

	"serval"
	"serval/internal/jsontensor"
	"serval/stream"
)

// CSV is one line a message: a row.
type CSV struct {
	Line      []string          `yaml:"line" doc:"the names of the line's columns, in their order"`
	Separator string            `yaml:"separator" doc:"what stands between two columns: one character"`
	Input     string            `yaml:"input" doc:"with columns: the input that they are of; default: the model's only one"`
	Columns   []string          `yaml:"columns" doc:"columns of the line that are the columns of a matrix input, in its order"`
	Fields    map[string]string `yaml:"fields" doc:"column → input, where the names differ"`
	Pass      []string          `yaml:"pass" doc:"columns that the result begins with; then come the outputs' values, the model and its version"`
	Outputs   []string          `yaml:"outputs" doc:"outputs that the result has; default: all"`
}

type csvLine struct {
	opt   CSV
	comma rune
	in    mapping
	pass  []int
}

func newCSV(o *CSV) (*csvLine, error) {
	f := &csvLine{opt: *o, in: mapping{input: o.Input, columns: o.Columns, fields: o.Fields}}
	var size int
	if f.comma, size = utf8.DecodeRuneInString(o.Separator); size != len(o.Separator) || size == 0 || f.comma == '"' || f.comma == '\n' || f.comma == '\r' || f.comma == utf8.RuneError {
		return nil, wrong("separator", "format csv: separator is %q; write one character, such as , or ;", o.Separator)
	}
	if len(o.Line) == 0 {
		return nil, wrong("line", "format csv: line is missing; name the line's columns in their order")
	}
	if err := checkColumns("csv", o.Line); err != nil {
		return nil, err
	}
	for _, p := range o.Pass {
		i := slices.Index(o.Line, p)
		if i < 0 {
			return nil, wrong("pass", "format csv: pass names %q, which is not in line", p)
		}
		f.pass = append(f.pass, i)
	}
	for _, c := range o.Columns {
		if !slices.Contains(o.Line, c) {
			return nil, wrong("columns", "format csv: columns names %q, which is not in line", c)
		}
	}
	return f, checkColumns("csv", o.Columns)
}

// Decode implements stream.Format.
func (f *csvLine) Decode(m *stream.Message, model *serval.ModelInfo, call *stream.Call) error {
	p, err := f.in.of(model)
	if err != nil {
		return err
	}
	in := csv.NewReader(bytes.NewReader(m.Value))
	in.Comma, in.FieldsPerRecord, in.LazyQuotes = f.comma, -1, false
	record, err := in.Read()
	if err != nil {
		return wrong("", "the message is not a CSV line: %v", err)
	}
	if len(record) != len(f.opt.Line) {
		return wrong("", "the line has %d columns, the format's line names %d", len(record), len(f.opt.Line))
	}
	if _, err := in.Read(); err == nil {
		return wrong("", "the message has more than one line; a message is one row")
	}
	r := p.row()
	for i, name := range f.opt.Line {
		at, ok := p.fields[name]
		if !ok {
			continue
		}
		if err := r.string(record[i], at, name); err != nil {
			return err
		}
	}
	if call.Input, err = r.done(false); err != nil {
		return err
	}
	if len(f.pass) > 0 {
		keep := make([]string, len(f.pass))
		for i, at := range f.pass {
			keep[i] = record[at]
		}
		call.Carry = keep
	}
	return nil
}

// Encode implements stream.Format.
func (f *csvLine) Encode(_ *stream.Message, call *stream.Call, a *stream.Answer, out *stream.Message) error {
	if a.Outputs == nil {
		return noTensors(a, "csv")
	}
	record, _ := call.Carry.([]string)
	list, err := chosen(a, f.opt.Outputs)
	if err != nil {
		return err
	}
	for i := range list {
		if record, err = appendValues(record, &list[i]); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Comma = f.comma
	if err := w.Write(append(record, a.Model.Name, a.Model.Version)); err != nil {
		return err
	}
	w.Flush()
	out.Value = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	typed(out, csvType)
	return w.Error()
}

// appendValues appends a tensor's values as texts.
func appendValues(record []string, t *serval.Tensor) ([]string, error) {
	switch t.DType {
	case serval.Bytes:
		for rest := t.Data; len(rest) > 0; {
			var one []byte
			var ok bool
			if one, rest, ok = serval.NextBytes(rest); !ok {
				break
			}
			record = append(record, string(one))
		}
		return record, nil
	case serval.Bool:
		for _, v := range t.Data {
			record = append(record, strconv.FormatBool(v != 0))
		}
		return record, nil
	case serval.FP16, serval.BF16:
		return record, serval.Errorf(serval.Unimplemented, "output '%s' is %s, which CSV does not carry; leave it out of the format's outputs", t.Name, t.DType).At(t.Name)
	}
	flat, err := jsontensor.AppendFlat(nil, t)
	if err != nil {
		return record, err
	}
	for v := range bytes.SplitSeq(flat[1:len(flat)-1], []byte(",")) {
		if len(v) > 0 {
			record = append(record, string(bytes.Trim(v, `"`)))
		}
	}
	return record, nil
}
