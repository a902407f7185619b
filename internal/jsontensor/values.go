package jsontensor

import (
	"encoding/binary"
	"math"

	"serval"
)

// maxRank bounds the nesting of a tensor's data.
const maxRank = 32

// reader reads the values of one tensor.
type reader struct {
	s      *Scanner
	t      *serval.Tensor
	dst    []byte // fixed-size types: room for every value that can come; Bytes: grows
	n      int64  // values so far
	limit  int64  // values that the shape takes
	length [maxRank + 1]int64
}

// Tensor takes an array, flat or nested, with the values of t, whose Name, DType and Shape are set, and puts them behind
// arena, which it returns. t.Data aliases arena; earlier tensors of the same arena stay good when it has to grow. Memory is
// taken for values that the text can hold, never for what Shape alone declares.
func (s *Scanner) Tensor(t *serval.Tensor, arena []byte) ([]byte, error) {
	n, ok := serval.Elements(t.Shape)
	if !ok {
		return arena, serval.Errorf(serval.InvalidArgument, "input '%s': shape %s has a negative dimension or more elements than can be counted", t.Name, serval.ShapeString(t.Shape)).At(t.Name)
	}
	switch t.DType {
	case serval.FP16, serval.BF16:
		return arena, serval.Errorf(serval.InvalidArgument, "input '%s': %s cannot be sent as JSON; send it as binary data (parameter binary_data_size)", t.Name, t.DType).At(t.Name)
	case serval.InvalidType:
		return arena, serval.Errorf(serval.InvalidArgument, "input '%s': the datatype is missing", t.Name).At(t.Name)
	}
	r := reader{s: s, t: t, limit: n}
	start := len(arena)
	if size := t.DType.Size(); size > 0 {
		room := int(min(n, int64(len(s.buf)-s.pos)/2+1)) * size // a value takes two bytes of text at least
		if cap(arena)-start < room {
			arena, start = make([]byte, 0, max(room, min(2*cap(arena), 1<<20))), 0
		}
		r.dst = arena[start : start+room : start+room]
	} else {
		r.dst = arena[start:start]
	}
	if err := r.array(); err != nil {
		return arena, err
	}
	if r.n != n {
		return arena, r.count(r.n, "")
	}
	if size := t.DType.Size(); size > 0 {
		t.Data = r.dst[: int(n)*size : int(n)*size]
		return arena[:start+int(n)*size], nil
	}
	t.Data = r.dst
	if len(r.dst) <= cap(arena)-start { // still in the arena
		return arena[:start+len(r.dst)], nil
	}
	return r.dst, nil
}

// array takes the whole array; a single value where the shape has no dimensions. Arrays of one level must be of one length, and every value stand at the same level; the
// shape's own dimensions are not held against them, as clients send flat and nested data alike.
func (r *reader) array() error {
	s := r.s
	if c := s.Peek(); c != '[' {
		if len(r.t.Shape) == 0 {
			return r.single()
		}
		if s.pos >= len(s.buf) {
			return s.unexpected(c, "the data of input '"+r.t.Name+"'")
		}
		return serval.Errorf(serval.InvalidArgument, "input '%s': data must be an array, not %s", r.t.Name, s.kind()).At(r.t.Name)
	}
	var count [maxRank + 1]int64
	level, leaf := 0, 0
	for {
		// An array opens here.
		s.pos++
		level++
		if level > maxRank {
			return serval.Errorf(serval.InvalidArgument, "input '%s': data is nested deeper than %d levels", r.t.Name, maxRank).At(r.t.Name)
		}
		count[level] = 0
		switch c := s.Peek(); {
		case c == '[' && (leaf == 0 || level < leaf):
			continue
		case c == '[' || leaf != 0 && level != leaf:
			return r.uneven()
		case c == ']':
			leaf = level
			s.pos++
		default:
			leaf = level
			before := r.n
			if err := r.values(); err != nil {
				return err
			}
			count[level] = r.n - before
		}
		for { // An array has closed.
			if known := r.length[level]; known == 0 {
				r.length[level] = count[level] + 1
			} else if known != count[level]+1 {
				return serval.Errorf(serval.InvalidArgument, "input '%s': data is ragged: arrays of one level have %d and %d elements", r.t.Name, known-1, count[level]).At(r.t.Name)
			}
			level--
			if level == 0 {
				return nil
			}
			count[level]++
			more, err := s.More(false, ']')
			if err != nil {
				return err
			}
			if more {
				break
			}
		}
		if c := s.Peek(); c != '[' {
			return r.uneven()
		}
	}
}

// single takes a value that stands alone.
func (r *reader) single() error {
	s := r.s
	num, next := scanNumber(s.buf, s.pos)
	var err error
	switch {
	case r.t.DType == serval.Bytes:
		err = r.element()
	case next < 0:
		err = r.special()
	default:
		err = r.number(num, s.buf[s.pos:next])
		s.pos = next
	}
	r.n = 1
	return err
}

func (r *reader) uneven() error {
	return serval.Errorf(serval.InvalidArgument, "input '%s': data is ragged: values stand at different levels of nesting", r.t.Name).At(r.t.Name)
}

// values takes values up to and with the ']' that ends them.
func (r *reader) values() error {
	s := r.s
	buf := s.buf
	d, dst, at := r.t.DType, r.dst, int(r.n)
	for {
		s.pos = skipSpace(buf, s.pos)
		if int64(at) == r.limit {
			return r.count(0, "more")
		}
		if d == serval.Bytes {
			r.n = int64(at)
			if err := r.element(); err != nil {
				return err
			}
		} else if num, next := scanNumber(buf, s.pos); next < 0 {
			r.n = int64(at)
			if err := r.special(); err != nil {
				return err
			}
		} else {
			ok := false
			switch d {
			case serval.FP32:
				var f float32
				if f, ok = num.float32(); ok {
					binary.LittleEndian.PutUint32(dst[4*at:], math.Float32bits(f))
				}
			case serval.FP64:
				var f float64
				if f, ok = num.float64(); ok {
					binary.LittleEndian.PutUint64(dst[8*at:], math.Float64bits(f))
				}
			}
			if !ok {
				r.n = int64(at)
				if err := r.number(num, buf[s.pos:next]); err != nil {
					return err
				}
			}
			s.pos = next
		}
		at++
		if s.pos < len(buf) && buf[s.pos] == ',' {
			s.pos++
			continue
		}
		switch c := s.Peek(); c {
		case ',':
			s.pos++
		case ']':
			s.pos++
			r.n = int64(at)
			return nil
		default:
			return s.unexpected(c, "',' or ']'")
		}
	}
}

// number stores value r.n where the short way did not: integers, booleans as 0 and 1, floats that need care.
func (r *reader) number(num number, text []byte) error {
	d, at := r.t.DType, int(r.n)
	switch d {
	case serval.FP32:
		f, ok := parseFloat(text, 32)
		if !ok {
			return r.bad(text, "is out of the range of FP32")
		}
		binary.LittleEndian.PutUint32(r.dst[4*at:], math.Float32bits(float32(f)))
		return nil
	case serval.FP64:
		f, ok := parseFloat(text, 64)
		if !ok {
			return r.bad(text, "is out of the range of FP64")
		}
		binary.LittleEndian.PutUint64(r.dst[8*at:], math.Float64bits(f))
		return nil
	case serval.Bool:
		if num.frac || num.big || num.mant > 1 || num.neg {
			return r.bad(text, "is not a BOOL: write true or false")
		}
		r.dst[at] = byte(num.mant)
		return nil
	}
	if num.frac {
		return r.bad(text, "is not a whole number, which "+d.String()+" takes")
	}
	v, ok := num.integer(text, d)
	if !ok {
		return r.bad(text, "is out of the range of "+d.String())
	}
	switch d.Size() {
	case 1:
		r.dst[at] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(r.dst[2*at:], uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(r.dst[4*at:], uint32(v))
	default:
		binary.LittleEndian.PutUint64(r.dst[8*at:], v)
	}
	return nil
}

// special stores value r.n where no number stands: true and false, and the strings for what JSON has no numbers for.
func (r *reader) special() error {
	s := r.s
	d, at := r.t.DType, int(r.n)
	switch c := s.at(); {
	case d == serval.Bool && (c == 't' || c == 'f'):
		b, err := s.Bool()
		if b {
			r.dst[at] = 1
		} else {
			r.dst[at] = 0
		}
		return err
	case c == '"' && (d == serval.FP32 || d == serval.FP64):
		start := s.pos
		text, err := s.String()
		if err != nil {
			return err
		}
		f := 0.0
		switch string(text) {
		case "NaN":
			f = math.NaN()
		case "Infinity":
			f = math.Inf(1)
		case "-Infinity":
			f = math.Inf(-1)
		default:
			return r.bad(s.buf[start:s.pos], "is a string; "+d.String()+` takes numbers, "NaN", "Infinity" and "-Infinity"`)
		}
		if d == serval.FP32 {
			binary.LittleEndian.PutUint32(r.dst[4*at:], math.Float32bits(float32(f)))
		} else {
			binary.LittleEndian.PutUint64(r.dst[8*at:], math.Float64bits(f))
		}
		return nil
	}
	return r.misfit()
}

// misfit says what stands where a value of the tensor's type should.
func (r *reader) misfit() error {
	s := r.s
	rest := s.buf[s.pos:]
	for _, w := range [...]string{"NaN", "nan", "Infinity", "-Infinity", "inf", "-inf", "-NaN"} {
		if len(rest) >= len(w) && string(rest[:len(w)]) == w {
			return serval.Errorf(serval.InvalidArgument, `input '%s': data[%d] is %s, which JSON does not have; put it in quotes ("NaN", "Infinity", "-Infinity") or send the tensor as binary data (parameter binary_data_size)`, r.t.Name, r.n, w).At(r.t.Name)
		}
	}
	kind := s.kind()
	switch numeric := r.t.DType != serval.Bytes && r.t.DType != serval.Bool; {
	case kind == "an array":
		return r.uneven()
	case kind == "something that is not JSON", kind == "a number" && numeric: // such as 01
		return s.unexpected(s.at(), "a value of input '"+r.t.Name+"'")
	}
	takes := "numbers"
	switch r.t.DType {
	case serval.Bool:
		takes = "true and false"
	case serval.Bytes:
		takes = "strings"
	}
	return serval.Errorf(serval.InvalidArgument, "input '%s': data[%d] is %s; %s takes %s", r.t.Name, r.n, kind, r.t.DType, takes).At(r.t.Name)
}

// element appends one string.
func (r *reader) element() error {
	s := r.s
	if s.at() != '"' {
		return r.misfit()
	}
	text, err := s.String()
	if err != nil {
		return err
	}
	r.dst = serval.AppendBytes(r.dst, text)
	return nil
}

func (r *reader) bad(text []byte, why string) error {
	const most = 40
	more := ""
	if len(text) > most {
		text, more = text[:most], "…"
	}
	return serval.Errorf(serval.InvalidArgument, "input '%s': data[%d] is %s%s, which %s", r.t.Name, r.n, text, more, why).At(r.t.Name)
}

// count is the error for a number of values that the shape does not take.
func (r *reader) count(have int64, more string) error {
	if more != "" {
		return serval.Errorf(serval.InvalidArgument, "input '%s': shape %s of %s takes %d values, the data holds %s", r.t.Name, serval.ShapeString(r.t.Shape), r.t.DType, r.limit, more).At(r.t.Name)
	}
	return serval.Errorf(serval.InvalidArgument, "input '%s': shape %s of %s takes %d values, the data holds %d", r.t.Name, serval.ShapeString(r.t.Shape), r.t.DType, r.limit, have).At(r.t.Name)
}
