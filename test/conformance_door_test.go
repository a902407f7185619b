package test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"serval"
	"serval/internal/testkit"
	"serval/wire/inference"
)

// door is one way to ask a model. It is written without the server's own code.
type door interface {
	name() string
	ask(model string, inputs []serval.Tensor) ([]serval.Tensor, error)
}

// errNoForm says that a door has no form for a tensor: FP16 and BF16 do not stand in JSON.
var errNoForm = errors.New("no form")

// halves is what the server says when an output is of such a type.
var halves = regexp.MustCompile(`output '.*' is (FP16|BF16)`)

// spoken is a tensor in REST's JSON.
type spoken struct {
	Name       string          `json:"name"`
	Shape      []int64         `json:"shape"`
	Datatype   string          `json:"datatype"`
	Parameters map[string]any  `json:"parameters,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
}

type restBinary struct {
	t *testing.T
	s *testkit.Server
}

func (*restBinary) name() string { return "REST with binary data" }

func (r *restBinary) ask(model string, inputs []serval.Tensor) ([]serval.Tensor, error) {
	var tail []byte
	head := struct {
		Inputs     []spoken       `json:"inputs"`
		Parameters map[string]any `json:"parameters"`
	}{[]spoken{}, map[string]any{"binary_data_output": true}}
	for i := range inputs {
		t := &inputs[i]
		head.Inputs = append(head.Inputs, spoken{Name: t.Name, Shape: shapeOf(t), Datatype: t.DType.String(), Parameters: map[string]any{"binary_data_size": len(t.Data)}})
		tail = append(tail, t.Data...)
	}
	body, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	return post(r.t, r.s, model, append(body, tail...), len(body))
}

type restJSON struct {
	t *testing.T
	s *testkit.Server
}

func (*restJSON) name() string { return "REST with JSON" }

func (r *restJSON) ask(model string, inputs []serval.Tensor) ([]serval.Tensor, error) {
	body := struct {
		Inputs []spoken `json:"inputs"`
	}{[]spoken{}}
	for i := range inputs {
		t := &inputs[i]
		if t.DType == serval.FP16 || t.DType == serval.BF16 || len(t.Data) > 1<<20 {
			return nil, errNoForm
		}
		body.Inputs = append(body.Inputs, spoken{Name: t.Name, Shape: shapeOf(t), Datatype: t.DType.String(), Data: toJSON(t)})
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return post(r.t, r.s, model, raw, 0)
}

// shapeOf is a shape that JSON shows as a list, [] for a scalar.
func shapeOf(t *serval.Tensor) []int64 { return append([]int64{}, t.Shape...) }

// post sends an infer request; head is the length of the JSON before binary data, 0 without such.
func post(t *testing.T, s *testkit.Server, model string, body []byte, head int) ([]serval.Tensor, error) {
	var headers []string
	if head > 0 {
		headers = []string{"Inference-Header-Content-Length", strconv.Itoa(head)}
	}
	a := ask(t, "POST", s.URL("/v2/models/"+url.PathEscape(model)+"/infer"), string(body), headers...)
	if a.code != 200 {
		var said struct{ Error string }
		if err := json.Unmarshal([]byte(a.body), &said); err != nil || said.Error == "" {
			return nil, fmt.Errorf("status %d: not an error as the protocol writes it: %s", a.code, a.body)
		}
		if head == 0 && halves.MatchString(said.Error) {
			return nil, errNoForm
		}
		return nil, fmt.Errorf("status %d: %s", a.code, said.Error)
	}
	text := []byte(a.body)
	var tail []byte
	if n, err := strconv.Atoi(a.header.Get("Inference-Header-Content-Length")); err == nil {
		text, tail = text[:n], text[n:]
	}
	var said struct {
		Outputs []spoken `json:"outputs"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, fmt.Errorf("%w in %s", err, clip(a.body))
	}
	out := make([]serval.Tensor, len(said.Outputs))
	for i := range said.Outputs {
		o := &said.Outputs[i]
		d, _ := serval.ParseDType(o.Datatype)
		out[i] = serval.Tensor{Name: o.Name, DType: d, Shape: o.Shape}
		size, isBinary := o.Parameters["binary_data_size"].(float64)
		switch {
		case isBinary && int(size) <= len(tail):
			out[i].Data, tail = tail[:int(size)], tail[int(size):]
		case isBinary:
			return nil, fmt.Errorf("output '%s' should have %v bytes, %d came", o.Name, size, len(tail))
		default:
			data, err := fromJSON(d, o.Data)
			if err != nil {
				return nil, fmt.Errorf("output '%s': %w", o.Name, err)
			}
			out[i].Data = data
		}
	}
	if len(tail) > 0 {
		return nil, fmt.Errorf("%d bytes too many", len(tail))
	}
	return out, nil
}

type overGRPC struct {
	t *testing.T
	c inference.GRPCInferenceServiceClient
}

func (*overGRPC) name() string { return "gRPC" }

func (g *overGRPC) ask(model string, inputs []serval.Tensor) ([]serval.Tensor, error) {
	req := &inference.ModelInferRequest{ModelName: model}
	for i := range inputs {
		t := &inputs[i]
		req.Inputs = append(req.Inputs, &inference.ModelInferRequest_InferInputTensor{Name: t.Name, Datatype: t.DType.String(), Shape: t.Shape})
		req.RawInputContents = append(req.RawInputContents, t.Data)
	}
	r, err := g.c.ModelInfer(g.t.Context(), req)
	if err != nil {
		return nil, err
	}
	if len(r.Outputs) != len(r.RawOutputContents) {
		return nil, fmt.Errorf("%d outputs and %d raw contents", len(r.Outputs), len(r.RawOutputContents))
	}
	out := make([]serval.Tensor, len(r.Outputs))
	for i, o := range r.Outputs {
		d, _ := serval.ParseDType(o.Datatype)
		out[i] = serval.Tensor{Name: o.Name, DType: d, Shape: o.Shape, Data: r.RawOutputContents[i]}
	}
	return out, nil
}

// together asks a number of times at once, so that the requests share batches where the server lets them.
func together(d door, times int, model string, inputs []serval.Tensor) ([][]serval.Tensor, error) {
	answers, errs := make([][]serval.Tensor, times), make([]error, times)
	var wait sync.WaitGroup
	for i := range answers {
		wait.Go(func() { answers[i], errs[i] = d.ask(model, inputs) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// toJSON writes a tensor's elements as one flat array.
func toJSON(t *serval.Tensor) json.RawMessage {
	list := []any{}
	for rest := t.Data; len(rest) > 0; {
		if t.DType == serval.Bytes {
			var s []byte
			s, rest, _ = serval.NextBytes(rest)
			list = append(list, string(s))
			continue
		}
		size := t.DType.Size()
		list = append(list, number(t.DType, rest[:size]))
		rest = rest[size:]
	}
	raw, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	return raw
}

// number is an element as encoding/json writes it.
func number(d serval.DType, b []byte) any {
	var wide [8]byte
	copy(wide[:], b)
	u := binary.LittleEndian.Uint64(wide[:])
	switch d {
	case serval.Bool:
		return u != 0
	case serval.Int8:
		return int8(u)
	case serval.Int16:
		return int16(u)
	case serval.Int32:
		return int32(u)
	case serval.Int64:
		return int64(u)
	case serval.FP32:
		return float(float64(math.Float32frombits(uint32(u))), 32)
	case serval.FP64:
		return float(math.Float64frombits(u), 64)
	}
	return u
}

func float(f float64, bits int) any {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 0):
		return map[bool]string{true: "Infinity", false: "-Infinity"}[f > 0]
	}
	return json.Number(strconv.FormatFloat(f, 'g', -1, bits))
}

// fromJSON reads a flat array of elements.
func fromJSON(d serval.DType, raw json.RawMessage) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var list []any
	if err := decoder.Decode(&list); err != nil {
		return nil, err
	}
	out := []byte{}
	for _, v := range list {
		text := fmt.Sprint(v)
		var u uint64
		var err error
		switch d {
		case serval.Bytes:
			out = serval.AppendString(out, text)
			continue
		case serval.Bool:
			if v == true {
				u = 1
			}
		case serval.Int8, serval.Int16, serval.Int32, serval.Int64:
			var i int64
			i, err = strconv.ParseInt(text, 10, 64)
			u = uint64(i)
		case serval.FP32:
			var f float64
			f, err = strconv.ParseFloat(text, 32)
			u = uint64(math.Float32bits(float32(f)))
		case serval.FP64:
			var f float64
			f, err = strconv.ParseFloat(text, 64)
			u = math.Float64bits(f)
		default:
			u, err = strconv.ParseUint(text, 10, 64)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, binary.LittleEndian.AppendUint64(nil, u)[:d.Size()]...)
	}
	return out, nil
}

// differs is where two tensors' data differ first, -1 if nowhere. One NaN is as good as another.
func differs(a, b *serval.Tensor) int {
	size := a.DType.Size()
	for at := 0; at < max(len(a.Data), len(b.Data)); at += max(size, 1) {
		if at+max(size, 1) > min(len(a.Data), len(b.Data)) {
			return at
		}
		x, y := a.Data[at:at+max(size, 1)], b.Data[at:at+max(size, 1)]
		if !bytes.Equal(x, y) && !(isNaN(a.DType, x) && isNaN(a.DType, y)) {
			return at
		}
	}
	return -1
}

func isNaN(d serval.DType, b []byte) bool {
	switch d {
	case serval.FP32:
		return math.IsNaN(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
	case serval.FP64:
		return math.IsNaN(math.Float64frombits(binary.LittleEndian.Uint64(b)))
	case serval.FP16:
		return binary.LittleEndian.Uint16(b)&0x7fff > 0x7c00
	case serval.BF16:
		return binary.LittleEndian.Uint16(b)&0x7fff > 0x7f80
	}
	return false
}
