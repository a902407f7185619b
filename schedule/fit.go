package schedule

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"encoding/binary"
	"math"

	"serval"
	"serval/engine"
)

// fit wraps an engine so that its models look as model.yaml says: constants are filled in, and states whose batch is another
// dimension than the first lead with it. It returns eng itself where nothing is to be done.
func fit(eng engine.Engine, s serval.ModelSettings) engine.Engine {
	axes := false
	if s.Sequence != nil {
		axes = slices.ContainsFunc(s.Sequence.States, func(st serval.SequenceState) bool { return st.Axis > 0 })
	}
	if len(s.Constants) == 0 && !axes {
		return eng
	}
	return &fitter{Engine: eng, settings: s}
}

type fitter struct {
	engine.Engine
	settings serval.ModelSettings
}

func (f *fitter) Open(ctx context.Context, spec engine.Spec) (engine.Model, error) {
	m, err := f.Engine.Open(ctx, spec)
	if err != nil {
		return nil, err
	}
	b, ok := m.(engine.Batcher)
	if !ok {
		_ = m.Close()
		return nil, fmt.Errorf("constants and states are for models that take tensors in batches")
	}
	fitted, err := f.wrap(b)
	if err != nil {
		_ = b.Close()
		return nil, err
	}
	return fitted, nil
}

// fitted is one instance. A batch reaches the engine as a single call, laid together here.
type fitted struct {
	engine.Batcher
	outer, inner serval.Signature
	inputs       []fitInput  // in the engine's order
	axes         []int       // of the outputs
	call         engine.Call // to the engine
	one          []*engine.Call
	data         [][]byte // staging by input
	answer       []serval.Tensor
}

type fitInput struct {
	from     int           // index in the outer signature; -1: constant
	constant serval.Tensor // where from is -1
	axis     int
}

func (f *fitter) wrap(b engine.Batcher) (*fitted, error) {
	sig := b.Signature()
	w := &fitted{Batcher: b, inner: sig}
	for name := range f.settings.Constants {
		if sig.Input(name) < 0 {
			return nil, fmt.Errorf("constants.%s: the model has no such input", name)
		}
	}
	inAxis, outAxis := map[string]int{}, map[string]int{}
	if q := f.settings.Sequence; q != nil {
		for _, st := range q.States {
			inAxis[st.Input], outAxis[st.Output] = st.Axis, st.Axis
		}
	}
	for i := range sig.Inputs {
		info := &sig.Inputs[i]
		if text, ok := f.settings.Constants[info.Name]; ok {
			t, err := constant(info, text)
			if err != nil {
				return nil, err
			}
			w.inputs = append(w.inputs, fitInput{from: -1, constant: t})
			continue
		}
		axis := inAxis[info.Name]
		moved, err := lead(*info, axis)
		if err != nil {
			return nil, err
		}
		w.inputs = append(w.inputs, fitInput{from: len(w.outer.Inputs), axis: axis})
		w.outer.Inputs = append(w.outer.Inputs, moved)
	}
	for i := range sig.Outputs {
		axis := outAxis[sig.Outputs[i].Name]
		moved, err := lead(sig.Outputs[i], axis)
		if err != nil {
			return nil, err
		}
		w.axes = append(w.axes, axis)
		w.outer.Outputs = append(w.outer.Outputs, moved)
	}
	w.call.Inputs = make([]serval.Tensor, len(w.inputs))
	w.data = make([][]byte, len(w.inputs))
	w.one = []*engine.Call{&w.call}
	return w, nil
}

// lead moves dimension axis of a tensor's description to the front.
func lead(info serval.TensorInfo, axis int) (serval.TensorInfo, error) {
	if axis == 0 {
		return info, nil
	}
	if axis >= len(info.Shape) || info.DType == serval.Bytes {
		return info, fmt.Errorf("sequence.states: '%s' has shape %s of %s, which has no dimension %d to batch along", info.Name, serval.ShapeString(info.Shape), info.DType, axis)
	}
	info.Shape = toFront(info.Shape, axis)
	if len(info.Symbols) > axis {
		info.Symbols = toFront(info.Symbols, axis)
	}
	return info, nil
}

func toFront[T any](s []T, axis int) []T {
	out := append(make([]T, 0, len(s)), s[axis])
	out = append(out, s[:axis]...)
	return append(out, s[axis+1:]...)
}

// constant makes the tensor of an input that is always the same: a scalar, or one value for every dimension of size 1.
func constant(info *serval.TensorInfo, text string) (serval.Tensor, error) {
	t := serval.Tensor{Name: info.Name, DType: info.DType, Shape: slices.Clone(info.Shape)}
	for i, d := range t.Shape {
		if d < 0 {
			t.Shape[i] = 1
		}
	}
	if n, ok := serval.Elements(t.Shape); !ok || n != 1 {
		return t, fmt.Errorf("constants.%s: the input has shape %s, a constant is one value", info.Name, serval.ShapeString(info.Shape))
	}
	data, err := appendNumber(nil, info.DType, text)
	if err != nil {
		return t, fmt.Errorf("constants.%s: %w", info.Name, err)
	}
	t.Data = data
	return t, nil
}

// appendNumber appends the value that a text spells, as an element of type d.
func appendNumber(dst []byte, d serval.DType, text string) ([]byte, error) {
	bad := func() ([]byte, error) { return nil, fmt.Errorf("%q is no %s", text, d) }
	switch d {
	case serval.Bytes:
		return serval.AppendString(dst, text), nil
	case serval.Bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return bad()
		}
		if v {
			return append(dst, 1), nil
		}
		return append(dst, 0), nil
	case serval.FP32:
		v, err := strconv.ParseFloat(text, 32)
		if err != nil {
			return bad()
		}
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(v))), nil
	case serval.FP64:
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return bad()
		}
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v)), nil
	case serval.Int8, serval.Int16, serval.Int32, serval.Int64:
		v, err := strconv.ParseInt(text, 10, 8*d.Size())
		if err != nil {
			return bad()
		}
		return binary.LittleEndian.AppendUint64(dst, uint64(v))[:len(dst)+d.Size()], nil
	case serval.Uint8, serval.Uint16, serval.Uint32, serval.Uint64:
		v, err := strconv.ParseUint(text, 10, 8*d.Size())
		if err != nil {
			return bad()
		}
		return binary.LittleEndian.AppendUint64(dst, v)[:len(dst)+d.Size()], nil
	}
	return nil, fmt.Errorf("a value of type %s cannot be written in a configuration", d)
}

// Signature is the model as clients and schedule see it.
func (w *fitted) Signature() serval.Signature { return w.outer }

// Share makes another instance, if the engine can share.
func (w *fitted) Share(ctx context.Context) (engine.Batcher, error) {
	s, ok := w.Batcher.(engine.Sharer)
	if !ok {
		return nil, fmt.Errorf("the engine cannot share a model with constants or states; set instances: 1")
	}
	b, err := s.Share(ctx)
	if err != nil {
		return nil, err
	}
	n := *w
	n.Batcher, n.call, n.answer = b, engine.Call{Inputs: make([]serval.Tensor, len(w.inputs))}, nil
	n.data = make([][]byte, len(w.inputs))
	n.one = []*engine.Call{&n.call}
	return &n, nil
}

// Execute lays the calls together along each input's batch dimension and takes the outputs apart.
func (w *fitted) Execute(ctx context.Context, calls []*engine.Call) error {
	for i := range w.inputs {
		in := &w.inputs[i]
		if in.from < 0 {
			w.call.Inputs[i] = in.constant
			continue
		}
		t := calls[0].Inputs[in.from]
		if t.DType != serval.InvalidType {
			w.data[i] = engine.Gather(w.data[i][:0], calls, in.from)
			t.Data, t.Shape = w.data[i], slices.Clone(t.Shape)
			if len(t.Shape) > 0 && len(calls) > 1 {
				t.Shape[0] = engine.Rows(calls)
			}
			if in.axis > 0 {
				t.Data = moveAxis(make([]byte, len(t.Data)), t.Data, t.Shape, in.axis, t.DType.Size(), false)
				lead := t.Shape[0]
				t.Shape = slices.Insert(t.Shape[1:], in.axis, lead)
			}
		}
		w.call.Inputs[i] = t
	}
	w.call.Rows = engine.Rows(calls)
	inputs := w.call.Inputs
	err := w.Batcher.Execute(ctx, w.one)
	if err == nil {
		err = w.call.Err
	}
	if err == nil {
		err = w.deliver(calls)
	}
	w.call.Reset()
	w.call.Inputs = inputs[:len(w.inputs)]
	if err != nil && len(calls) > 1 { // find the one that is at fault
		for i := range calls {
			if !calls[i].Answered() {
				if err := w.Execute(ctx, calls[i:i+1]); err != nil {
					calls[i].Fail(err)
				}
			}
		}
		return nil
	}
	return err
}

// deliver copies the outputs, since they belong to w.call, with their batch to the front.
func (w *fitted) deliver(calls []*engine.Call) error {
	size := 0
	for i := range w.call.Outputs {
		size += (len(w.call.Outputs[i].Data) + 15) &^ 15
	}
	hold := engine.NewBuffer(size)
	defer hold.Release()
	w.answer = w.answer[:0]
	at := 0
	for i := range w.call.Outputs {
		o := w.call.Outputs[i]
		n := len(o.Data)
		part := hold.Data[at : at+n : at+n]
		o.Shape = slices.Clone(o.Shape)
		if axis := w.axes[i]; axis > 0 && axis < len(o.Shape) {
			moveAxis(part, o.Data, toFront(o.Shape, axis), axis, o.DType.Size(), true)
			o.Shape = toFront(o.Shape, axis)
		} else {
			copy(part, o.Data)
		}
		o.Data = part
		w.answer = append(w.answer, o)
		at += (n + 15) &^ 15
	}
	return engine.Scatter(calls, w.answer, hold)
}

// moveAxis copies between a layout that leads with the batch, whose shape is given, and one that has it as dimension axis:
// to the front if front, else from it. It returns dst.
func moveAxis(dst, src []byte, shape []int64, axis, size int, front bool) []byte {
	batch, before, after := int(shape[0]), 1, size
	for _, d := range shape[1 : 1+axis] {
		before *= int(d)
	}
	for _, d := range shape[1+axis:] {
		after *= int(d)
	}
	for b := range batch {
		for k := range before {
			led, inside := (b*before+k)*after, (k*batch+b)*after
			if front {
				copy(dst[led:led+after], src[inside:inside+after])
			} else {
				copy(dst[inside:inside+after], src[led:led+after])
			}
		}
	}
	return dst
}
