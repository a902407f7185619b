package oip

import "serval"

// fill turns the message into the call: model, parameters, inputs with their data, outputs. The tensors' data and shapes
// are the message's.
func (m *inferMessage) fill(c *call) error {
	if m.refusal != nil {
		return m.refusal
	}
	ref, err := modelRef(m.model.s, m.version.s)
	if err != nil {
		return err
	}
	c.req.Model = ref
	c.req.ID = m.id.s
	for i := range m.params {
		if err := c.setParam(m.params[i].name, m.params[i].v); err != nil {
			return err
		}
	}
	if err := m.fillInputs(c); err != nil {
		return err
	}
	for i := range m.outputs {
		o := &m.outputs[i]
		w := c.addWant(o.name.s)
		for j := range o.params {
			if err := w.setParam(o.params[j].name, o.params[j].v); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillInputs adds the inputs and then gives each its data, once m.data moves no more.
func (m *inferMessage) fillInputs(c *call) error {
	raw := 0
	for i := range m.inputs {
		in := &m.inputs[i]
		d, ok := serval.ParseDType(in.datatype.s)
		if !ok {
			return serval.Errorf(serval.InvalidArgument, "input '%s': datatype %q is not one of BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64, BYTES", in.name.s, in.datatype.s).At(in.name.s)
		}
		src := c.addInput(serval.Tensor{Name: in.name.s, DType: d, Shape: in.shape})
		for j := range in.params {
			if err := src.setParam(in.name.s, in.params[j].name, in.params[j].v); err != nil {
				return err
			}
		}
		if err := m.locate(in, d, src.shared, &raw); err != nil {
			return err
		}
	}
	if raw != len(m.raw) {
		return serval.Errorf(serval.InvalidArgument, "unexpected additional input data: raw_input_contents has %d entries, and %d of the %d inputs take one", len(m.raw), raw, len(m.inputs)).At("raw_input_contents")
	}
	for i := range m.inputs {
		if at := m.inputs[i].at; !c.from[i].shared {
			c.in.List[i].Data = m.data[at.from:at.to:at.to]
		}
	}
	return nil
}

// locate says where in m.data an input's data lies: in the next raw contents, or in its typed contents, which are laid down
// there. An input without either is empty, and one in shared memory takes neither.
func (m *inferMessage) locate(in *inputMessage, d serval.DType, shared bool, raw *int) error {
	in.at = span{}
	typed := in.contents != nil && contentsField(in.contents) != ""
	name := in.name.s
	switch {
	case shared && typed:
		return serval.Errorf(serval.InvalidArgument, "input '%s' has both contents and a shared_memory_region; leave one out", name).At(name)
	case shared:
	case len(m.raw) > 0 && typed:
		return serval.Errorf(serval.InvalidArgument, "contents field must not be specified when using raw_input_contents for '%s': send all inputs one way", name).At(name)
	case len(m.raw) > 0:
		if *raw == len(m.raw) {
			return serval.Errorf(serval.InvalidArgument, "input '%s' has no data: raw_input_contents has only %d entries for %d inputs", name, len(m.raw), len(m.inputs)).At(name)
		}
		in.at = m.raw[*raw]
		*raw++
	case typed:
		from := (len(m.data) + dataAlign - 1) &^ (dataAlign - 1)
		data, err := appendContents(grow(m.data, from, 0, 0), name, d, in.contents)
		if err != nil {
			return err
		}
		m.data = data
		in.at = span{from, len(data)}
	}
	return nil
}
