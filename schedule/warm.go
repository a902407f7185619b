package schedule

import (
	"context"
	"fmt"

	"serval"
	"serval/engine"
)

// Warm runs a call on every instance, one after another. Its inputs stand in the signature's order. It is for use before
// the first Handle and is not counted.
func (m *Model) Warm(ctx context.Context, list []serval.Tensor) error {
	rows := int64(1)
	if m.batchDim && len(list) > 0 && len(list[0].Shape) > 0 {
		rows = list[0].Shape[0]
	}
	for _, inst := range m.all {
		if err := ctx.Err(); err != nil {
			return err
		}
		call := &engine.Call{Inputs: append([]serval.Tensor(nil), list...), Rows: rows}
		err := protect(ctx, inst.model, []*engine.Call{call})
		if call.Answered() {
			err = call.Err
		} else if err == nil {
			err = fmt.Errorf("%s: the engine left a call without an answer", m.what)
		}
		call.Reset()
		if err != nil {
			return err
		}
	}
	return nil
}

// Warm runs a call as a sequence of its own on every instance.
func (q *Sequences) Warm(ctx context.Context, list []serval.Tensor) error {
	inner, err := q.plan.inputs(&kept{}, list, serval.Sequence{ID: "1", Start: true, End: true})
	if err != nil {
		return err
	}
	return q.Model.Warm(ctx, inner)
}
