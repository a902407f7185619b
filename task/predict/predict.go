package predict

import (
	"context"
	"fmt"
	"strings"

	"serval"
)

// Model checks calls for one version of a model. It is a serval.Handler and safe for concurrent use.
type Model struct {
	what  string
	sig   serval.Signature
	batch bool
	most  int64 // rows of a request; 0: no limit
	usual []string
	next  serval.Handler
}

// New makes the checks for a signature. With batch, all inputs must lead with the same number of rows.
func New(name, version string, sig serval.Signature, batch bool, next serval.Handler) *Model {
	return &Model{what: fmt.Sprintf("model '%s' version %s", name, version), sig: sig, batch: batch, next: next}
}

// Limit bounds the rows of one request; 0 is no bound. It returns m and is for use before the first Handle.
func (m *Model) Limit(rows int64) *Model {
	m.most = rows
	return m
}

// Usual names the outputs of an answer to a request that names none; nil means all. It returns m and is for use before the
// first Handle.
func (m *Model) Usual(outputs []string) *Model {
	m.usual = outputs
	return m
}

// Handle checks the request and passes it on with its inputs in the signature's order.
func (m *Model) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	in, ok := req.Input.(*serval.Tensors)
	if !ok {
		return serval.Errorf(serval.InvalidArgument, "%s takes tensors", m.what)
	}
	ordered, err := m.order(in.List)
	if err != nil {
		return err
	}
	for i := range ordered {
		if err := m.check(&ordered[i], &m.sig.Inputs[i]); err != nil {
			return err
		}
	}
	if err := m.checkRows(ordered); err != nil {
		return err
	}
	for _, name := range in.Want {
		if m.sig.Output(name) < 0 {
			return serval.Errorf(serval.InvalidArgument, "output '%s' is not one of %s; it gives %s", name, m.what, describe(m.sig.Outputs)).At(name)
		}
	}
	if want := in.Want; len(want) > 0 || len(m.usual) > 0 {
		if len(want) == 0 {
			want = m.usual
		}
		sink = &picker{want: want, sig: &m.sig, sink: sink}
	}
	if len(ordered) > 0 && len(in.List) > 0 && &ordered[0] == &in.List[0] {
		return m.next.Handle(ctx, req, sink)
	}
	original := req.Input
	req.Input = &serval.Tensors{List: ordered}
	err2 := m.next.Handle(ctx, req, sink)
	req.Input = original
	return err2
}

// order puts the inputs in the signature's order; where they are so already, nothing is copied.
func (m *Model) order(list []serval.Tensor) ([]serval.Tensor, error) {
	if len(list) == len(m.sig.Inputs) {
		same := true
		for i := range list {
			if list[i].Name != m.sig.Inputs[i].Name {
				same = false
				break
			}
		}
		if same {
			return list, nil
		}
	}
	ordered := make([]serval.Tensor, len(m.sig.Inputs))
	for i := range list {
		at := m.sig.Input(list[i].Name)
		if at < 0 {
			return nil, serval.Errorf(serval.InvalidArgument, "unexpected input '%s' for %s; it takes %s", list[i].Name, m.what, describe(m.sig.Inputs)).At(list[i].Name)
		}
		if ordered[at].Name != "" {
			return nil, serval.Errorf(serval.InvalidArgument, "input '%s' is given twice", list[i].Name).At(list[i].Name)
		}
		ordered[at] = list[i]
	}
	for i := range ordered {
		if ordered[i].Name == "" {
			if info := &m.sig.Inputs[i]; !info.Optional {
				return nil, serval.Errorf(serval.InvalidArgument, "input '%s' is missing for %s; it takes %s", info.Name, m.what, describe(m.sig.Inputs)).At(info.Name)
			}
		}
	}
	return ordered, nil
}

// check compares one input with the signature.
func (m *Model) check(t *serval.Tensor, info *serval.TensorInfo) error {
	if t.Name == "" {
		return nil // optional, not given
	}
	if t.DType != info.DType {
		return serval.Errorf(serval.InvalidArgument, "input '%s' of %s is %s, the request gives %s", t.Name, m.what, info.DType, t.DType).At(t.Name)
	}
	if info.Shape != nil && !fits(t.Shape, info.Shape) {
		return serval.Errorf(serval.InvalidArgument, "input '%s' of %s has shape %s, the request gives %s", t.Name, m.what, shapeOf(info), serval.ShapeString(t.Shape)).At(t.Name)
	}
	return t.Check()
}

func fits(shape, want []int64) bool {
	if len(shape) != len(want) {
		return false
	}
	for i, d := range want {
		if d >= 0 && shape[i] != d {
			return false
		}
	}
	return true
}

// checkRows sees to it that the inputs of a batching model have the same number of rows.
func (m *Model) checkRows(list []serval.Tensor) error {
	if !m.batch {
		return nil
	}
	first := -1
	for i := range list {
		if list[i].Name == "" {
			continue
		}
		if first < 0 {
			first = i
		} else if list[i].Rows() != list[first].Rows() {
			return serval.Errorf(serval.InvalidArgument, "input '%s' has %d rows, input '%s' has %d; all inputs of %s must have the same number of rows", list[i].Name, list[i].Rows(), list[first].Name, list[first].Rows(), m.what).At(list[i].Name)
		}
	}
	if first >= 0 && m.most > 0 && list[first].Rows() > m.most {
		return serval.Errorf(serval.InvalidArgument, "inference request batch-size must be <= %d for %s; input '%s' has %d rows", m.most, m.what, list[first].Name, list[first].Rows()).At(list[first].Name)
	}
	return nil
}

// describe lists tensors for messages: 'x' FP32 [batch,30], …
func describe(infos []serval.TensorInfo) string {
	var b strings.Builder
	for i := range infos {
		if i == 20 {
			fmt.Fprintf(&b, " and %d more", len(infos)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "'%s' %s %s", infos[i].Name, infos[i].DType, shapeOf(&infos[i]))
	}
	return b.String()
}

// shapeOf writes a signature's shape with the names of its dimensions: [batch,30].
func shapeOf(info *serval.TensorInfo) string {
	if info.Shape == nil {
		return "of any shape"
	}
	parts := make([]string, len(info.Shape))
	for i, d := range info.Shape {
		parts[i] = fmt.Sprint(d)
		if d < 0 && i < len(info.Symbols) && info.Symbols[i] != "" {
			parts[i] = info.Symbols[i]
		}
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// picker passes on the outputs asked for, in the order asked, with the labels that the signature has for them.
type picker struct {
	want []string // names of sig's outputs
	sig  *serval.Signature
	sink serval.Sink
}

func (p *picker) Send(c *serval.Chunk) error {
	out, ok := c.Output.(*serval.Tensors)
	if !ok {
		return p.sink.Send(c)
	}
	picked := serval.Tensors{List: make([]serval.Tensor, 0, len(p.want))}
	for _, name := range p.want {
		t := out.Find(name)
		if t == nil {
			return serval.Errorf(serval.Internal, "the model gave no output '%s'", name)
		}
		picked.List = append(picked.List, *t)
		if t.Labels == nil {
			picked.List[len(picked.List)-1].Labels = p.sig.Outputs[p.sig.Output(name)].Labels
		}
	}
	d := *c
	d.Output = &picked
	return p.sink.Send(&d)
}
