package oip

import (
	"fmt"
	"math"

	"serval"
)

// decode reads the request in x.body, whose first jsonSize bytes are JSON, or all of it if jsonSize is negative, and the
// rest binary data.
func (x *exchange) decode(jsonSize int64) error {
	text := x.body
	var rest []byte
	if jsonSize >= 0 {
		if jsonSize > int64(len(x.body)) {
			return serval.Errorf(serval.InvalidArgument, "header Inference-Header-Content-Length is %d, but the body has only %d bytes", jsonSize, len(x.body))
		}
		text, rest = x.body[:jsonSize:jsonSize], x.body[jsonSize:]
	}
	if len(text) == 0 {
		return serval.Errorf(serval.InvalidArgument, `the body is empty; send {"inputs":[{"name":…,"shape":[…],"datatype":…,"data":[…]}]}`)
	}
	x.scan.Reset(text)
	if err := x.request(); err != nil {
		return err
	}
	if err := x.scan.End(); err != nil {
		return err
	}
	return x.attach(rest, jsonSize >= 0)
}

// Members of the request and of an input, as bits: each may stand once.
const (
	seenID = 1 << iota
	seenParameters
	seenInputs
	seenOutputs
	seenName
	seenShape
	seenDatatype
	seenData
)

// member is a known name of the request's objects; one that an object does not have is skipped there.
func member(key []byte) int {
	switch string(key) {
	case "id":
		return seenID
	case "parameters":
		return seenParameters
	case "inputs":
		return seenInputs
	case "outputs":
		return seenOutputs
	case "name":
		return seenName
	case "shape":
		return seenShape
	case "datatype":
		return seenDatatype
	case "data":
		return seenData
	}
	return 0
}

// next takes the name of an object's next member and returns it as a bit; over says that the object has ended. list and i
// name the object for errors; an empty list is the request itself.
func (x *exchange) next(seen *int, list string, i int) (m int, over bool, err error) {
	more, err := x.scan.More(*seen&started == 0, '}')
	if err != nil || !more {
		return 0, true, err
	}
	*seen |= started
	key, err := x.scan.Key()
	if err != nil {
		return 0, false, err
	}
	m = member(key)
	if m&*seen != 0 {
		where := "the request"
		if list != "" {
			where = fmt.Sprintf("%s[%d]", list, i)
		}
		return 0, false, serval.Errorf(serval.InvalidArgument, "%s has %q twice", where, key).At(string(key))
	}
	*seen |= m
	return m, false, nil
}

const started = 1 << 30

func (x *exchange) request() error {
	if err := x.scan.Enter('{', "the request"); err != nil {
		return err
	}
	seen := 0
	for {
		m, over, err := x.next(&seen, "", 0)
		if err == nil && !over {
			switch m {
			case seenID:
				err = x.id()
			case seenParameters:
				err = x.parameters(&x.call, "", "parameters")
			case seenInputs:
				err = x.list("inputs", (*exchange).input)
			case seenOutputs:
				err = x.list("outputs", (*exchange).output)
			default:
				err = x.scan.Skip()
			}
		}
		if err != nil {
			return err
		}
		if over {
			break
		}
	}
	if seen&seenInputs == 0 {
		return serval.Errorf(serval.InvalidArgument, `the request has no "inputs"`).At("inputs")
	}
	return nil
}

func (x *exchange) id() error {
	if x.scan.Peek() == 'n' {
		return x.scan.Null()
	}
	id, err := x.scan.String()
	if err == nil && len(id) > 0 {
		x.req.ID = string(id)
	}
	return err
}

// list takes an array of objects, or null for an empty one.
func (x *exchange) list(name string, element func(*exchange, int) error) error {
	if x.scan.Peek() == 'n' {
		return x.scan.Null()
	}
	if err := x.scan.Enter('[', name); err != nil {
		return err
	}
	for i := 0; ; i++ {
		more, err := x.scan.More(i == 0, ']')
		if err != nil || !more {
			return err
		}
		if i == maxTensors {
			return serval.Errorf(serval.InvalidArgument, "the request has more than %d %s", maxTensors, name).At(name)
		}
		if err := element(x, i); err != nil {
			return err
		}
	}
}

// input takes one input. Its data is read at once where what it takes to read it stands before it, as every known client
// writes it, and else when the rest is known.
func (x *exchange) input(i int) error {
	if x.scan.Peek() != '{' {
		return x.scan.Enter('{', fmt.Sprintf("inputs[%d]", i))
	}
	x.scan.Enter('{', "")
	s := x.addInput(serval.Tensor{})
	t := &x.in.List[i]
	const enough = seenName | seenShape | seenDatatype
	seen, later := 0, -1
	for {
		m, over, err := x.next(&seen, "inputs", i)
		if err == nil && !over {
			switch m {
			case seenName:
				t.Name, err = x.name("an input's name")
			case seenShape:
				err = x.shape(t, i)
			case seenDatatype:
				err = x.datatype(t, i)
			case seenParameters:
				err = x.parameters(s, t.Name, "an input's parameters")
			case seenData:
				if x.scan.Peek() == 'n' {
					seen &^= seenData
					err = x.scan.Null()
				} else if seen&enough == enough {
					err = x.data(t)
				} else {
					later = x.scan.Pos()
					err = x.scan.Skip()
				}
			default:
				err = x.scan.Skip()
			}
		}
		if err != nil {
			return err
		}
		if over {
			break
		}
	}
	if seen&enough != enough {
		return missing(t, i, seen)
	}
	if later >= 0 {
		end := x.scan.Pos()
		x.scan.Seek(later)
		if err := x.data(t); err != nil {
			return err
		}
		x.scan.Seek(end)
	}
	return x.checkSource(t, s, seen&seenData != 0)
}

func (x *exchange) data(t *serval.Tensor) (err error) {
	x.arena, err = x.scan.Tensor(t, x.arena)
	return err
}

func missing(t *serval.Tensor, i, seen int) error {
	which := fmt.Sprintf("inputs[%d]", i)
	if t.Name != "" {
		which = "input '" + t.Name + "'"
	}
	for _, m := range [...]struct {
		bit  int
		name string
	}{{seenName, "name"}, {seenDatatype, "datatype"}, {seenShape, "shape"}} {
		if seen&m.bit == 0 {
			return serval.Errorf(serval.InvalidArgument, "%s has no %q", which, m.name).At(which)
		}
	}
	return nil
}

// checkSource makes sure that the data comes from one place.
func (x *exchange) checkSource(t *serval.Tensor, s *source, data bool) error {
	switch {
	case data && s.binarySize >= 0:
		return serval.Errorf(serval.InvalidArgument, `input '%s' has both "data" and the parameter binary_data_size; leave one out`, t.Name).At(t.Name)
	case data && s.shared:
		return serval.Errorf(serval.InvalidArgument, `input '%s' has both "data" and the parameter shared_memory_region; leave one out`, t.Name).At(t.Name)
	case !data && s.binarySize < 0 && !s.shared:
		return serval.Errorf(serval.InvalidArgument, `input '%s' has no data: give "data", or the parameter binary_data_size and binary data, or a shared_memory_region`, t.Name).At(t.Name)
	}
	return nil
}

func (x *exchange) name(what string) (string, error) {
	if x.scan.Peek() != '"' {
		return "", serval.Errorf(serval.InvalidArgument, "%s must be a string", what).At("name")
	}
	b, err := x.scan.String()
	if err == nil && len(b) == 0 {
		err = serval.Errorf(serval.InvalidArgument, "%s must not be empty", what).At("name")
	}
	return x.intern(b), err
}

func (x *exchange) datatype(t *serval.Tensor, i int) error {
	if x.scan.Peek() == '"' {
		b, err := x.scan.String()
		if err != nil {
			return err
		}
		var ok bool
		if t.DType, ok = serval.ParseDType(x.intern(b)); ok {
			return nil
		}
		return serval.Errorf(serval.InvalidArgument, "inputs[%d]: there is no datatype %q; it must be BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64 or BYTES", i, b).At("datatype")
	}
	return serval.Errorf(serval.InvalidArgument, `inputs[%d]: datatype must be a string, such as "FP32"`, i).At("datatype")
}

const maxRank = 32

func (x *exchange) shape(t *serval.Tensor, i int) error {
	if err := x.scan.Enter('[', "shape"); err != nil {
		return err
	}
	from := len(x.shapes)
	for first := true; ; first = false {
		more, err := x.scan.More(first, ']')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		n, ok := x.scan.Uint()
		if !ok || n > math.MaxInt64 {
			return serval.Errorf(serval.InvalidArgument, "inputs[%d]: shape[%d] must be a whole number from 0 up; a request's shape has no -1", i, len(x.shapes)-from).At("shape")
		}
		if len(x.shapes)-from == maxRank {
			return serval.Errorf(serval.InvalidArgument, "inputs[%d]: shape has more than %d dimensions", i, maxRank).At("shape")
		}
		x.shapes = append(x.shapes, int64(n))
	}
	t.Shape = x.shapes[from:len(x.shapes):len(x.shapes)]
	return nil
}

// output takes one requested output.
func (x *exchange) output(i int) error {
	if x.scan.Peek() != '{' {
		return x.scan.Enter('{', fmt.Sprintf("outputs[%d]", i))
	}
	x.scan.Enter('{', "")
	w := x.addWant("")
	seen := 0
	for {
		m, over, err := x.next(&seen, "outputs", i)
		if err == nil && !over {
			switch m {
			case seenName:
				w.name, err = x.name("an output's name")
			case seenParameters:
				err = x.parameters(w, w.name, "an output's parameters")
			default:
				err = x.scan.Skip()
			}
		}
		if err != nil {
			return err
		}
		if over {
			break
		}
	}
	if seen&seenName == 0 {
		return serval.Errorf(serval.InvalidArgument, `outputs[%d] has no "name"`, i).At("outputs")
	}
	return nil
}

// parameters takes an object of parameters and sets them on dst: a *call, *source or *want. where names the object.
func (x *exchange) parameters(dst any, owner, where string) error {
	if x.scan.Peek() == 'n' {
		return x.scan.Null()
	}
	if err := x.scan.Enter('{', where); err != nil {
		return err
	}
	for first := true; ; first = false {
		more, err := x.scan.More(first, '}')
		if err != nil || !more {
			return err
		}
		key, err := x.scan.Key()
		if err != nil {
			return err
		}
		name := x.intern(key)
		v, err := x.value()
		if err != nil {
			return err
		}
		switch dst := dst.(type) {
		case *call:
			err = dst.setParam(name, v)
		case *source:
			err = dst.setParam(owner, name, v)
		case *want:
			err = dst.setParam(name, v)
		}
		if err != nil {
			return err
		}
	}
}

// value takes a parameter's value.
func (x *exchange) value() (value, error) {
	switch c := x.scan.Peek(); c {
	case 't', 'f':
		b, err := x.scan.Bool()
		return boolValue(b), err
	case '"':
		s, err := x.scan.String()
		return stringValue(x.intern(s)), err
	case '{', '[', 'n':
		return value{}, x.scan.Skip()
	}
	if n, ok := x.scan.Uint(); ok {
		return uintValue(n), nil
	}
	_, err := x.scan.Number()
	return value{}, err
}
