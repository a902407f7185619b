package oip

// The step that REST and gRPC share: from decoded tensors and parameters to a serval.Request, and from a Chunk to the
// outputs as the client asked for them. A wire goes through it like this:
//
//	c := a *call, zero or after reset                        // one goroutine owns it
//	c.req.ID, .Protocol, .Credential = …                     // c.req.Model = modelRef(name, version)
//	err = c.setParam(name, value)                            // each request parameter; the rest are ignored
//	s := c.addInput(serval.Tensor{Name, DType, Shape, Data}) // each input; Data may alias the wire's own buffer
//	err = s.setParam(input, name, value)                     //   and its parameters
//	w := c.addWant(name); err = w.setParam(name, value)      // each requested output and its parameters
//	err = p.prepare(c)                                       // shared-memory inputs, sizes checked, c.req.Input set
//	err = p.backend.Handler.Handle(ctx, &c.req, sink)        // in sink.Send: outs, err := p.results(c, chunk.Output)
//
// results gives []result in the order of the answer; what it holds is good until Send returns. A result whose want names a
// region was written there already: answer it without data. c.req.Model.Version is the version that answered.

import (
	"math"
	"time"

	"serval"
)

// call is one infer call between its wire and the Handler.
type call struct {
	req          serval.Request
	in           serval.Tensors
	from         []source // where the data of in.List[i] is, unless it is there already
	wants        []want   // the outputs asked for; empty: all
	binaryOutput bool     // REST: outputs whose want says nothing are answered as binary data
	emptyFinal   bool     // gRPC streams: triton_enable_empty_final_response

	outs   []result
	copied []byte  // inputs read from shared memory
	shared uint64  // bytes of them
	text   []byte  // elements of classification outputs
	dims   []int64 // their shapes
}

// source is what the parameters of an input say about its data.
type source struct {
	binarySize int64 // binary_data_size; -1 where it is not given
	region     string
	offset     uint64
	size       uint64
	shared     bool // shared_memory_region was given
	sized      bool // shared_memory_byte_size was given
}

// want is one requested output.
type want struct {
	name      string
	binary    bool // REST: binary_data
	binarySet bool
	classes   int // classification: answer the k highest as strings; 0: the tensor itself
	region    string
	offset    uint64
	size      uint64
	shared    bool
	sized     bool
}

// result is one output as the client asked for it.
type result struct {
	serval.Tensor
	want   *want // nil where the client named no outputs
	shared bool  // written to want.region: answer it without data
}

func (c *call) addInput(t serval.Tensor) *source {
	c.in.List = append(c.in.List, t)
	c.from = append(c.from, source{binarySize: -1})
	return &c.from[len(c.from)-1]
}

func (c *call) addWant(name string) *want {
	c.wants = append(c.wants, want{name: name})
	return &c.wants[len(c.wants)-1]
}

// reset makes c ready for another call and keeps its memory.
func (c *call) reset() {
	clear(c.in.List)
	clear(c.in.Want)
	clear(c.from)
	clear(c.wants)
	clear(c.outs)
	*c = call{
		in:   serval.Tensors{List: c.in.List[:0], Want: c.in.Want[:0]},
		from: c.from[:0], wants: c.wants[:0], outs: c.outs[:0],
		copied: c.copied[:0], text: c.text[:0], dims: c.dims[:0],
	}
}

// modelRef is the model that a path or message names. A version given apart wins over one in the name.
func modelRef(name, version string) (serval.Ref, error) {
	if version != "" {
		return serval.Ref{Name: name, Version: version}, nil
	}
	return serval.ParseRef(name)
}

// prepare makes c.req complete: it fetches inputs from shared memory, checks that each tensor holds what it declares, and
// names the wanted outputs.
func (p *Protocol) prepare(c *call) error {
	for i := range c.in.List {
		t, s := &c.in.List[i], &c.from[i]
		if s.shared {
			if err := p.fromRegion(c, t, s); err != nil {
				return err
			}
		}
		for j := range i {
			if c.in.List[j].Name == t.Name {
				return serval.Errorf(serval.InvalidArgument, "input '%s' is given twice", t.Name).At(t.Name)
			}
		}
		if err := t.Check(); err != nil {
			return err
		}
	}
	for i := range c.wants {
		w := &c.wants[i]
		for j := range i {
			if c.wants[j].name == w.name {
				return serval.Errorf(serval.InvalidArgument, "output '%s' is asked for twice", w.name).At(w.name)
			}
		}
		if err := p.checkWant(w); err != nil {
			return err
		}
		c.in.Want = append(c.in.Want, w.name)
	}
	c.req.Input = &c.in
	return nil
}

func (p *Protocol) fromRegion(c *call, t *serval.Tensor, s *source) error {
	if t.Data != nil || s.binarySize >= 0 {
		return serval.Errorf(serval.InvalidArgument, "input '%s' has both data and a shared_memory_region; leave one out", t.Name).At(t.Name)
	}
	if !s.sized {
		return serval.Errorf(serval.InvalidArgument, "input '%s': shared_memory_region '%s' needs shared_memory_byte_size beside it", t.Name, s.region).At(t.Name)
	}
	if err := p.readRegion(c, t, s); err != nil {
		e := serval.AsError(err)
		return serval.Errorf(e.Code, "input '%s': %s", t.Name, e.Message).At(t.Name)
	}
	return nil
}

// readRegion copies the input out of its region, into memory of c. Nothing is allocated before the region is known to
// hold that much, nor more than a body may have.
func (p *Protocol) readRegion(c *call, t *serval.Tensor, s *source) error {
	if err := p.shm.check(s.region, s.offset, s.size); err != nil {
		return err
	}
	c.shared += s.size
	if limit := p.backend.Config.MaxBody; limit > 0 && (s.size > uint64(limit) || c.shared > uint64(limit)) {
		return serval.Errorf(serval.TooLarge, "shared_memory_byte_size is %d, %d with the inputs before it; the limit for a request is %d bytes", s.size, c.shared, limit)
	}
	at, size := (len(c.copied)+dataAlign-1)&^(dataAlign-1), int(s.size)
	if cap(c.copied)-at < size {
		c.copied, at = make([]byte, 0, max(size, 64)), 0 // earlier inputs keep the old memory; a tiny one would not be aligned
	}
	c.copied = c.copied[:at+size]
	t.Data = c.copied[at : at+size : at+size]
	return p.shm.read(t.Data, s.region, s.offset)
}

// checkWant refuses a region that is not there before the model runs, and not after.
func (p *Protocol) checkWant(w *want) error {
	if !w.shared {
		return nil
	}
	if w.classes > 0 {
		return serval.Errorf(serval.InvalidArgument, "output '%s': classification cannot be answered in shared memory; leave one of the two out", w.name).At(w.name)
	}
	if !w.sized {
		return serval.Errorf(serval.InvalidArgument, "output '%s': shared_memory_region '%s' needs shared_memory_byte_size beside it", w.name, w.region).At(w.name)
	}
	if err := p.shm.check(w.region, w.offset, w.size); err != nil {
		e := serval.AsError(err)
		return serval.Errorf(e.Code, "output '%s': %s", w.name, e.Message).At(w.name)
	}
	return nil
}

// results turns an answer into what the client asked for: classification applied, shared memory written. A nil output is
// no results.
func (p *Protocol) results(c *call, out serval.Output) ([]result, error) {
	c.outs, c.text, c.dims = c.outs[:0], c.text[:0], c.dims[:0]
	if out == nil {
		return nil, nil
	}
	tensors, ok := out.(*serval.Tensors)
	if !ok {
		return nil, serval.Errorf(serval.Unimplemented, "model '%s' does not answer with tensors; call it by the protocol of its task", c.req.Model.Name)
	}
	for i := range tensors.List {
		r := result{Tensor: tensors.List[i], want: c.wantOf(i, tensors.List[i].Name)}
		if w := r.want; w != nil {
			switch {
			case w.classes > 0:
				if err := c.classify(&r.Tensor, w.classes); err != nil {
					return nil, err
				}
			case w.shared:
				if err := p.toRegion(&r, w); err != nil {
					return nil, err
				}
			}
		}
		c.outs = append(c.outs, r)
	}
	return c.outs, nil
}

func (c *call) wantOf(i int, name string) *want {
	if i < len(c.wants) && c.wants[i].name == name {
		return &c.wants[i]
	}
	for i := range c.wants {
		if c.wants[i].name == name {
			return &c.wants[i]
		}
	}
	return nil
}

func (p *Protocol) toRegion(r *result, w *want) error {
	if uint64(len(r.Data)) > w.size {
		return serval.Errorf(serval.InvalidArgument, "output '%s' takes %d bytes, the shared memory given for it (region '%s') has %d", r.Name, len(r.Data), w.region, w.size).At(r.Name)
	}
	if err := p.shm.write(r.Data, w.region, w.offset, w.size); err != nil {
		return err
	}
	r.shared = true
	return nil
}

// timeoutOf is that many microseconds; 0 where that is longer than can be counted.
func timeoutOf(micros uint64) time.Duration {
	if micros > math.MaxInt64/uint64(time.Microsecond) {
		return 0
	}
	return time.Duration(micros) * time.Microsecond
}
