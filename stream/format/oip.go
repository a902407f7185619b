package format

import (
	"slices"

	"serval"
	"serval/internal/jsontensor"
	"serval/stream"
)

// OIP is an infer request of the Open Inference Protocol as JSON, without its binary extension.
type OIP struct{}

type oip struct{}

// maxTensors bounds the inputs and outputs of a message.
const maxTensors = 1024

// Decode implements stream.Format.
func (*oip) Decode(m *stream.Message, _ *serval.ModelInfo, call *stream.Call) error {
	var s jsontensor.Scanner
	s.Reset(m.Value)
	in := &serval.Tensors{}
	given := false
	err := object(&s, "the message", func(key string) (err error) {
		switch key {
		case "id":
			call.ID, err = optionalText(&s)
		case "parameters":
			err = parameters(&s, call)
		case "inputs":
			given = true
			err = list(&s, "inputs", func(int) error {
				t, err := input(&s)
				if err == nil && slices.ContainsFunc(in.List, func(o serval.Tensor) bool { return o.Name == t.Name }) {
					err = wrong(t.Name, "input '%s' is given twice", t.Name)
				}
				in.List = append(in.List, t)
				return err
			})
		case "outputs":
			err = list(&s, "outputs", func(i int) error {
				name := ""
				err := object(&s, "an output", func(key string) (err error) {
					if key == "name" {
						name, err = optionalText(&s)
						return err
					}
					return s.Skip()
				})
				if err == nil && name == "" {
					err = wrong("outputs", "outputs[%d] has no name", i)
				}
				in.Want = append(in.Want, name)
				return err
			})
		default:
			err = s.Skip()
		}
		return err
	})
	if err == nil {
		err = s.End()
	}
	if err == nil && !given {
		err = wrong("inputs", `the message has no "inputs"; it must be {"inputs":[{"name":…,"shape":[…],"datatype":…,"data":[…]}]}`)
	}
	call.Input = in
	return err
}

// object walks an object; member takes the value of each member.
func object(s *jsontensor.Scanner, what string, member func(key string) error) error {
	if err := s.Enter('{', what); err != nil {
		return err
	}
	for first := true; ; first = false {
		more, err := s.More(first, '}')
		if err != nil || !more {
			return err
		}
		key, err := s.Key()
		if err == nil {
			err = member(string(key))
		}
		if err != nil {
			return err
		}
	}
}

func list(s *jsontensor.Scanner, what string, element func(i int) error) error {
	if err := s.Enter('[', what); err != nil {
		return err
	}
	for i := 0; ; i++ {
		more, err := s.More(i == 0, ']')
		if err != nil || !more {
			return err
		}
		if i == maxTensors {
			return wrong(what, "the message has more than %d %s", maxTensors, what)
		}
		if err := element(i); err != nil {
			return err
		}
	}
}

// optionalText takes a string, or null for "".
func optionalText(s *jsontensor.Scanner) (string, error) {
	if s.Peek() == 'n' {
		return "", s.Null()
	}
	b, err := s.String()
	return string(b), err
}

// parameters takes the request's; of these only the priority means anything here.
func parameters(s *jsontensor.Scanner, call *stream.Call) error {
	if s.Peek() == 'n' {
		return s.Null()
	}
	return object(s, "parameters", func(key string) error {
		if key != "priority" {
			return s.Skip()
		}
		n, ok := s.Uint()
		if !ok || n > 127 {
			return wrong("priority", "the parameter priority must be a whole number from 0 to 127")
		}
		call.Priority = int8(n)
		return nil
	})
}

// input takes one input, its members in any order.
func input(s *jsontensor.Scanner) (t serval.Tensor, err error) {
	data, shaped := -1, false
	err = object(s, "an input", func(key string) (err error) {
		switch key {
		case "name":
			t.Name, err = optionalText(s)
		case "datatype":
			var name string
			if name, err = optionalText(s); err == nil {
				var ok bool
				if t.DType, ok = serval.ParseDType(name); !ok {
					err = wrong(t.Name, "an input has the datatype %s; use one such as FP32, INT64 or BYTES", quoted(name))
				}
			}
		case "shape":
			shaped = true
			t.Shape = []int64{}
			err = list(s, "shape", func(int) error {
				n, ok := s.Uint()
				if !ok || n > 1<<62 {
					return wrong(t.Name, "a shape must be a list of whole numbers from 0")
				}
				t.Shape = append(t.Shape, int64(n))
				return nil
			})
		case "data":
			data = s.Pos()
			err = s.Skip()
		default:
			err = s.Skip()
		}
		return err
	})
	switch {
	case err != nil:
	case t.Name == "" || t.DType == serval.InvalidType || !shaped || data < 0:
		err = wrong(t.Name, `an input must have "name", "shape", "datatype" and "data"`)
	case len(t.Shape) > 32:
		err = wrong(t.Name, "input '%s' has %d dimensions; at most 32 are taken", t.Name, len(t.Shape))
	default:
		end := s.Pos()
		s.Seek(data)
		if _, err = s.Tensor(&t, nil); err == nil {
			s.Seek(end)
			err = t.Check()
		}
	}
	return t, err
}

// Encode implements stream.Format.
func (*oip) Encode(_ *stream.Message, call *stream.Call, a *stream.Answer, out *stream.Message) error {
	if a.Outputs == nil {
		return noTensors(a, "oip")
	}
	b := jsontensor.AppendString(append(room(out), `{"model_name":`...), a.Model.Name)
	b = jsontensor.AppendString(append(b, `,"model_version":`...), a.Model.Version)
	if call.ID != "" {
		b = jsontensor.AppendString(append(b, `,"id":`...), call.ID)
	}
	if id := traceID(a.Trace); id != "" {
		b = jsontensor.AppendString(append(b, `,"parameters":{"trace_id":`...), id)
		b = append(b, '}')
	}
	b = append(b, `,"outputs":[`...)
	for i := range a.Outputs {
		t := &a.Outputs[i]
		if t.DType == serval.FP16 || t.DType == serval.BF16 {
			return serval.Errorf(serval.Unimplemented, "output '%s' is %s, which JSON does not carry; ask for other outputs, or use format oip_protobuf", t.Name, t.DType).At(t.Name)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = jsontensor.AppendString(append(b, `{"name":`...), t.Name)
		b = append(append(b, `,"datatype":"`...), t.DType.String()...)
		b = append(b, `","shape":`...)
		b = append(b, shapeJSON(t.Shape)...)
		var err error
		if b, err = jsontensor.AppendFlat(append(b, `,"data":`...), t); err != nil {
			return err
		}
		b = append(b, '}')
	}
	out.Value = append(b, "]}"...)
	typed(out, jsonType)
	return nil
}

// shapeJSON is a shape as a JSON list, however long.
func shapeJSON(shape []int64) []byte {
	b := []byte{'['}
	for i, d := range shape {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendInt(b, d)
	}
	return append(b, ']')
}
