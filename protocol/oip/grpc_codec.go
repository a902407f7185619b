package oip

import (
	"errors"
	"math"
	"unicode/utf8"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"serval"
	"serval/wire/inference"
)

// The reading half of the codec: a ModelInferRequest straight from the wire's buffers, without the generated objects. It
// takes and refuses the same bytes as the generated code does (a fuzz test holds it to that).

// maxTensors bounds how many inputs, outputs and raw contents one request may have, well over what any model takes: two
// bytes on the wire cost a hundred here.
const maxTensors = 4096

// maxParams bounds each map of parameters, whose names are looked for one by one.
const maxParams = 64

// maxKept is the largest memory for tensor data that a message keeps for its next call.
const maxKept = 4 << 20

// inferMessage is one ModelInferRequest as it was read. It is reused: slices and strings of the last call are kept, and a
// name that is the same again costs nothing. One goroutine owns it.
type inferMessage struct {
	model, version, id text
	params             []param
	inputs             []inputMessage
	outputs            []outputMessage
	raw                []span // raw_input_contents, in data
	data               []byte // tensor data, each at a multiple of dataAlign
	reader             wireReader
	refusal            *serval.Error // over maxTensors or maxParams
}

// inputMessage is an InferInputTensor.
type inputMessage struct {
	name, datatype text
	shape          []int64
	params         []param
	contents       *inference.InferTensorContents // nil if absent
	at             span                           // where its data lies, once known
}

// outputMessage is an InferRequestedOutputTensor.
type outputMessage struct {
	name   text
	params []param
}

// param is an entry of a parameters map.
type param struct {
	name string
	v    value
}

// text is a string field. It remembers the one before, so that the same name in call after call is made once.
type text struct{ s, before string }

// span is a part of inferMessage.data.
type span struct{ from, to int }

// dataAlign is where tensors begin in data, so that no element of theirs lies across it.
const dataAlign = 8

// ReadWire reads a ModelInferRequest; it implements protocol.WireReader. All is copied out of data. A request that is too
// much is read no further and keeps its refusal for the handler, since an error here could not say what is wrong with it.
func (m *inferMessage) ReadWire(data mem.BufferSlice) error {
	m.reset()
	m.reader.reset(data)
	defer m.reader.reset(nil)
	err := m.read(&m.reader)
	if refusal, ok := err.(*serval.Error); ok {
		m.refusal = refusal
		return nil
	}
	return err
}

func (m *inferMessage) read(r *wireReader) error {
	for r.left > 0 {
		num, typ, err := r.tag()
		if err != nil {
			return err
		}
		switch {
		case typ != protowire.BytesType || num > 7:
			err = r.skip(num, typ)
		case num == 7:
			err = m.readRaw(r)
		default:
			var b []byte
			if b, err = r.bytes(); err == nil {
				err = m.readField(num, b)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readField takes a field that is none of the raw contents.
func (m *inferMessage) readField(num protowire.Number, b []byte) (err error) {
	switch num {
	case 1:
		err = m.model.set(b)
	case 2:
		err = m.version.set(b)
	case 3:
		err = m.id.set(b)
	case 4:
		m.params, err = readParam(m.params, b)
	case 5:
		if err = full(len(m.inputs), "inputs"); err != nil {
			return err
		}
		m.inputs = oneMore(m.inputs)
		err = m.inputs[len(m.inputs)-1].read(b)
	case 6:
		if err = full(len(m.outputs), "outputs"); err != nil {
			return err
		}
		m.outputs = oneMore(m.outputs)
		err = m.outputs[len(m.outputs)-1].read(b)
	}
	return err
}

func (m *inferMessage) readRaw(r *wireReader) error {
	n, err := r.length()
	if err != nil {
		return err
	}
	if err := full(len(m.raw), "raw_input_contents"); err != nil {
		return err
	}
	from := len(m.data)
	if n > 0 {
		from = (from + dataAlign - 1) &^ (dataAlign - 1)
	}
	m.data = grow(m.data, from, n, r.left)
	m.data = r.appendTo(m.data, n)
	m.raw = append(m.raw, span{from, from + n})
	return nil
}

// grow lengthens data to from and makes room for n bytes behind it; if memory must be had, then for all that may follow.
func grow(data []byte, from, n, rest int) []byte {
	if from+n > cap(data) {
		bigger := make([]byte, from, max(from+rest+dataAlign, 64)) // a tiny allocation would not be aligned
		copy(bigger, data)
		return bigger
	}
	return data[:from]
}

func full(n int, what string) error {
	if n < maxTensors {
		return nil
	}
	return serval.Errorf(serval.InvalidArgument, "the request has more than %d %s", maxTensors, what).At(what)
}

// reset empties the message and keeps its memory.
func (m *inferMessage) reset() {
	if cap(m.data) > maxKept {
		m.data = nil
	}
	if cap(m.reader.scratch) > maxKept {
		m.reader.scratch = nil
	}
	m.model.clear()
	m.version.clear()
	m.id.clear()
	for i := range m.inputs {
		m.inputs[i].contents = nil
	}
	m.params, m.inputs, m.outputs, m.raw, m.data = m.params[:0], m.inputs[:0], m.outputs[:0], m.raw[:0], m.data[:0]
	m.refusal = nil
}

// oneMore lengthens a slice by one element, which holds what it held in an earlier call.
func oneMore[T any](s []T) []T {
	if len(s) < cap(s) {
		return s[:len(s)+1]
	}
	var zero T
	return append(s, zero)
}

func (t *inputMessage) read(b []byte) error {
	t.name.clear()
	t.datatype.clear()
	t.shape, t.params, t.contents = t.shape[:0], t.params[:0], nil
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return err
		}
		b = rest
		switch {
		case f.num == 3 && f.typ == protowire.VarintType:
			if len(t.shape) == maxDims {
				return tooManyDims()
			}
			t.shape = append(t.shape, int64(f.n))
		case f.typ != protowire.BytesType:
		case f.num == 1:
			err = t.name.set(f.data)
		case f.num == 2:
			err = t.datatype.set(f.data)
		case f.num == 3:
			t.shape, err = readPacked(t.shape, f.data)
		case f.num == 4:
			t.params, err = readParam(t.params, f.data)
		case f.num == 5:
			if t.contents == nil {
				t.contents = new(inference.InferTensorContents)
			}
			if err = checkContents(f.data); err == nil {
				err = proto.UnmarshalOptions{Merge: true}.Unmarshal(f.data, t.contents)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *outputMessage) read(b []byte) error {
	o.name.clear()
	o.params = o.params[:0]
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return err
		}
		b = rest
		switch {
		case f.typ != protowire.BytesType:
		case f.num == 1:
			err = o.name.set(f.data)
		case f.num == 2:
			o.params, err = readParam(o.params, f.data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxDims bounds the dimensions of a tensor, on this wire as in JSON.
const maxDims = 32

// maxStrings bounds the strings of a tensor's typed contents, each of which becomes an object; raw_input_contents take more.
const maxStrings = 1 << 20

// checkContents counts the strings before any object is made of them.
func checkContents(b []byte) error {
	strings := 0
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return err
		}
		if b = rest; f.num == 8 {
			strings++
		}
	}
	if strings > maxStrings {
		return serval.Errorf(serval.TooLarge, "bytes_contents holds %d strings; at most %d: send them as raw_input_contents", strings, maxStrings).At("contents")
	}
	return nil
}

func tooManyDims() error {
	return serval.Errorf(serval.InvalidArgument, "a shape has more than %d dimensions", maxDims).At("shape")
}

func readPacked(shape []int64, b []byte) ([]int64, error) {
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return shape, errWire
		}
		if len(shape) == maxDims {
			return shape, tooManyDims()
		}
		shape = append(shape, int64(v))
		b = b[n:]
	}
	return shape, nil
}

// readParam reads an entry of a parameters map; an entry of the same name is replaced.
func readParam(params []param, b []byte) ([]param, error) {
	var name []byte
	var v value
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return params, err
		}
		b = rest
		switch {
		case f.typ != protowire.BytesType:
		case f.num == 1:
			if name = f.data; !utf8.Valid(name) {
				return params, errUTF8
			}
		case f.num == 2:
			if v, err = readValue(v, f.data); err != nil {
				return params, err
			}
		}
	}
	for i := range params {
		if params[i].name == string(name) {
			params[i].v = v
			return params, nil
		}
	}
	if len(params) == maxParams {
		return params, serval.Errorf(serval.InvalidArgument, "a parameters map has more than %d entries", maxParams).At("parameters")
	}
	params = oneMore(params)
	p := &params[len(params)-1]
	if p.name != string(name) { // as in an earlier call
		p.name = string(name)
	}
	p.v = v
	return params, nil
}

// readValue reads an InferParameter; v is what an earlier part of the same message said.
func readValue(v value, b []byte) (value, error) {
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return v, err
		}
		b = rest
		switch {
		case f.num == 1 && f.typ == protowire.VarintType:
			v = boolValue(f.n != 0)
		case f.num == 2 && f.typ == protowire.VarintType:
			v = intValue(int64(f.n))
		case f.num == 3 && f.typ == protowire.BytesType:
			if !utf8.Valid(f.data) {
				return v, errUTF8
			}
			v = stringValue(string(f.data))
		case f.num == 4 && f.typ == protowire.Fixed64Type:
			v = floatValue(math.Float64frombits(f.n))
		case f.num == 5 && f.typ == protowire.VarintType:
			v = uintValue(f.n)
		}
	}
	return v, nil
}

// errUTF8 is a string field of other bytes than UTF-8, which protobuf refuses.
var errUTF8 = errors.New("a string field holds invalid UTF-8")

// set takes a field's bytes.
func (t *text) set(b []byte) error {
	switch {
	case string(b) == t.before:
		t.s = t.before
	case !utf8.Valid(b):
		return errUTF8
	default:
		t.s = string(b)
	}
	return nil
}

// clear makes the text empty; what it was is remembered unless it is so long that no name is.
func (t *text) clear() {
	if t.s != "" && len(t.s) < 256 {
		t.before = t.s
	}
	t.s = ""
}
