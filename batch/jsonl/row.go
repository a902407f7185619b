package jsonl

import (
	"bytes"
	"fmt"
	"strings"

	"serval"
	"serval/batch"
)

// maxRaw is how much of a bad row is kept.
const maxRaw = 4 << 10

// line takes a row in: good is the number of good rows before it.
func (r *reader) line(line []byte, cut bool, good int) {
	if cut {
		r.fail(line, "", fmt.Sprintf("longer than %d bytes, which is the option max_record", r.most))
		return
	}
	for i := range r.vectors {
		r.begin[i], r.seen[i] = len(r.vectors[i].Data), false
	}
	column, err := r.row(line, good)
	if err == nil {
		return
	}
	for i := range r.vectors {
		v := &r.vectors[i]
		v.Data = v.Data[:r.begin[i]]
		v.Null = v.Null[:min(len(v.Null), good)]
	}
	r.fail(line, column, err.Error())
}

func (r *reader) fail(line []byte, column, reason string) {
	r.bad = append(r.bad, batch.Bad{
		Row: r.At.Row, Column: column, Reason: fmt.Sprintf("line %d: %s", r.At.Line, reason), Raw: bytes.Clone(line[:min(len(line), maxRaw)]),
	})
}

func (r *reader) row(line []byte, good int) (column string, err error) {
	s := &r.scan
	r.text = line
	s.Reset(line)
	if err := s.Enter('{', "a row"); err != nil {
		return "", err
	}
	for n := 0; ; n++ {
		more, err := s.More(n == 0, '}')
		if err != nil {
			return "", err
		}
		if !more {
			break
		}
		key, err := s.Key()
		if err != nil {
			return "", err
		}
		f := r.field(n, key)
		if len(f.into) == 0 {
			if err := s.Skip(); err != nil {
				return "", err
			}
			continue
		}
		begin := s.Pos()
		for k, i := range f.into {
			if k > 0 {
				s.Seek(begin)
			}
			if r.seen[i] {
				return f.name, fmt.Errorf("given twice")
			}
			r.seen[i] = true
			if err := r.value(&r.vectors[i], good); err != nil {
				return f.name, err
			}
		}
	}
	if err := s.End(); err != nil {
		return "", err
	}
	for i, seen := range r.seen {
		if !seen {
			null(&r.vectors[i], good)
		}
	}
	return "", nil
}

// field finds what a field is read into. Rows mostly have the same fields in the same order.
func (r *reader) field(n int, key []byte) *field {
	const most = 256 // fields that are remembered
	if n < len(r.order) && r.order[n].name == string(key) {
		return &r.order[n]
	}
	f := field{name: string(key), into: r.byName[string(key)]}
	if n >= most {
		return &f
	}
	if n >= len(r.order) {
		r.order = append(r.order, f)
		n = len(r.order) - 1
	}
	r.order[n] = f
	return &r.order[n]
}

// null is a missing value.
func null(v *batch.Vector, good int) {
	n, _ := serval.Elements(v.Shape)
	size := v.DType.Size()
	if v.DType == serval.Bytes {
		size = 4 // an empty element
	}
	v.Data = append(v.Data, make([]byte, int(n)*size)...)
	if v.Null == nil {
		v.Null = make([]bool, good, good+64)
	}
	for len(v.Null) < good {
		v.Null = append(v.Null, false)
	}
	v.Null = append(v.Null, true)
}

// value takes the value that the scanner stands at.
func (r *reader) value(v *batch.Vector, good int) (err error) {
	s := &r.scan
	c := s.Peek()
	if c == 'n' {
		if err = s.Null(); err == nil {
			null(v, good)
		}
		return err
	}
	if v.Null != nil {
		for len(v.Null) <= good {
			v.Null = append(v.Null, false)
		}
	}
	n, _ := serval.Elements(v.Shape)
	switch {
	case n != 1 || c == '[' && v.DType != serval.Bytes || v.Shape != nil && v.DType == serval.Bytes:
		return r.tensor(v, c)
	case v.JSON || v.DType == serval.Bytes && c != '"':
		from := s.Pos()
		if err = s.Skip(); err == nil {
			v.Data = serval.AppendBytes(v.Data, r.text[from:s.Pos()])
		}
	case c == '"':
		var text []byte
		if text, err = s.String(); err == nil {
			v.Data, err = batch.AppendText(v.Data, v.DType, text)
		}
	case c == 't' || c == 'f':
		var b bool
		if b, err = s.Bool(); err == nil {
			v.Data, err = batch.AppendText(v.Data, v.DType, []byte{'0' + bit(b)})
		}
	case c == '{':
		err = fmt.Errorf("an object, where a value of type %s is needed", v.DType)
	default:
		var text []byte
		if text, err = s.Number(); err == nil {
			v.Data, err = batch.AppendText(v.Data, v.DType, text)
		}
	}
	return err
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// tensor takes a list of values, flat or nested.
func (r *reader) tensor(v *batch.Vector, c byte) (err error) {
	n, _ := serval.Elements(v.Shape)
	if c != '[' {
		return fmt.Errorf("a single value, where %d are needed", n)
	}
	t := serval.Tensor{Name: v.Name, DType: v.DType, Shape: v.Shape}
	if v.Shape == nil {
		t.Shape = []int64{1}
	}
	if t.DType == serval.FP16 || t.DType == serval.BF16 {
		t.DType = serval.FP32
	}
	r.arena, err = r.scan.Tensor(&t, r.arena[:0])
	if err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "input '"+v.Name+"': "))
	}
	if t.DType == v.DType {
		v.Data = append(v.Data, t.Data...)
		return nil
	}
	number := t.DType.Numbers()
	for i := range int(n) {
		if v.Data, err = batch.AppendText(v.Data, v.DType, fmt.Append(nil, number(t.Data, i))); err != nil {
			return err
		}
	}
	return nil
}
