package schedule

import (
	"fmt"
	"strings"
	"testing"

	"serval"
)

// TestWhatDoesNotFitTheModel wants each mistake to be found when the model is loaded, and named.
func TestWhatDoesNotFitTheModel(t *testing.T) {
	state := func(s serval.SequenceState) *serval.SequenceSettings {
		return &serval.SequenceSettings{States: []serval.SequenceState{s}}
	}
	control := func(c ...serval.SequenceControl) *serval.SequenceSettings {
		return &serval.SequenceSettings{Controls: c}
	}
	history := func(h ...serval.SequenceHistory) *serval.SequenceSettings {
		return &serval.SequenceSettings{History: h}
	}
	for i, c := range []struct {
		fixture string
		s       serval.ModelSettings
		want    string
	}{
		{"accumulate", serval.ModelSettings{Sequence: state(serval.SequenceState{Input: "s", Output: "STATE_OUT"})}, "sequence.states[0].input: the model has no input 's'"},
		{"accumulate", serval.ModelSettings{Sequence: state(serval.SequenceState{Input: "STATE_IN", Output: "s"})}, "sequence.states[0].output: the model has no output 's'"},
		{"second", serval.ModelSettings{Sequence: state(serval.SequenceState{Input: "scale", Output: "y"})}, "sequence.states[0].output: 'y' is FP32, the input 'scale' is INT64; a state needs the same numeric type"},
		{"second", serval.ModelSettings{Sequence: state(serval.SequenceState{Input: "h", Output: "y"})}, "sequence.states[0].output: 'y' has shape [-1,1], which cannot become the input 'h' of shape [2,-1,3]"},
		{"second", serval.ModelSettings{Sequence: state(serval.SequenceState{Input: "h", Output: "h_next", Axis: 3})}, "sequence.states: 'h' has shape [2,-1,3] of FP32, which has no dimension 3 to batch along"},
		{"second", serval.ModelSettings{Sequence: state(serval.SequenceState{Input: "h", Output: "h_next", Axis: 1, Shape: []int64{2}})}, "sequence.states[0].shape: [2] has no dimension 1, which axis names"},
		{"second", serval.ModelSettings{Sequence: state(serval.SequenceState{Input: "h", Output: "h_next", Axis: 1, Shape: []int64{2, 1, 4}})}, "sequence.states[0].shape: [2,1,4] does not fit the input 'h'"},
		{"second", serval.ModelSettings{Sequence: state(serval.SequenceState{Input: "h", Output: "h_next", Axis: 1, Shape: []int64{2, 5, 3}})}, "sequence.states[0].shape: [2,5,3] must have 1 as dimension 1: a sequence is one row"},
		{"longer", serval.ModelSettings{Sequence: state(serval.SequenceState{Input: "past", Output: "past_next", Shape: []int64{1, 1 << 40}})}, "is too large for a state"},
		{"accumulate", serval.ModelSettings{Sequence: state(serval.SequenceState{Input: "STATE_IN", Output: "STATE_OUT", File: "../x"})}, "sequence.states[0].file: \"../x\" must be a path inside the model's folder"},
		{"accumulate", serval.ModelSettings{Sequence: state(serval.SequenceState{Input: "STATE_IN", Output: "STATE_OUT", File: "none"})}, "sequence.states[0].file: openat none: no such file"},
		{"accumulate", serval.ModelSettings{Sequence: state(serval.SequenceState{Input: "STATE_IN", Output: "STATE_OUT", File: "model.onnx"})}, "bytes, the state of shape [1,1] takes 4"},
		{"accumulate", serval.ModelSettings{Sequence: control(serval.SequenceControl{Input: "GO", Kind: "start"})}, "sequence.controls[0].input: the model has no input 'GO'"},
		{"accumulate", serval.ModelSettings{Sequence: control(serval.SequenceControl{Input: "START", Kind: "begin"})}, `sequence.controls[0].kind: "begin"; use start, end, ready or id`},
		{"second", serval.ModelSettings{Sequence: control(serval.SequenceControl{Input: "h", Kind: "start"})}, "sequence.controls[0].input: 'h' has shape [2,-1,3]; a control is one value"},
		{"controls", serval.ModelSettings{Sequence: control(serval.SequenceControl{Input: "CORRID", Kind: "start", False: -1})}, `sequence.controls[0].input: 'CORRID' cannot hold it: "-1" is no UINT64`},
		{"accumulate", serval.ModelSettings{Sequence: control(serval.SequenceControl{Input: "START", Kind: "start"}, serval.SequenceControl{Input: "START", Kind: "end"})}, "sequence.controls[1].input: 'START' is taken by sequence.controls[0].input already"},
		{"window", serval.ModelSettings{Sequence: history(serval.SequenceHistory{Input: "z", Size: 1})}, "sequence.history[0].input: clients give no input 'z'"},
		{"window", serval.ModelSettings{Sequence: history(serval.SequenceHistory{Input: "x"})}, "sequence.history[0].size: 0; use a number from 1"},
		{"named", serval.ModelSettings{Sequence: history(serval.SequenceHistory{Input: "INPUT", Size: 1})}, "sequence.history[0].input: 'INPUT' is BYTES"},
		{"accumulate", serval.ModelSettings{Sequence: history(serval.SequenceHistory{Input: "INPUT", Size: 1})}, "sequence.history[0].size: 1 leaves nothing of the last dimension of [-1,1]"},
		{"second", serval.ModelSettings{Constants: map[string]string{"rate": "1"}}, "constants.rate: the model has no such input"},
		{"second", serval.ModelSettings{Constants: map[string]string{"scale": "1.5"}}, `constants.scale: "1.5" is no INT64`},
		{"second", serval.ModelSettings{Constants: map[string]string{"h": "1"}}, "constants.h: the input has shape [2,-1,3], a constant is one value"},
		{"second", serval.ModelSettings{Dims: map[string]int64{"n": 1}}, "dims.n: no input has a dynamic dimension of that name; those that have names are: batch, width"},
		{"second", serval.ModelSettings{Dims: map[string]int64{"width": 0}}, "dims.width: 0; use a size from 1"},
	} {
		if _, err := stateful(t, c.fixture, c.s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d: %v\nwant %s", i, err, c.want)
		}
	}
}

func TestDirectHasAsManySequencesAsRows(t *testing.T) {
	for mode, want := range map[string]int{"auto": 3 * 16, "off": 3} {
		s := accumulating()
		s.Strategy = "direct"
		o := mustOpen(t, "accumulate", serval.ModelSettings{Instances: 3, Batching: serval.BatchSettings{Mode: mode, Max: 16}, Sequence: s})
		if got := o.Settings.Sequence.MaxSequences; got != want {
			t.Errorf("batching %s: max_sequences is %d, want %d", mode, got, want)
		}
	}
}

// TestConstantsWithInstances wants several instances that share a model, each with its own constants and staging.
func TestConstantsWithInstances(t *testing.T) {
	o := mustOpen(t, "second", serval.ModelSettings{Instances: 3, Constants: map[string]string{"scale": "2"}, Sequence: &serval.SequenceSettings{
		States: []serval.SequenceState{{Input: "h", Output: "h_next", Axis: 1}}}})
	done := make(chan error)
	for k := range 24 {
		go func() {
			sum := float32(0)
			for i := range 50 {
				x := float32((k + i) % 5)
				got, err := send(t.Context(), o.Loaded, serval.Sequence{ID: string(rune('a' + k)), Start: i == 0}, fp32s("x", x))
				if want := fmt.Sprintf("y[1,1]=%v", 21*sum+2*x); err != nil || got != want {
					done <- fmt.Errorf("sequence %d, call %d: %s, %v; want %s", k, i, got, err, want)
					return
				}
				sum += x
			}
			done <- nil
		}()
	}
	for range 24 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
