package serval

import "time"

// Sequence places a request among those that share a model's state: chunks of one sound, messages of one conversation.
type Sequence struct {
	ID    string // numbers in decimal; "" = the request belongs to none
	Start bool   // the first of its sequence: the state is new
	End   bool   // the last one: the state is let go
}

// SequenceSettings make a model stateful: calls of one sequence run one after another, each with the state that the last
// one left, while calls of different sequences share batches. The names follow Triton's sequence batcher.
type SequenceSettings struct {
	Strategy     string            `yaml:"strategy" doc:"oldest (default): any number of sequences up to max_sequences; direct: only as many as fit into one batch of every instance" enum:"oldest,direct"`
	MaxSequences int               `yaml:"max_sequences" doc:"sequences at the same time; the start of one more waits; 0: oldest 1024, direct batching.max × instances" min:"0"`
	IdleTimeout  time.Duration     `yaml:"idle_timeout" doc:"a sequence without a request for this long is let go; 0: 30s"`
	Controls     []SequenceControl `yaml:"controls" doc:"inputs that tell the model where in its sequence it is; clients do not give them"`
	States       []SequenceState   `yaml:"states" doc:"inputs that get what an output was in the last call; clients see neither"`
	History      []SequenceHistory `yaml:"history" doc:"inputs that the end of the last call's is laid before"`
}

// SequenceControl is an input that Serval fills in.
type SequenceControl struct {
	Input string  `yaml:"input" doc:"name of the model's input"`
	Kind  string  `yaml:"kind" doc:"start, end, ready or id (the sequence's own number or text)" enum:"start,end,ready,id"`
	False float64 `yaml:"false" doc:"value for no; default 0"`
	True  float64 `yaml:"true" doc:"value for yes; 0 with false 0 too: 1"`
}

// SequenceState is a pair of an input and the output that becomes it.
type SequenceState struct {
	Input  string  `yaml:"input" doc:"name of the model's input"`
	Output string  `yaml:"output" doc:"name of the model's output"`
	Axis   int     `yaml:"axis" doc:"dimension that is the batch in both; default 0" min:"0"`
	Shape  []int64 `yaml:"shape" doc:"of one sequence's first state, with 1 for the batch; default: the input's, with 1 where it is dynamic"`
	File   string  `yaml:"file" doc:"file in the model's folder with the first state as raw little-endian bytes; default: zeros"`
}

// SequenceHistory carries the end of an input over: a window that overlaps the one before.
type SequenceHistory struct {
	Input string `yaml:"input" doc:"name of the input"`
	Size  int64  `yaml:"size" doc:"elements of the last dimension that come from the call before; zeros at the start" min:"1"`
}
