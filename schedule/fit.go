package schedule

import (
	"context"
	"fmt"
	"slices"
	"time"

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
	if _, fitted := m.(Handling); fitted { // where it runs
		return m, nil
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
	fitted.open = func(ctx context.Context) (engine.Batcher, error) { return another(ctx, f.Engine, spec, b) }
	return fitted, nil
}

// fitted is one instance. A batch reaches the engine as a single call, laid together here.
type fitted struct {
	engine.Batcher
	open          func(context.Context) (engine.Batcher, error) // another of the engine's instances
	outer, inner  serval.Signature
	inputs        []fitInput // in the engine's order
	axes          []int      // of the outputs
	stage         *stage
	input, output time.Duration // see Laps
}

// stage is where a fitted instance lays a batch together.
type stage struct {
	call   engine.Call // to the engine
	one    []*engine.Call
	rows   [][]byte // by input: the calls' rows
	turned [][]byte // by input: with the batch as another dimension than the first
	answer []serval.Tensor
}

func newStage(inputs int) *stage {
	s := &stage{rows: make([][]byte, inputs), turned: make([][]byte, inputs)}
	s.call.Inputs = make([]serval.Tensor, inputs)
	s.one = []*engine.Call{&s.call}
	return s
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
	w.stage = newStage(len(w.inputs))
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

// Signature is the model as clients and schedule see it.
func (w *fitted) Signature() serval.Signature { return w.outer }

// Share makes another instance.
func (w *fitted) Share(ctx context.Context) (engine.Batcher, error) {
	b, err := w.open(ctx)
	if err != nil {
		return nil, err
	}
	n := *w
	n.Batcher, n.stage = b, newStage(len(w.inputs))
	return &n, nil
}

// Laps says how much of the last Execute went into laying rows together and taking them apart.
func (w *fitted) Laps() (input, output time.Duration) { return w.input, w.output }

// Execute lays the calls together along each input's batch dimension and takes the outputs apart.
func (w *fitted) Execute(ctx context.Context, calls []*engine.Call) error {
	if len(calls) == 0 {
		return nil
	}
	begun := time.Now()
	s := w.stage
	s.call.Inputs = s.call.Inputs[:len(w.inputs)]
	for i := range w.inputs {
		s.call.Inputs[i] = w.gather(i, calls)
	}
	s.call.Rows = engine.Rows(calls)
	w.input, w.output = time.Since(begun), 0
	err := w.Batcher.Execute(ctx, s.one)
	if err == nil {
		err = s.call.Err
	}
	if err == nil {
		begun = time.Now()
		err = w.deliver(calls)
		w.output = time.Since(begun)
	}
	if l, ok := w.Batcher.(laps); ok {
		input, output := l.Laps()
		w.input, w.output = w.input+input, w.output+output
	}
	s.call.Reset()
	if err == nil || len(calls) == 1 {
		return err
	}
	for i := range calls { // one of them is at fault
		if calls[i].Answered() {
			continue
		}
		if err := w.Execute(ctx, calls[i:i+1]); err != nil {
			calls[i].Fail(err)
		}
	}
	return nil
}

// gather lays input i of the calls together as the engine takes it.
func (w *fitted) gather(i int, calls []*engine.Call) serval.Tensor {
	in, s := &w.inputs[i], w.stage
	if in.from < 0 {
		return in.constant
	}
	t := calls[0].Inputs[in.from]
	if t.DType == serval.InvalidType { // optional, not given
		return t
	}
	if len(calls) > 1 {
		s.rows[i] = engine.Gather(s.rows[i][:0], calls, in.from)
		t.Data, t.Shape = s.rows[i], slices.Clone(t.Shape)
		t.Shape[0] = engine.Rows(calls)
	}
	if in.axis > 0 {
		s.turned[i] = slices.Grow(s.turned[i][:0], len(t.Data))[:len(t.Data)]
		t.Data = moveAxis(s.turned[i], t.Data, t.Shape, in.axis, t.DType.Size(), false)
		t.Shape = slices.Insert(slices.Clone(t.Shape[1:]), in.axis, t.Shape[0])
	}
	return t
}

// deliver copies the outputs, since they belong to the stage's call, with their batch to the front.
func (w *fitted) deliver(calls []*engine.Call) error {
	s, size := w.stage, 0
	for i := range s.call.Outputs {
		size += aligned(len(s.call.Outputs[i].Data))
	}
	hold := engine.NewBuffer(size)
	defer hold.Release()
	s.answer = s.answer[:0]
	at := 0
	for i := range s.call.Outputs {
		o := s.call.Outputs[i]
		n := len(o.Data)
		part := hold.Data[at : at+n : at+n]
		if axis := w.axes[i]; axis > 0 && axis < len(o.Shape) {
			turned := toFront(o.Shape, axis)
			moveAxis(part, o.Data, turned, axis, o.DType.Size(), true)
			o.Shape = turned
		} else {
			o.Shape = slices.Clone(o.Shape)
			copy(part, o.Data)
		}
		o.Data = part
		s.answer = append(s.answer, o)
		at += aligned(n)
	}
	return engine.Scatter(calls, s.answer, hold)
}

func aligned(n int) int { return (n + 15) &^ 15 }

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
