package schedule

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"serval"
)

// sequencePlan says how a call's inputs are made of what the client gave and what the sequence keeps.
type sequencePlan struct {
	inner    serval.Signature // of the model
	outer    serval.Signature // as clients see it
	sources  []inputSource    // by the inner inputs
	states   []stateSlot
	controls []serval.SequenceControl
	history  []serval.SequenceHistory
	past     []int // history of the outer inputs; -1: none
}

type inputSource struct{ client, state, control int } // each an index, or -1

type stateSlot struct {
	output string
	shape  []int64
	first  []byte
}

// planSequences checks the settings against the signature. dir is the model's folder, for first states.
func planSequences(sig serval.Signature, s *serval.SequenceSettings, dir string) (sequencePlan, error) {
	p := sequencePlan{inner: sig, controls: s.Controls, history: s.History}
	stateOf, controlOf, hidden := map[string]int{}, map[string]int{}, map[string]bool{}
	for i, st := range s.States {
		slot, err := planState(sig, st, dir)
		if err != nil {
			return p, fmt.Errorf("sequence.states[%d]: %w", i, err)
		}
		p.states = append(p.states, slot)
		stateOf[st.Input], hidden[st.Output] = i, true
	}
	for i, c := range s.Controls {
		at := sig.Input(c.Input)
		if at < 0 {
			return p, fmt.Errorf("sequence.controls[%d].input: the model has no input '%s'", i, c.Input)
		}
		if !slices.Contains([]string{"start", "end", "ready", "id"}, c.Kind) {
			return p, fmt.Errorf("sequence.controls[%d].kind: %q; use start, end, ready or id", i, c.Kind)
		}
		controlOf[c.Input] = i
	}
	for i := range sig.Inputs {
		src := inputSource{-1, -1, -1}
		name := sig.Inputs[i].Name
		if at, ok := stateOf[name]; ok {
			src.state = at
		} else if at, ok := controlOf[name]; ok {
			src.control = at
		} else {
			src.client = len(p.outer.Inputs)
			info := sig.Inputs[i]
			past := slices.IndexFunc(s.History, func(h serval.SequenceHistory) bool { return h.Input == name })
			if past >= 0 {
				if err := planHistory(&info, s.History[past]); err != nil {
					return p, fmt.Errorf("sequence.history[%d]: %w", past, err)
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
	for i := range sig.Outputs {
		if !hidden[sig.Outputs[i].Name] {
			p.outer.Outputs = append(p.outer.Outputs, sig.Outputs[i])
		}
	}
	return p, nil
}

func planState(sig serval.Signature, st serval.SequenceState, dir string) (stateSlot, error) {
	in, out := sig.Input(st.Input), sig.Output(st.Output)
	switch {
	case in < 0:
		return stateSlot{}, fmt.Errorf("input: the model has no input '%s'", st.Input)
	case out < 0:
		return stateSlot{}, fmt.Errorf("output: the model has no output '%s'", st.Output)
	case sig.Inputs[in].DType != sig.Outputs[out].DType || sig.Inputs[in].DType.Size() == 0:
		return stateSlot{}, fmt.Errorf("input '%s' is %s, output '%s' is %s; a state needs the same numeric type", st.Input, sig.Inputs[in].DType, st.Output, sig.Outputs[out].DType)
	}
	slot := stateSlot{output: st.Output, shape: slices.Clone(sig.Inputs[in].Shape)}
	if len(st.Shape) > 0 {
		if st.Axis >= len(st.Shape) {
			return slot, fmt.Errorf("shape: %s has no dimension %d, which axis names", serval.ShapeString(st.Shape), st.Axis)
		}
		slot.shape = toFront(st.Shape, st.Axis)
	}
	for i, d := range slot.shape {
		if d < 0 {
			slot.shape[i] = 1
		}
	}
	n, ok := serval.Elements(slot.shape)
	if !ok || n > maxProbe {
		return slot, fmt.Errorf("shape: %s is too large for a state", serval.ShapeString(slot.shape))
	}
	size := int(n) * sig.Inputs[in].DType.Size()
	if st.File == "" {
		slot.first = make([]byte, size)
		return slot, nil
	}
	if !filepath.IsLocal(st.File) {
		return slot, fmt.Errorf("file: %q must be a path inside the model's folder", st.File)
	}
	raw, err := os.ReadFile(filepath.Join(dir, st.File))
	if err != nil {
		return slot, fmt.Errorf("file: %w", err)
	}
	if len(raw) != size {
		return slot, fmt.Errorf("file: %s holds %d bytes, the state of shape %s takes %d", st.File, len(raw), serval.ShapeString(slot.shape), size)
	}
	slot.first = raw
	return slot, nil
}

// planHistory takes the part that Serval adds off the last dimension that clients see.
func planHistory(info *serval.TensorInfo, h serval.SequenceHistory) error {
	last := len(info.Shape) - 1
	if last < 0 || info.DType.Size() == 0 || h.Size < 1 {
		return fmt.Errorf("input '%s' has shape %s of %s: history needs a numeric last dimension and a size of at least 1", info.Name, serval.ShapeString(info.Shape), info.DType)
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

// inputs makes the model's inputs. The caller holds the sequence's turn.
func (p *sequencePlan) inputs(s *sequence, client []serval.Tensor, where serval.Sequence) ([]serval.Tensor, error) {
	if s.history == nil {
		s.history = make([][]byte, len(p.history))
	}
	list := make([]serval.Tensor, len(p.sources))
	for i, src := range p.sources {
		info := &p.inner.Inputs[i]
		switch {
		case src.state >= 0:
			slot := &p.states[src.state]
			data := slot.first
			if s.state != nil && s.state[src.state] != nil {
				data = s.state[src.state]
			}
			list[i] = serval.Tensor{Name: info.Name, DType: info.DType, Shape: slot.shape, Data: data}
		case src.control >= 0:
			t, err := control(info, &p.controls[src.control], where)
			if err != nil {
				return nil, err
			}
			list[i] = t
		default:
			list[i] = client[src.client]
			if len(p.states) > 0 && len(list[i].Shape) > 0 && list[i].Shape[0] != 1 && info.Shape != nil && info.Shape[0] == -1 {
				return nil, serval.Errorf(serval.InvalidArgument, "input '%s' has %d rows; a request of a sequence has one", list[i].Name, list[i].Shape[0]).At(list[i].Name)
			}
			if at := p.past[src.client]; at >= 0 {
				t, err := p.prepend(s, at, client[src.client])
				if err != nil {
					return nil, err
				}
				list[i] = t
			}
		}
	}
	return list, nil
}

// prepend lays the end of the last call's input before this one's, and keeps this one's end. One sequence is one row.
func (p *sequencePlan) prepend(s *sequence, at int, t serval.Tensor) (serval.Tensor, error) {
	h := p.history[at]
	width := t.Shape[len(t.Shape)-1]
	if n, _ := serval.Elements(t.Shape); n != width {
		return t, serval.Errorf(serval.InvalidArgument, "input '%s' of a sequence must be one row; the request gives shape %s", t.Name, serval.ShapeString(t.Shape)).At(t.Name)
	}
	size := int(h.Size) * t.DType.Size()
	old := s.history[at]
	if old == nil {
		old = make([]byte, size)
	}
	whole := append(append(make([]byte, 0, size+len(t.Data)), old...), t.Data...)
	s.history[at] = append(s.history[at][:0], whole[len(whole)-size:]...)
	t.Data = whole
	t.Shape = slices.Clone(t.Shape)
	t.Shape[len(t.Shape)-1] = width + h.Size
	return t, nil
}

// control makes the tensor that tells the model where in its sequence it is: one value.
func control(info *serval.TensorInfo, c *serval.SequenceControl, where serval.Sequence) (serval.Tensor, error) {
	t := serval.Tensor{Name: info.Name, DType: info.DType, Shape: make([]int64, len(info.Shape))}
	for i := range t.Shape {
		t.Shape[i] = 1
	}
	text := where.ID
	if c.Kind != "id" {
		yes, no := c.True, c.False
		if yes == no {
			yes = no + 1
		}
		on := c.Kind == "ready" || c.Kind == "start" && where.Start || c.Kind == "end" && where.End
		v := no
		if on {
			v = yes
		}
		if text = strconv.FormatFloat(v, 'g', -1, 64); info.DType != serval.FP32 && info.DType != serval.FP64 {
			text = strconv.FormatInt(int64(math.Round(v)), 10)
		}
	}
	data, err := appendNumber(nil, info.DType, text)
	if err != nil {
		return t, serval.Errorf(serval.InvalidArgument, "sequence_id: the model's input '%s' takes it as %s: %v", info.Name, info.DType, err).At("sequence_id")
	}
	t.Data = data
	return t, nil
}
