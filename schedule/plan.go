package schedule

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"serval"
)

// sequencePlan says how a call's inputs are made of what the client gave and what the sequence keeps. It never changes.
type sequencePlan struct {
	inner    serval.Signature // of the model
	outer    serval.Signature // as clients see it
	sources  []inputSource    // by the inner inputs
	states   []stateSlot
	stateOf  []int // by the inner outputs: the state that it becomes; -1: clients see it
	controls []serval.SequenceControl
	history  []serval.SequenceHistory
	past     []int // history of the outer inputs; -1: none
	most     int   // bytes of one state
}

// maxState bounds a state that grows from call to call, in bytes: max_sequences times this is the worst.
const maxState = 64 << 20

type inputSource struct{ client, state, control int } // each an index, or -1

// stateSlot is one state: its value at the start of a sequence, and the input that takes it.
type stateSlot struct {
	serval.SequenceState
	first value
}

// planSequences checks the settings against the signature. dir is the folder of files that hold first states.
func planSequences(sig serval.Signature, s *serval.SequenceSettings, dir string) (sequencePlan, error) {
	p := sequencePlan{inner: sig, controls: s.Controls, history: s.History, most: maxState}
	if err := eachOnce(s); err != nil {
		return p, err
	}
	stateOf, controlOf := map[string]int{}, map[string]int{}
	for _, o := range sig.Outputs {
		at := slices.IndexFunc(s.States, func(st serval.SequenceState) bool { return st.Output == o.Name })
		if p.stateOf = append(p.stateOf, at); at < 0 {
			p.outer.Outputs = append(p.outer.Outputs, o)
		}
	}
	for i, st := range s.States {
		slot, err := planState(sig, st, dir)
		if err != nil {
			return p, fmt.Errorf("sequence.states[%d].%w", i, err)
		}
		p.states = append(p.states, slot)
		stateOf[st.Input] = i
	}
	for i, c := range s.Controls {
		if err := planControl(sig, c); err != nil {
			return p, fmt.Errorf("sequence.controls[%d].%w", i, err)
		}
		controlOf[c.Input] = i
	}
	for i := range sig.Inputs {
		src := inputSource{-1, -1, -1}
		info := sig.Inputs[i]
		if at, ok := stateOf[info.Name]; ok {
			src.state = at
		} else if at, ok := controlOf[info.Name]; ok {
			src.control = at
		} else {
			src.client = len(p.outer.Inputs)
			past := slices.IndexFunc(s.History, func(h serval.SequenceHistory) bool { return h.Input == info.Name })
			if past >= 0 {
				if err := planHistory(&info, s.History[past]); err != nil {
					return p, fmt.Errorf("sequence.history[%d].%w", past, err)
				}
			}
			p.past = append(p.past, past)
			p.outer.Inputs = append(p.outer.Inputs, info)
		}
		p.sources = append(p.sources, src)
	}
	for i, h := range s.History {
		if p.outer.Input(h.Input) < 0 {
			return p, fmt.Errorf("sequence.history[%d].input: clients give no input '%s'", i, h.Input)
		}
	}
	return p, nil
}

// eachOnce refuses a tensor that has two duties.
func eachOnce(s *serval.SequenceSettings) error {
	inputs, outputs := map[string]string{}, map[string]string{}
	take := func(of map[string]string, where, name string) error {
		if first, twice := of[name]; twice {
			return fmt.Errorf("%s: '%s' is taken by %s already", where, name, first)
		}
		of[name] = where
		return nil
	}
	for i, st := range s.States {
		at := fmt.Sprintf("sequence.states[%d]", i)
		if err := take(inputs, at+".input", st.Input); err != nil {
			return err
		}
		if err := take(outputs, at+".output", st.Output); err != nil {
			return err
		}
	}
	for i, c := range s.Controls {
		if err := take(inputs, fmt.Sprintf("sequence.controls[%d].input", i), c.Input); err != nil {
			return err
		}
	}
	for i, h := range s.History {
		if err := take(inputs, fmt.Sprintf("sequence.history[%d].input", i), h.Input); err != nil {
			return err
		}
	}
	return nil
}

// planState finds a state's first value. An error begins with the field at fault.
func planState(sig serval.Signature, st serval.SequenceState, dir string) (stateSlot, error) {
	slot := stateSlot{SequenceState: st}
	at, out := sig.Input(st.Input), sig.Output(st.Output)
	if at < 0 {
		return slot, fmt.Errorf("input: the model has no input '%s'", st.Input)
	}
	if out < 0 {
		return slot, fmt.Errorf("output: the model has no output '%s'", st.Output)
	}
	in, from := &sig.Inputs[at], &sig.Outputs[out]
	if in.DType != from.DType || in.DType.Size() == 0 {
		return slot, fmt.Errorf("output: '%s' is %s, the input '%s' is %s; a state needs the same numeric type", st.Output, from.DType, st.Input, in.DType)
	}
	if !compatible(in.Shape, from.Shape) {
		return slot, fmt.Errorf("output: '%s' has shape %s, which cannot become the input '%s' of shape %s", st.Output, serval.ShapeString(from.Shape), st.Input, serval.ShapeString(in.Shape))
	}
	shape := slices.Clone(in.Shape)
	if len(st.Shape) > 0 {
		if st.Axis >= len(st.Shape) {
			return slot, fmt.Errorf("shape: %s has no dimension %d, which axis names", serval.ShapeString(st.Shape), st.Axis)
		}
		if shape = toFront(st.Shape, st.Axis); !compatible(in.Shape, shape) {
			return slot, fmt.Errorf("shape: %s does not fit the input '%s'", serval.ShapeString(st.Shape), st.Input)
		}
	}
	for i, d := range shape {
		if d < 0 {
			shape[i] = 1
		}
	}
	if len(in.Shape) > 0 && in.Shape[0] == -1 && shape[0] != 1 {
		return slot, fmt.Errorf("shape: %s must have 1 as dimension %d: a sequence is one row", serval.ShapeString(st.Shape), st.Axis)
	}
	n, ok := serval.Elements(shape)
	if !ok || n > maxState/int64(in.DType.Size()) {
		return slot, fmt.Errorf("shape: %s is too large for a state", serval.ShapeString(shape))
	}
	slot.first = value{shape: shape, data: make([]byte, int(n)*in.DType.Size())}
	if st.File == "" {
		return slot, nil
	}
	if !filepath.IsLocal(st.File) {
		return slot, fmt.Errorf("file: %q must be a path inside the model's folder", st.File)
	}
	raw, err := readInside(dir, st.File)
	if err != nil {
		return slot, fmt.Errorf("file: %w", err)
	}
	if len(raw) != len(slot.first.data) {
		return slot, fmt.Errorf("file: %s holds %d bytes, the state of shape %s takes %d", st.File, len(raw), serval.ShapeString(shape), len(slot.first.data))
	}
	slot.first.data = raw
	return slot, nil
}

// readInside reads a file below dir; a link that leads out of it is refused.
func readInside(dir, name string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if len(raw) > maxState {
		return nil, fmt.Errorf("%s has more than %d bytes", name, maxState)
	}
	return raw, err
}

// compatible says whether a tensor of one shape may have the other, too.
func compatible(a, b []int64) bool {
	if a == nil || b == nil { // any rank
		return true
	}
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] >= 0 && b[i] >= 0 && a[i] != b[i] {
			return false
		}
	}
	return true
}

// planControl makes each of a control's values once.
func planControl(sig serval.Signature, c serval.SequenceControl) error {
	at := sig.Input(c.Input)
	if at < 0 {
		return fmt.Errorf("input: the model has no input '%s'", c.Input)
	}
	info := &sig.Inputs[at]
	if slices.ContainsFunc(info.Shape, func(d int64) bool { return d > 1 }) {
		return fmt.Errorf("input: '%s' has shape %s; a control is one value", c.Input, serval.ShapeString(info.Shape))
	}
	if !slices.Contains([]string{"start", "end", "ready", "id"}, c.Kind) {
		return fmt.Errorf("kind: %q; use start, end, ready or id", c.Kind)
	}
	for _, where := range []serval.Sequence{{ID: "1"}, {ID: "1", Start: true, End: true}} {
		if _, err := control(info, &c, where); err != nil {
			return fmt.Errorf("input: '%s' cannot hold it: %w", c.Input, err)
		}
	}
	return nil
}

// planHistory takes the part that Serval adds off the last dimension that clients see.
func planHistory(info *serval.TensorInfo, h serval.SequenceHistory) error {
	last := len(info.Shape) - 1
	if last < 0 || info.DType.Size() == 0 {
		return fmt.Errorf("input: '%s' is %s of shape %s; history needs numbers with a last dimension", info.Name, info.DType, serval.ShapeString(info.Shape))
	}
	if h.Size < 1 || h.Size > maxProbe {
		return fmt.Errorf("size: %d; use a number from 1 to %d", h.Size, maxProbe)
	}
	if d := info.Shape[last]; d >= 0 {
		if d <= h.Size {
			return fmt.Errorf("size: %d leaves nothing of the last dimension of %s", h.Size, serval.ShapeString(info.Shape))
		}
		info.Shape = slices.Clone(info.Shape)
		info.Shape[last] = d - h.Size
	}
	return nil
}
