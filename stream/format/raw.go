package format

import (
	"encoding/json"
	"slices"

	"serval"
	"serval/stream"
)

// Raw takes a value as it is: a text for a model of text, a string or the input's own bytes for one of tensors.
type Raw struct {
	Input     string `yaml:"input" doc:"the input that the value is; default: the model's only one"`
	Output    string `yaml:"output" doc:"the output that the result is; default: the model's only one"`
	MaxTokens int    `yaml:"max_tokens" doc:"of a model that goes on with texts: most tokens of an answer; 0: the model's default" min:"0"`
}

type raw struct{ opt Raw }

// Decode implements stream.Format.
func (f *raw) Decode(m *stream.Message, model *serval.ModelInfo, call *stream.Call) error {
	if l := model.Language; l != nil {
		switch {
		case l.Generate:
			c := &serval.Completion{Text: string(m.Value)}
			if f.opt.MaxTokens > 0 {
				c.Limit = &f.opt.MaxTokens
			}
			call.Input = c
		case l.Embed:
			call.Input = &serval.Texts{List: []serval.Text{{Text: string(m.Value)}}}
		default:
			return misfit("model '%s' neither goes on with texts nor embeds them, which is what format raw asks for", model.Name)
		}
		return nil
	}
	at := 0
	if f.opt.Input != "" {
		at = model.Signature.Input(f.opt.Input)
	}
	if at < 0 || f.opt.Input == "" && len(model.Signature.Inputs) != 1 {
		return misfit("model '%s' has %d inputs; format raw must name the one that a message is", model.Name, len(model.Signature.Inputs))
	}
	info := &model.Signature.Inputs[at]
	t := serval.Tensor{Name: info.Name, DType: info.DType, Shape: rowShape(info.Shape), Data: m.Value}
	if info.DType == serval.Bytes {
		for i, d := range t.Shape {
			if d < 0 {
				t.Shape[i] = 1
			}
		}
		t.Data = serval.AppendBytes(nil, m.Value)
	} else if open := slices.Index(t.Shape, -1); open >= 0 { // as many as there are
		t.Shape[open] = 1
		n, ok := serval.Elements(t.Shape)
		if !ok || n == 0 || slices.Contains(t.Shape, -1) {
			return misfit("input '%s' of model '%s' has shape %s, which a message's bytes alone do not make", info.Name, model.Name, serval.ShapeString(info.Shape))
		}
		t.Shape[open] = int64(len(m.Value)/info.DType.Size()) / n
	}
	if err := t.Check(); err != nil {
		return err
	}
	call.Input = &serval.Tensors{List: []serval.Tensor{t}}
	return nil
}

// Encode implements stream.Format.
func (f *raw) Encode(_ *stream.Message, _ *stream.Call, a *stream.Answer, out *stream.Message) error {
	switch {
	case a.Vectors != nil:
		b, err := json.Marshal(a.Vectors[0])
		out.Value = b
		typed(out, jsonType)
		return err
	case a.Outputs == nil:
		out.Value = []byte(a.Text)
		typed(out, textType)
		return nil
	}
	var names []string
	if f.opt.Output != "" {
		names = []string{f.opt.Output}
	}
	list, err := chosen(a, names)
	if err != nil {
		return err
	}
	if len(list) != 1 {
		return misfit("model '%s' has %d outputs; format raw must name the one that a result is", a.Model.Name, len(list))
	}
	t := &list[0]
	typed(out, bytesType)
	if t.DType == serval.Bytes {
		one, rest, ok := serval.NextBytes(t.Data)
		if !ok || len(rest) > 0 {
			return serval.Errorf(serval.Unimplemented, "output '%s' has several strings; format raw carries one", t.Name).At(t.Name)
		}
		out.Value = slices.Clone(one)
		return nil
	}
	out.Value = slices.Clone(t.Data)
	return nil
}
