package load

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"serval"
)

// Format is how a request's tensors are written.
type Format int

// The formats; JSON and Binary go over HTTP, Proto over gRPC.
const (
	JSON   Format = iota + 1 // every value in the JSON document
	Binary                   // a JSON header, then the raw tensors
	Proto                    // inference.ModelInferRequest with raw_input_contents
)

// String is the name that results show.
func (f Format) String() string {
	switch f {
	case JSON:
		return "REST JSON"
	case Binary:
		return "REST binary"
	case Proto:
		return "gRPC"
	}
	return "Format(" + strconv.Itoa(int(f)) + ")"
}

// ParseFormat reads json, binary or grpc.
func ParseFormat(name string) (Format, error) {
	switch name {
	case "json":
		return JSON, nil
	case "binary":
		return Binary, nil
	case "grpc":
		return Proto, nil
	}
	return 0, serval.Errorf(serval.InvalidArgument, "format %q: want json, binary or grpc", name).At("format")
}

// Payload is one inference request as bytes. Its fields are not to be changed while a run uses it.
type Payload struct {
	Format  Format
	Model   string // with its alias, as a path names it
	Version string // "" lets the server choose
	Rows    int64  // of the first input
	Bytes   []byte // the whole HTTP body, or the whole protobuf message
	Header  int    // Binary only: length of the JSON part
}

// Body writes an inference request for a model. JSON has no spelling for NaN, infinity, FP16 and BF16; they are refused.
func Body(format Format, model serval.Ref, inputs []serval.Tensor) (Payload, error) {
	p := Payload{Format: format, Model: model.Name, Version: model.Version}
	if model.Alias != "" {
		p.Model += "@" + model.Alias
	}
	if model.Name == "" {
		return p, serval.Errorf(serval.InvalidArgument, "model: no name").At("model")
	}
	for i := range inputs {
		if err := inputs[i].Check(); err != nil {
			return p, err
		}
	}
	if len(inputs) > 0 {
		p.Rows = inputs[0].Rows()
	}
	var err error
	switch format {
	case JSON:
		p.Bytes, err = jsonBody(inputs)
	case Binary:
		p.Bytes, p.Header = binaryBody(inputs)
	case Proto:
		p.Bytes = protoBody(p.Model, p.Version, inputs)
	default:
		err = serval.Errorf(serval.InvalidArgument, "format: want JSON, Binary or Proto").At("format")
	}
	return p, err
}

func jsonBody(inputs []serval.Tensor) ([]byte, error) {
	b := []byte(`{"inputs":[`)
	for i := range inputs {
		t := &inputs[i]
		b = append(appendJSONInput(b, i, t), `,"data":[`...)
		var err error
		if b, err = appendJSONData(b, t); err != nil {
			return nil, err
		}
		b = append(b, `]}`...)
	}
	return append(b, `]}`...), nil
}

func binaryBody(inputs []serval.Tensor) (body []byte, header int) {
	b := []byte(`{"inputs":[`)
	for i := range inputs {
		b = appendJSONInput(b, i, &inputs[i])
		b = append(b, `,"parameters":{"binary_data_size":`...)
		b = strconv.AppendInt(b, int64(len(inputs[i].Data)), 10)
		b = append(b, `}}`...)
	}
	b = append(b, `],"parameters":{"binary_data_output":true}}`...)
	header = len(b)
	for i := range inputs {
		b = append(b, inputs[i].Data...)
	}
	return b, header
}

// appendJSONInput opens the object of input i and writes what describes it.
func appendJSONInput(b []byte, i int, t *serval.Tensor) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	b = append(b, `{"name":`...)
	b = appendJSONString(b, t.Name)
	b = append(b, `,"shape":`...)
	b = append(b, serval.ShapeString(t.Shape)...)
	b = append(b, `,"datatype":"`...)
	b = append(b, t.DType.String()...)
	return append(b, '"')
}

func appendJSONString(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // a string always marshals
		return strconv.AppendQuote(b, s)
	}
	return append(b, quoted...)
}

func appendJSONData(b []byte, t *serval.Tensor) ([]byte, error) {
	if t.DType == serval.Bytes {
		return appendJSONStrings(b, t)
	}
	size := t.DType.Size()
	for i := 0; i < len(t.Data); i += size {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendJSONValue(b, t.DType, t.Data[i:i+size]); err != nil {
			return nil, serval.Errorf(serval.InvalidArgument, "input '%s', value %d: %v", t.Name, i/size, err).At(t.Name)
		}
	}
	return b, nil
}

func appendJSONStrings(b []byte, t *serval.Tensor) ([]byte, error) {
	for n, rest := 0, t.Data; len(rest) > 0; n++ {
		var element []byte
		element, rest, _ = serval.NextBytes(rest) // Check has walked it
		if !utf8.Valid(element) {
			return nil, serval.Errorf(serval.InvalidArgument, "input '%s', value %d: not UTF-8, which JSON cannot carry; use the binary format", t.Name, n).At(t.Name)
		}
		if n > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, string(element))
	}
	return b, nil
}

func appendJSONValue(b []byte, t serval.DType, raw []byte) ([]byte, error) {
	bits := littleEndian(raw)
	switch t {
	case serval.Bool:
		return strconv.AppendBool(b, bits != 0), nil
	case serval.Uint8, serval.Uint16, serval.Uint32, serval.Uint64:
		return strconv.AppendUint(b, bits, 10), nil
	case serval.Int8, serval.Int16, serval.Int32, serval.Int64:
		shift := 64 - 8*len(raw) // sign extension
		return strconv.AppendInt(b, int64(bits)<<shift>>shift, 10), nil
	case serval.FP32:
		return appendJSONFloat(b, float64(math.Float32frombits(uint32(bits))), 32)
	case serval.FP64:
		return appendJSONFloat(b, math.Float64frombits(bits), 64)
	}
	return nil, fmt.Errorf("JSON cannot carry %s; use the binary format", t)
}

func appendJSONFloat(b []byte, v float64, bits int) ([]byte, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil, fmt.Errorf("JSON cannot carry %v; use the binary format", v)
	}
	return strconv.AppendFloat(b, v, 'g', -1, bits), nil
}

func littleEndian(raw []byte) uint64 {
	var v uint64
	for i, c := range raw {
		v |= uint64(c) << (8 * i)
	}
	return v
}
