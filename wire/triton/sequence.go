package triton

import (
	"fmt"
	"math"
	"path/filepath"
	"time"

	"serval"
	"serval/wire/inference"
)

// defaultIdle is how long a sequence is kept without a request where the configuration does not say.
const defaultIdle = time.Second

// initialStateFolder is where the files of first states stand, below a model's folder.
const initialStateFolder = "initial_state"

// sequence reads sequence_batching.
func (r *reader) sequence(b *inference.ModelSequenceBatching) {
	const at = "sequence_batching"
	s := &serval.SequenceSettings{Strategy: "direct", IdleTimeout: microseconds(b.MaxSequenceIdleMicroseconds)}
	if s.IdleTimeout == 0 {
		s.IdleTimeout = defaultIdle
	}
	r.s.Sequence = s
	r.queue(nil)
	if b.IterativeSequence {
		r.fail(at+".iterative_sequence", "models that ask to be run again are not built in; set it to false")
	}
	r.s.Batching.Mode = "off"
	if r.batched() {
		r.s.Batching.Mode = "on"
	}
	switch p := b.StrategyChoice.(type) {
	case *inference.ModelSequenceBatching_Oldest:
		r.oldest(at+".oldest", s, p.Oldest)
	case *inference.ModelSequenceBatching_Direct:
		r.direct(at+".direct", p.Direct)
	}
	names := map[string]bool{}
	for i, c := range b.ControlInput {
		r.control(fmt.Sprintf("%s.control_input[%d]", at, i), s, c, names)
	}
	for i, st := range b.State {
		r.state(fmt.Sprintf("%s.state[%d]", at, i), s, st)
	}
}

func (r *reader) oldest(at string, s *serval.SequenceSettings, o *inference.ModelSequenceBatching_StrategyOldest) {
	s.Strategy = "oldest"
	if o.MaxCandidateSequences < 0 {
		r.fail(at+".max_candidate_sequences", "must not be negative, is %d", o.MaxCandidateSequences)
	}
	s.MaxSequences = int(o.MaxCandidateSequences) * r.copies()
	for i, n := range o.PreferredBatchSize {
		if n < 1 || n > r.c.MaxBatchSize {
			r.fail(fmt.Sprintf("%s.preferred_batch_size[%d]", at, i), "%d must be 1 to max_batch_size, which is %d", n, r.c.MaxBatchSize)
			continue
		}
		r.s.Batching.Preferred = append(r.s.Batching.Preferred, int(n))
	}
	if r.batched() {
		r.s.Batching.MaxDelay = microseconds(o.MaxQueueDelayMicroseconds)
	}
}

// copies is how many instances the configuration asks for; Triton counts candidates for each.
func (r *reader) copies() int {
	n := int32(0)
	for _, g := range r.c.InstanceGroup {
		if !g.Passive {
			n += max(g.Count, 1)
		}
	}
	return int(max(n, 1))
}

func (r *reader) direct(at string, d *inference.ModelSequenceBatching_StrategyDirect) {
	used := float64(d.MinimumSlotUtilization)
	if used < 0 || used > 1 || used != used {
		r.fail(at+".minimum_slot_utilization", "must be 0 to 1, is %g", used)
		return
	}
	if used == 0 || !r.batched() { // a batch runs as soon as one of its slots has a request
		return
	}
	r.s.Batching.MaxDelay = microseconds(d.MaxQueueDelayMicroseconds)
	if n := int(math.Ceil(used * float64(r.c.MaxBatchSize))); n < int(r.c.MaxBatchSize) {
		r.s.Batching.Preferred = []int{max(n, 1)}
	}
}

var controlKinds = map[inference.ModelSequenceBatching_Control_Kind]string{
	inference.ModelSequenceBatching_Control_CONTROL_SEQUENCE_START:  "start",
	inference.ModelSequenceBatching_Control_CONTROL_SEQUENCE_END:    "end",
	inference.ModelSequenceBatching_Control_CONTROL_SEQUENCE_READY:  "ready",
	inference.ModelSequenceBatching_Control_CONTROL_SEQUENCE_CORRID: "id",
}

// control reads one control input. names are the inputs and kinds seen before.
func (r *reader) control(at string, s *serval.SequenceSettings, c *inference.ModelSequenceBatching_ControlInput, names map[string]bool) {
	if c.Name == "" {
		r.fail(at+".name", "is missing")
		return
	}
	if len(c.Control) != 1 {
		r.fail(at+".control", "input '%s' has %d controls; an input has one", c.Name, len(c.Control))
		return
	}
	k := c.Control[0]
	kind, ok := controlKinds[k.Kind]
	switch {
	case !ok:
		r.fail(at+".control.kind", "%d is not known", k.Kind)
		return
	case names[c.Name], names[" "+kind]:
		r.fail(at, "input '%s' or the kind %v is given twice; each goes with one other", c.Name, k.Kind)
		return
	}
	names[c.Name], names[" "+kind] = true, true
	out := serval.SequenceControl{Input: c.Name, Kind: kind}
	set := 0
	for _, n := range []int{len(k.Int32FalseTrue), len(k.Fp32FalseTrue), len(k.BoolFalseTrue)} {
		if n > 0 {
			set++
			if n != 2 {
				r.fail(at+".control", "the false and true values of input '%s' are two, not %d", c.Name, n)
				return
			}
		}
	}
	if kind == "id" {
		switch t := k.DataType; {
		case set > 0:
			r.fail(at+".control", "input '%s' takes the sequence's id, so it has no false and true values; remove them", c.Name)
		case t != inference.DataType_TYPE_UINT64 && t != inference.DataType_TYPE_INT64 && t != inference.DataType_TYPE_UINT32 && t != inference.DataType_TYPE_INT32 && t != inference.DataType_TYPE_STRING:
			r.fail(at+".control.data_type", "of input '%s' must be TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32 or TYPE_STRING, not %v", c.Name, t)
		}
		s.Controls = append(s.Controls, out)
		return
	}
	if set != 1 {
		r.fail(at+".control", "input '%s' needs one of int32_false_true, fp32_false_true and bool_false_true; there are %d", c.Name, set)
		return
	}
	out.False, out.True = falseTrue(k)
	s.Controls = append(s.Controls, out)
}

func falseTrue(k *inference.ModelSequenceBatching_Control) (no, yes float64) {
	number := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	switch {
	case len(k.Int32FalseTrue) == 2:
		return float64(k.Int32FalseTrue[0]), float64(k.Int32FalseTrue[1])
	case len(k.Fp32FalseTrue) == 2:
		return float64(k.Fp32FalseTrue[0]), float64(k.Fp32FalseTrue[1])
	}
	return number(k.BoolFalseTrue[0]), number(k.BoolFalseTrue[1])
}

// state reads one implicit state.
func (r *reader) state(at string, s *serval.SequenceSettings, st *inference.ModelSequenceBatching_State) {
	if st.InputName == "" || st.OutputName == "" {
		r.fail(at, "needs an input_name and an output_name")
		return
	}
	for i := range r.s.Outputs {
		if r.s.Outputs[i].Name == st.OutputName {
			r.fail(at+".output_name", "'%s' is among the outputs too; a state is not shown to clients here: remove it from output", st.OutputName)
		}
	}
	out := serval.SequenceState{Input: st.InputName, Output: st.OutputName}
	if len(st.InitialState) > 1 {
		r.fail(at+".initial_state", "has %d entries; a state begins in one way", len(st.InitialState))
		return
	}
	dims := st.Dims
	if len(st.InitialState) == 1 {
		first := st.InitialState[0]
		if first.DataType != st.DataType {
			r.fail(at+".initial_state.data_type", "is %v, that of the state %v", first.DataType, st.DataType)
		}
		if len(first.Dims) != len(dims) {
			r.fail(at+".initial_state.dims", "are %v, those of the state %v", first.Dims, dims)
			return
		}
		dims = first.Dims
		if f := first.GetDataFile(); f != "" {
			if !filepath.IsLocal(f) {
				r.fail(at+".initial_state.data_file", "%q must be a path inside the folder %s", f, initialStateFolder)
			}
			out.File = filepath.Join(initialStateFolder, f)
		}
	}
	if r.batched() {
		out.Shape = append(out.Shape, 1)
	}
	for _, d := range dims {
		out.Shape = append(out.Shape, max(d, 1)) // a dynamic dimension begins with one element
	}
	s.States = append(s.States, out)
}
