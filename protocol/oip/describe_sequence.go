package oip

import (
	"slices"

	"serval"
	"serval/wire/inference"
)

var controlKinds = map[string]inference.ModelSequenceBatching_Control_Kind{
	"start": inference.ModelSequenceBatching_Control_CONTROL_SEQUENCE_START,
	"end":   inference.ModelSequenceBatching_Control_CONTROL_SEQUENCE_END,
	"ready": inference.ModelSequenceBatching_Control_CONTROL_SEQUENCE_READY,
	"id":    inference.ModelSequenceBatching_Control_CONTROL_SEQUENCE_CORRID,
}

// sequenceBatching says in Triton's words how a stateful model's sequences are run. A sequence's history has no word there.
func sequenceBatching(s *serval.SequenceSettings) *inference.ModelSequenceBatching {
	b := &inference.ModelSequenceBatching{MaxSequenceIdleMicroseconds: micros(s.IdleTimeout)}
	if s.Strategy == "direct" {
		b.StrategyChoice = &inference.ModelSequenceBatching_Direct{Direct: &inference.ModelSequenceBatching_StrategyDirect{}}
	} else {
		b.StrategyChoice = &inference.ModelSequenceBatching_Oldest{Oldest: &inference.ModelSequenceBatching_StrategyOldest{
			MaxCandidateSequences: int32(s.MaxSequences), PreserveOrdering: true}}
	}
	for _, c := range s.Controls {
		control := &inference.ModelSequenceBatching_Control{Kind: controlKinds[c.Kind]}
		if c.Kind != "id" {
			yes := c.True
			if yes == c.False {
				yes++
			}
			control.Fp32FalseTrue = []float32{float32(c.False), float32(yes)}
		}
		b.ControlInput = append(b.ControlInput, &inference.ModelSequenceBatching_ControlInput{Name: c.Input, Control: []*inference.ModelSequenceBatching_Control{control}})
	}
	for _, st := range s.States {
		b.State = append(b.State, &inference.ModelSequenceBatching_State{InputName: st.Input, OutputName: st.Output, Dims: slices.Clone(st.Shape)})
	}
	return b
}
