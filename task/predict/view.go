package predict

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"serval"
)

// View shows a model as its settings declare it (inputs and outputs of a model.yaml, or another server's configuration):
// under other names, in another order, with other shapes for the same data, and with only some of its outputs.
type View struct {
	inner   serval.Signature
	outer   serval.Signature
	inputs  []viewed // by the inner inputs
	outputs []viewed // by the outer outputs
	plain   bool     // nothing is to be done to a call
	usual   []string // outputs of an answer to a request that names none; nil: all
}

// viewed says which tensor of the other side one comes from, and what becomes of its shape.
type viewed struct {
	from   int // index; -1: an input that clients do not see
	change bool
	give   []int64 // the shape that it gets; the nth -1 is what stands at
	take   []int64 // the nth -1 of this one
	check  bool    // give is looser than the inner shape
	class  *class  // nil: the values themselves
}

// NewView checks what is declared against the signature. batched says that every tensor's first dimension must be the
// batch, which requests choose. A side that is not declared is as the signature has it.
func NewView(inner serval.Signature, inputs, outputs []serval.TensorSettings, batched bool) (*View, error) {
	v := &View{inner: inner, plain: true}
	if len(inputs) == 0 {
		inputs = asIs(inner.Inputs)
	}
	if len(outputs) == 0 {
		outputs = asIs(inner.Outputs)
	}
	v.inputs = make([]viewed, len(inner.Inputs))
	for i := range v.inputs {
		v.inputs[i].from = -1
	}
	for i := range inputs {
		if err := v.input(&inputs[i], batched); err != nil {
			return nil, err
		}
	}
	for i := range v.inputs {
		if info := &inner.Inputs[i]; v.inputs[i].from < 0 {
			v.plain = false
			if !info.Optional {
				return nil, fmt.Errorf("input '%s' of the model, %s %s, is not among the declared inputs (%s); declare it, or fill it in by constants or sequence", info.Name, info.DType, shapeOf(info), namesOf(inputs))
			}
		}
	}
	rare := false
	for i := range outputs {
		if err := v.output(&outputs[i], batched); err != nil {
			return nil, err
		}
		if rare = rare || outputs[i].OnRequest; !outputs[i].OnRequest {
			v.usual = append(v.usual, outputs[i].Name)
		}
	}
	if !rare {
		v.usual = nil
	} else if len(v.usual) == 0 {
		return nil, fmt.Errorf("every output is declared on_request; at least one must be in each answer")
	}
	if v.plain {
		v.plain = len(v.outputs) == len(inner.Outputs)
	}
	return v, nil
}

func asIs(list []serval.TensorInfo) []serval.TensorSettings {
	out := make([]serval.TensorSettings, len(list))
	for i := range list {
		out[i] = serval.TensorSettings{Name: list[i].Name, Optional: list[i].Optional}
	}
	return out
}

func namesOf(list []serval.TensorSettings) string {
	names := make([]string, len(list))
	for i := range list {
		names[i] = "'" + list[i].Name + "'"
	}
	return strings.Join(names, ", ")
}

func (v *View) input(t *serval.TensorSettings, batched bool) error {
	at := v.inner.Input(sourceOf(t))
	if at < 0 {
		return fmt.Errorf("input '%s' is declared, but the model has no input '%s'; it takes %s", t.Name, sourceOf(t), describe(v.inner.Inputs))
	}
	if v.inputs[at].from >= 0 || v.outer.Input(t.Name) >= 0 {
		return fmt.Errorf("input '%s' is declared twice", t.Name)
	}
	info, seen, err := view("input", t, &v.inner.Inputs[at], batched)
	if err != nil {
		return err
	}
	info.Optional = t.Optional && v.inner.Inputs[at].Optional
	seen.from, seen.give, seen.take = len(v.outer.Inputs), seen.take, seen.give // clients' shape becomes the model's
	if seen.from != at || t.Name != v.inner.Inputs[at].Name || seen.change || seen.check {
		v.plain = false
	}
	v.inputs[at] = seen
	v.outer.Inputs = append(v.outer.Inputs, info)
	return nil
}

func (v *View) output(t *serval.TensorSettings, batched bool) error {
	at := v.inner.Output(sourceOf(t))
	if at < 0 {
		return fmt.Errorf("output '%s' is declared, but the model has no output '%s'; it gives %s", t.Name, sourceOf(t), describe(v.inner.Outputs))
	}
	if v.outer.Output(t.Name) >= 0 {
		return fmt.Errorf("output '%s' is declared twice", t.Name)
	}
	read := view
	if t.Class {
		read = viewClass
	}
	info, seen, err := read("output", t, &v.inner.Outputs[at], batched)
	if err != nil {
		return err
	}
	seen.from = at
	if at != len(v.outputs) || t.Name != v.inner.Outputs[at].Name || seen.change || seen.class != nil {
		v.plain = false
	}
	v.outputs = append(v.outputs, seen)
	v.outer.Outputs = append(v.outer.Outputs, info)
	return nil
}

func sourceOf(t *serval.TensorSettings) string {
	if t.Source != "" {
		return t.Source
	}
	return t.Name
}

// view compares a declaration with what the model has, and returns the tensor as clients see it: give is its shape, take the
// model's.
func view(kind string, t *serval.TensorSettings, has *serval.TensorInfo, batched bool) (serval.TensorInfo, viewed, error) {
	info := *has
	info.Name = t.Name
	differs := func() error {
		declared := *has
		if d, ok := serval.ParseDType(t.Datatype); ok {
			declared.DType = d
		}
		inside := ""
		if t.Reshape != nil {
			inside = " (reshaped to " + serval.ShapeString(t.Reshape) + ")"
		}
		return fmt.Errorf("%s '%s' is declared as %s %s%s, the model has %s %s", kind, t.Name, declared.DType, serval.ShapeString(t.Shape), inside, has.DType, shapeOf(has))
	}
	if t.Datatype != "" {
		d, ok := serval.ParseDType(t.Datatype)
		if !ok {
			return info, viewed{}, fmt.Errorf("%s '%s': the datatype %q is not known", kind, t.Name, t.Datatype)
		}
		if d != has.DType {
			return info, viewed{}, differs()
		}
	}
	if batched && has.Shape != nil && (len(has.Shape) == 0 || has.Shape[0] != -1) {
		return info, viewed{}, fmt.Errorf("%s '%s' of the model has shape %s; for batches its first dimension must be one that requests choose (-1): set max_batch_size to 0 and write the shape whole", kind, t.Name, shapeOf(has))
	}
	if t.Shape == nil {
		return info, viewed{}, nil
	}
	inside := t.Shape
	if t.Reshape != nil {
		inside = t.Reshape
	} else if has.Shape != nil && len(has.Shape) == 0 && !slices.ContainsFunc(t.Shape, func(d int64) bool { return d != 1 }) {
		inside = []int64{} // a scalar, which Triton's configurations write [1]
	}
	if has.Shape != nil {
		if len(inside) != len(has.Shape) {
			return info, viewed{}, differs()
		}
		for i, d := range inside {
			if d >= 0 && has.Shape[i] >= 0 && d != has.Shape[i] {
				return info, viewed{}, differs()
			}
		}
	}
	seen := viewed{give: slices.Clone(t.Shape), take: slices.Clone(inside)}
	if seen.change = t.Reshape != nil || len(inside) != len(t.Shape); seen.change {
		info.Symbols = nil
		seen.check = kind == "input" && looser(inside, has.Shape)
	} else if has.Shape != nil { // what the model fixes is fixed for clients, too
		for i, d := range has.Shape {
			if d >= 0 {
				seen.give[i] = d
			}
		}
	}
	info.Shape = seen.give
	return info, seen, nil
}

// looser says whether a shape leaves open what the other fixes.
func looser(a, b []int64) bool {
	for i := range b {
		if a[i] < 0 && b[i] >= 0 {
			return true
		}
	}
	return false
}

// Signature is the model as clients see it.
func (v *View) Signature() serval.Signature { return v.outer }

// Usual are the outputs of an answer to a request that names none; nil means all.
func (v *View) Usual() []string { return v.usual }

// Before puts the view before the model's own handler. Requests must have been checked against Signature and stand in its
// order, as Model leaves them.
func (v *View) Before(next serval.Handler) serval.Handler {
	if v.plain {
		return next
	}
	return serval.HandlerFunc(func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		in, ok := req.Input.(*serval.Tensors)
		if !ok || len(in.List) != len(v.outer.Inputs) {
			return serval.Errorf(serval.InvalidArgument, "the model takes tensors")
		}
		list := make([]serval.Tensor, len(v.inputs))
		for i := range v.inputs {
			var err error
			if list[i], err = v.inward(i, in.List); err != nil {
				return err
			}
		}
		original := req.Input
		req.Input = &serval.Tensors{List: list}
		defer func() { req.Input = original }()
		return next.Handle(ctx, req, &viewSink{v, sink})
	})
}

// inward is an inner input of what the client gave.
func (v *View) inward(i int, list []serval.Tensor) (serval.Tensor, error) {
	seen, info := &v.inputs[i], &v.inner.Inputs[i]
	if seen.from < 0 || list[seen.from].Name == "" { // optional, not given
		return serval.Tensor{}, nil
	}
	t := list[seen.from]
	name := t.Name
	t.Name = info.Name
	if !seen.change {
		return t, nil
	}
	t.Shape, _ = turn(t.Shape, seen.take, seen.give)
	if seen.check && !fits(t.Shape, info.Shape) {
		return t, serval.Errorf(serval.InvalidArgument, "input '%s' becomes shape %s for the model, which takes %s", name, serval.ShapeString(t.Shape), shapeOf(info)).At(name)
	}
	return t, nil
}

// turn gives a tensor of shape have, which fits take, the shape give: what stands at take's -1s takes the place of give's. It
// reports false where have does not fit.
func turn(have, take, give []int64) ([]int64, bool) {
	if !fits(have, take) {
		return have, false
	}
	out := slices.Clone(give)
	next := 0
	for i, d := range take {
		if d >= 0 {
			continue
		}
		for next < len(out) && give[next] >= 0 {
			next++
		}
		if next == len(out) {
			return have, false
		}
		out[next] = have[i]
		next++
	}
	return out, true
}

// viewSink shows the outputs as declared.
type viewSink struct {
	view *View
	sink serval.Sink
}

func (s *viewSink) Send(c *serval.Chunk) error {
	out, ok := c.Output.(*serval.Tensors)
	if !ok || len(out.List) != len(s.view.inner.Outputs) {
		return fmt.Errorf("the model gave other outputs than it has")
	}
	list := make([]serval.Tensor, len(s.view.outputs))
	for i := range s.view.outputs {
		seen, info := &s.view.outputs[i], &s.view.outer.Outputs[i]
		t := out.List[seen.from]
		if seen.class != nil {
			var err error
			if t, err = seen.class.of(&t); err != nil {
				return err
			}
		}
		if seen.change {
			shape, ok := turn(t.Shape, seen.take, seen.give)
			if !ok {
				return serval.Errorf(serval.Internal, "output '%s' has shape %s, which the declared reshape %s does not fit", info.Name, serval.ShapeString(t.Shape), serval.ShapeString(seen.take))
			}
			t.Shape = shape
		}
		t.Name = info.Name
		list[i] = t
	}
	d := *c
	d.Output = &serval.Tensors{List: list}
	return s.sink.Send(&d)
}
