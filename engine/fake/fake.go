package fake

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"serval"
	"serval/engine"
)

// Engine loads model.fake files.
type Engine struct{}

// New makes the engine; it has no settings.
func New() *Engine { return &Engine{} }

// Name is "fake".
func (*Engine) Name() string { return "fake" }

// Platform is "serval_fake".
func (*Engine) Platform() string { return "serval_fake" }

const file = "model.fake"

// Detect wants a model.fake.
func (*Engine) Detect(dir fs.FS) (engine.Rank, error) {
	if _, err := fs.Stat(dir, file); err != nil {
		return engine.NotMine, fmt.Errorf("no %s", file)
	}
	return engine.Preferred, nil
}

type tensorSpec struct {
	Name     string   `json:"name"`
	Datatype string   `json:"datatype"`
	Shape    []int64  `json:"shape"`
	Symbols  []string `json:"symbols"`
}

type modelSpec struct {
	Inputs   []tensorSpec `json:"inputs"`
	Outputs  []tensorSpec `json:"outputs"`
	Delay    string       `json:"delay"`     // of every execution
	RowDelay string       `json:"row_delay"` // for every row on top
	Steps    int          `json:"steps"`
	Slots    int          `json:"slots"` // sequences at once, with steps; 0: no limit
	Faults   []faultSpec  `json:"faults"`
}

// Open reads the file.
func (*Engine) Open(_ context.Context, spec engine.Spec) (engine.Model, error) {
	raw, err := os.ReadFile(filepath.Join(spec.Dir, file))
	if err != nil {
		return nil, err
	}
	var m modelSpec
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	b := base{faults: &faults{list: m.Faults, dir: spec.Dir}}
	if err := b.faults.check(); err != nil {
		return nil, fmt.Errorf("%s: faults: %w", file, err)
	}
	if b.sig.Inputs, err = infos(m.Inputs); err != nil {
		return nil, fmt.Errorf("%s: inputs: %w", file, err)
	}
	if b.sig.Outputs, err = infos(m.Outputs); err != nil {
		return nil, fmt.Errorf("%s: outputs: %w", file, err)
	}
	if b.delay, err = duration(m.Delay); err != nil {
		return nil, fmt.Errorf("%s: delay: %w", file, err)
	}
	if b.rowDelay, err = duration(m.RowDelay); err != nil {
		return nil, fmt.Errorf("%s: row_delay: %w", file, err)
	}
	if err := b.faults.happen("open", nil); err != nil {
		return nil, err
	}
	if m.Steps > 0 {
		return &decoder{base: b, steps: m.Steps, slots: m.Slots}, nil
	}
	if len(b.sig.Inputs) != len(b.sig.Outputs) {
		return nil, fmt.Errorf("%s: %d inputs and %d outputs; output i repeats input i", file, len(b.sig.Inputs), len(b.sig.Outputs))
	}
	return &batcher{base: b}, nil
}

func infos(specs []tensorSpec) ([]serval.TensorInfo, error) {
	var out []serval.TensorInfo
	for _, s := range specs {
		d, ok := serval.ParseDType(s.Datatype)
		if !ok {
			return nil, fmt.Errorf("%q: unknown datatype %q", s.Name, s.Datatype)
		}
		out = append(out, serval.TensorInfo{Name: s.Name, DType: d, Shape: s.Shape, Symbols: s.Symbols})
	}
	return out, nil
}

func duration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	return time.ParseDuration(s)
}

type base struct {
	sig             serval.Signature
	delay, rowDelay time.Duration
	faults          *faults
}

func (b *base) Signature() serval.Signature { return b.sig }
func (b *base) Memory() engine.Memory       { return engine.Memory{} }
func (b *base) Close() error                { return nil }

func (b *base) wait(rows int64) {
	if d := b.delay + time.Duration(rows)*b.rowDelay; d > 0 {
		time.Sleep(d)
	}
}

// batcher answers every call with a copy of its inputs.
type batcher struct {
	base
	outputs []serval.Tensor
}

// Execute copies.
func (b *batcher) Execute(_ context.Context, calls []*engine.Call) error {
	b.wait(engine.Rows(calls))
	size := 0
	for _, c := range calls {
		if err := b.faults.happen("call", c); err != nil {
			c.Fail(err)
		}
		for i := range c.Inputs {
			size += len(c.Inputs[i].Data)
		}
	}
	hold := engine.NewBuffer(size)
	defer hold.Release()
	at := 0
	for _, c := range calls {
		if c.Answered() {
			continue
		}
		b.outputs = b.outputs[:0]
		for i := range c.Inputs {
			in := &c.Inputs[i]
			n := copy(hold.Data[at:], in.Data)
			b.outputs = append(b.outputs, serval.Tensor{Name: b.sig.Outputs[i].Name, DType: in.DType, Shape: in.Shape, Data: hold.Data[at : at+n]})
			at += n
		}
		c.Answer(b.outputs, hold)
	}
	return nil
}

// Share makes another instance.
func (b *batcher) Share(context.Context) (engine.Batcher, error) { return &batcher{base: b.base}, nil }

// decoder counts up for every live call.
type decoder struct {
	base
	steps, slots int
	live         []*sequence
}

type sequence struct {
	call *engine.Call
	step int
}

// Admit takes a call if there is a slot.
func (d *decoder) Admit(c *engine.Call) error {
	if d.slots > 0 && len(d.live) >= d.slots {
		return engine.ErrNoRoom
	}
	if err := d.faults.happen("call", c); err != nil {
		return err
	}
	d.live = append(d.live, &sequence{call: c})
	return nil
}

var scalar = []int64{1}

// Step emits one chunk for every call.
func (d *decoder) Step(context.Context) (int, error) {
	d.wait(int64(len(d.live)))
	keep, moved := d.live[:0], false
	for _, s := range d.live {
		if s.step > 0 {
			if err := d.faults.happen("step", s.call); err != nil {
				s.call.Stream.End(err)
				moved = true
				continue
			}
		}
		switch {
		case s.call.Stream.Canceled():
			s.call.Stream.End(context.Canceled)
			moved = true
			continue
		case s.call.Stream.Emit(d.chunk(s)):
			s.step++
			moved = true
		}
		if s.step == d.steps {
			s.call.Stream.End(nil)
			continue
		}
		keep = append(keep, s)
	}
	clear(d.live[len(keep):])
	d.live = keep
	if !moved && len(keep) > 0 {
		return len(keep), engine.ErrStalled
	}
	return len(keep), nil
}

func (d *decoder) chunk(s *sequence) serval.Chunk {
	c := serval.Chunk{Usage: serval.Usage{Rows: 1}, Output: &serval.Tensors{List: []serval.Tensor{{
		Name: d.sig.Outputs[0].Name, DType: serval.Int32, Shape: scalar, Data: binary.LittleEndian.AppendUint32(nil, uint32(s.step)),
	}}}}
	if s.step == d.steps-1 {
		c.Finish = serval.Stop
	}
	return c
}
