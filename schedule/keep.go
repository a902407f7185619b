package schedule

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"serval"
)

// kept is what a sequence keeps from call to call, and room for the call at work. Whoever has the sequence's turn owns it.
type kept struct {
	states  []value // by the plan's states; nil before the first answer
	history [][]byte
	list    []serval.Tensor // the inputs of the call at work
	whole   [][]byte        // by the plan's history: its input
}

// value is a tensor's content.
type value struct {
	shape []int64
	data  []byte
}

// forget makes it as new; the memory stays.
func (k *kept) forget() {
	k.states = nil
	for i := range k.history {
		clear(k.history[i])
	}
}

// inputs makes the model's inputs, which hold until the next call of the sequence.
func (p *sequencePlan) inputs(k *kept, client []serval.Tensor, where serval.Sequence) ([]serval.Tensor, error) {
	if k.list == nil {
		k.list = make([]serval.Tensor, len(p.sources))
		k.history, k.whole = make([][]byte, len(p.history)), make([][]byte, len(p.history))
	}
	for i, src := range p.sources {
		info := &p.inner.Inputs[i]
		var err error
		switch {
		case src.state >= 0:
			v := p.states[src.state].first
			if k.states != nil {
				v = k.states[src.state]
			}
			k.list[i] = serval.Tensor{Name: info.Name, DType: info.DType, Shape: v.shape, Data: v.data}
		case src.control >= 0:
			if k.list[i], err = control(info, &p.controls[src.control], where); err != nil {
				err = serval.Errorf(serval.InvalidArgument, "sequence_id: the model's input '%s' takes it as a number: %w", info.Name, err).At("sequence_id")
			}
		default:
			k.list[i], err = p.given(k, src.client, &client[src.client], info)
		}
		if err != nil {
			return nil, err
		}
	}
	return k.list, nil
}

// given is an input of the client's, with its history before it. One sequence is one row.
func (p *sequencePlan) given(k *kept, at int, t *serval.Tensor, info *serval.TensorInfo) (serval.Tensor, error) {
	if t.DType == serval.InvalidType { // optional, not given
		return *t, nil
	}
	past := p.past[at]
	batched := len(info.Shape) > 0 && info.Shape[0] == -1 && len(t.Shape) > 0
	if batched && (len(t.Shape) > 1 || past < 0) && t.Shape[0] != 1 {
		return *t, serval.Errorf(serval.InvalidArgument, "input '%s' has %d rows; a request of a sequence has one", t.Name, t.Shape[0]).At(t.Name)
	}
	if past < 0 {
		return *t, nil
	}
	last := len(t.Shape) - 1
	if n, _ := serval.Elements(t.Shape); n != t.Shape[last] {
		return *t, serval.Errorf(serval.InvalidArgument, "input '%s' of a sequence must be one row; the request gives shape %s", t.Name, serval.ShapeString(t.Shape)).At(t.Name)
	}
	size := int(p.history[past].Size) * t.DType.Size()
	if k.history[past] == nil {
		k.history[past] = make([]byte, size)
	}
	k.whole[past] = append(append(k.whole[past][:0], k.history[past]...), t.Data...)
	long := *t
	long.Data, long.Shape = k.whole[past], slices.Clone(t.Shape)
	long.Shape[last] += p.history[past].Size
	return long, nil
}

// keep takes the states out of the answer and the ends of the inputs, and returns the outputs that clients see.
func (p *sequencePlan) keep(k *kept, outputs []serval.Tensor) ([]serval.Tensor, error) {
	if len(outputs) != len(p.stateOf) {
		return nil, fmt.Errorf("the engine gave %d outputs, the model has %d", len(outputs), len(p.stateOf))
	}
	if k.states == nil {
		k.states = make([]value, len(p.states))
	}
	visible := make([]serval.Tensor, 0, len(p.outer.Outputs))
	for i := range outputs {
		at := p.stateOf[i]
		if at < 0 {
			visible = append(visible, outputs[i])
			continue
		}
		if n := len(outputs[i].Data); n > p.most {
			return nil, serval.Errorf(serval.TooLarge, "the sequence's state '%s' has grown to %d bytes; at most %d are kept: end the sequence sooner", outputs[i].Name, n, p.most).At(outputs[i].Name)
		}
		v := &k.states[at]
		v.shape = append(v.shape[:0], outputs[i].Shape...)
		v.data = append(v.data[:0], outputs[i].Data...)
	}
	for i := range k.history {
		if whole := k.whole[i]; len(whole) > 0 {
			copy(k.history[i], whole[len(whole)-len(k.history[i]):])
		}
	}
	return visible, nil
}

// control makes the tensor that tells the model where in its sequence it is: one value. Only an id can fail, once planControl
// has made the others.
func control(info *serval.TensorInfo, c *serval.SequenceControl, where serval.Sequence) (serval.Tensor, error) {
	t := serval.Tensor{Name: info.Name, DType: info.DType, Shape: make([]int64, len(info.Shape))}
	for i := range t.Shape {
		t.Shape[i] = 1
	}
	text := where.ID
	if c.Kind != "id" {
		v, yes := c.False, c.True
		if yes == v {
			yes = v + 1
		}
		if c.Kind == "ready" || c.Kind == "start" && where.Start || c.Kind == "end" && where.End {
			v = yes
		}
		if text = strconv.FormatFloat(v, 'g', -1, 64); info.DType != serval.FP32 && info.DType != serval.FP64 {
			text = strconv.FormatInt(int64(math.Round(v)), 10)
		}
	}
	data, err := appendNumber(nil, info.DType, text)
	t.Data = data
	return t, err
}
