package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"serval"
	"serval/client/element"
)

// headerLength is the header that says how many bytes of a body are JSON; the tensors' bytes follow.
const headerLength = "Inference-Header-Content-Length"

// Answer is what a model answered. The caller owns it.
type Answer struct {
	Model   string
	Version string
	ID      string
	Outputs []serval.Tensor
}

// wireTensor is a tensor of the protocol's JSON.
type wireTensor struct {
	Name       string          `json:"name"`
	Datatype   string          `json:"datatype,omitempty"`
	Shape      []int64         `json:"shape,omitzero"`
	Parameters map[string]any  `json:"parameters,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
}

type wireRequest struct {
	Inputs     []wireTensor   `json:"inputs"`
	Outputs    []wireTensor   `json:"outputs,omitempty"`
	Parameters map[string]any `json:"parameters,omitempty"`
}

type wireAnswer struct {
	Model   string `json:"model_name"`
	Version string `json:"model_version"`
	ID      string
	Outputs []struct {
		Name       string
		Datatype   string
		Shape      []int64
		Parameters map[string]json.RawMessage
		Data       json.RawMessage
	}
}

// Predict runs a model once on inputs. Want names the outputs to return; none means all. Tensors travel as binary data both
// ways; an answer in JSON (from a server without that extension) is read too.
func (c *Client) Predict(ctx context.Context, ref serval.Ref, inputs []serval.Tensor, want ...string) (*Answer, error) {
	return c.PredictSequence(ctx, ref, serval.Sequence{}, inputs, want...)
}

// PredictSequence is Predict for a request of a sequence. Its next request must not be sent before this one was answered.
func (c *Client) PredictSequence(ctx context.Context, ref serval.Ref, where serval.Sequence, inputs []serval.Tensor, want ...string) (*Answer, error) {
	request := wireRequest{Inputs: make([]wireTensor, len(inputs)), Parameters: sequenceParameters(where)}
	size := 0
	for i := range inputs {
		t := &inputs[i]
		if err := t.Check(); err != nil {
			return nil, err
		}
		shape := t.Shape
		if shape == nil {
			shape = []int64{}
		}
		request.Inputs[i] = wireTensor{Name: t.Name, Datatype: t.DType.String(), Shape: shape, Parameters: map[string]any{"binary_data_size": len(t.Data)}}
		size += len(t.Data)
	}
	for _, name := range want {
		request.Outputs = append(request.Outputs, wireTensor{Name: name, Parameters: map[string]any{"binary_data": true}})
	}
	if len(want) == 0 {
		request.Parameters["binary_data_output"] = true
	}
	head, err := json.Marshal(request)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "the request cannot be written as JSON: %w", err)
	}
	body := append(make([]byte, 0, len(head)+size), head...)
	for i := range inputs {
		body = append(body, inputs[i].Data...)
	}
	path := modelPath(ref, "/infer")
	header, data, err := c.exchange(ctx, http.MethodPost, path, http.Header{
		"Content-Type": {"application/octet-stream"}, headerLength: {strconv.Itoa(len(head))},
	}, body)
	if err != nil {
		return nil, err
	}
	answer, err := readAnswer(header.Get(headerLength), data)
	if err != nil {
		return nil, c.garbled(path, err)
	}
	return answer, nil
}

// sequenceParameters say where in a sequence a request stands: a number, which some servers only take, stays one.
func sequenceParameters(where serval.Sequence) map[string]any {
	p := map[string]any{}
	if where.ID == "" {
		return p
	}
	p["sequence_id"] = any(where.ID)
	if n, err := strconv.ParseUint(where.ID, 10, 64); err == nil && strconv.FormatUint(n, 10) == where.ID {
		p["sequence_id"] = n
	}
	p["sequence_start"], p["sequence_end"] = where.Start, where.End
	return p
}

// readAnswer reads an answer whose first length bytes are JSON ("" means all of it). The outputs share data's memory.
func readAnswer(length string, data []byte) (*Answer, error) {
	head, rest := data, []byte(nil)
	if length != "" {
		n, err := strconv.Atoi(length)
		if err != nil || n < 0 || n > len(data) {
			return nil, fmt.Errorf("%s is %q for a body of %d bytes", headerLength, length, len(data))
		}
		head, rest = data[:n], data[n:]
	}
	var w wireAnswer
	if err := json.Unmarshal(head, &w); err != nil {
		return nil, err
	}
	a := &Answer{Model: w.Model, Version: w.Version, ID: w.ID}
	for i := range w.Outputs {
		o := &w.Outputs[i]
		d, ok := serval.ParseDType(o.Datatype)
		if !ok {
			return nil, fmt.Errorf("output '%s' has the unknown datatype %q", o.Name, o.Datatype)
		}
		t := serval.Tensor{Name: o.Name, DType: d, Shape: o.Shape}
		if size, ok := o.Parameters["binary_data_size"]; ok {
			n, err := strconv.Atoi(string(size))
			if err != nil || n < 0 || n > len(rest) {
				return nil, fmt.Errorf("output '%s' has binary_data_size %s, and %d bytes are left", o.Name, size, len(rest))
			}
			t.Data, rest = rest[:n:n], rest[n:]
		} else {
			v, err := element.DecodeJSON(o.Data)
			if err == nil {
				t.Data, _, err = element.AppendNested(nil, v, d)
			}
			if err != nil {
				return nil, fmt.Errorf("output '%s': %w", o.Name, err)
			}
		}
		if err := t.Check(); err != nil {
			return nil, err
		}
		a.Outputs = append(a.Outputs, t)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow after the last output", len(rest))
	}
	return a, nil
}
