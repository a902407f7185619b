package serval

import "time"

// TensorSettings declare one input or output as clients see it, where that is not as the artefact has it. A model whose
// inputs are declared has those only; its other ones must have a default, or be filled in by constants or sequence.
type TensorSettings struct {
	Name     string  `yaml:"name" doc:"as clients call it"`
	Source   string  `yaml:"source" doc:"as the artefact calls it; default: the same"`
	Datatype string  `yaml:"datatype" doc:"element type, as in FP32; default: the artefact's" enum:"BOOL,UINT8,UINT16,UINT32,UINT64,INT8,INT16,INT32,INT64,FP16,BF16,FP32,FP64,BYTES"`
	Shape    []int64 `yaml:"shape" doc:"as clients give and get it, whole, -1 where a request chooses; default: the artefact's" min:"-1"`
	Reshape  []int64 `yaml:"reshape" doc:"as the artefact has it, whole, where that differs: its nth -1 is the nth -1 of shape" min:"-1"`
	Optional bool    `yaml:"optional" doc:"inputs: clients may leave it out, if the artefact has a default for it"`

	Class     bool    `yaml:"class" doc:"outputs: of each row the number of its highest value instead of the values, as datatype says (default INT64)"`
	Threshold float64 `yaml:"threshold" doc:"with class, for two classes: the second one if its value is above this; default: if it is the higher one; of a single value 0.5"`
	OnRequest bool    `yaml:"on_request" doc:"outputs: only in the answers to requests that ask for it by name"`
}

// WarmupSettings are one made-up request, run on every instance before a version takes the place of the one before.
type WarmupSettings struct {
	Name   string                 `yaml:"name" doc:"what messages call it"`
	Rows   int                    `yaml:"rows" doc:"how often each input's data is repeated along the first dimension; 0: 1" min:"0"`
	Count  int                    `yaml:"count" doc:"how often it is run; 0: once" min:"0"`
	Inputs map[string]WarmupInput `yaml:"inputs" doc:"by name; the data of one row each"`
}

// WarmupInput is one input of a made-up request.
type WarmupInput struct {
	Datatype string  `yaml:"datatype" doc:"element type; default: the input's"`
	Shape    []int64 `yaml:"shape" doc:"whole, with 1 for the rows" min:"0"`
	Data     string  `yaml:"data" doc:"zero (default), random, or file" enum:"zero,random,file"`
	File     string  `yaml:"file" doc:"with data: file; a file in the model's folder with raw little-endian bytes"`
}

// PriorityPolicy is how requests of one priority wait; what it leaves out is as in queue.
type PriorityPolicy struct {
	Priority  int           `yaml:"priority" doc:"which one, from 1" min:"1"`
	Limit     int           `yaml:"limit" doc:"most of its calls that wait; 0: queue.limit alone" min:"0"`
	Timeout   time.Duration `yaml:"timeout" doc:"longest that they wait; 0: queue.timeout"`
	OnTimeout string        `yaml:"on_timeout" doc:"reject or delay; default: queue.on_timeout" enum:"reject,delay"`

	ClientTimeout string `yaml:"client_timeout" doc:"honour or ignore; default: queue.client_timeout" enum:"honour,ignore"`
}
