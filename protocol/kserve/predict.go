package kserve

import (
	"net/http"
	"strings"

	"serval"
	"serval/internal/jsontensor"
	"serval/protocol"
)

// predict answers one request in the form that it came in: rows for rows, columns for columns.
func (p *Protocol) predict(w http.ResponseWriter, r *http.Request, model string) error {
	info, err := p.info(model)
	if err != nil {
		return err
	}
	ref, err := serval.ParseRef(model)
	if err != nil {
		return err
	}
	body, err := p.bodies.Read(nil, r, p.backend.Config.MaxBody)
	if err != nil {
		return err
	}
	d := decoder{sig: &info.Signature, model: info.Name}
	if err := d.request(body); err != nil {
		return err
	}
	req := &serval.Request{
		ID:         r.Header.Get("X-Request-Id"),
		Credential: protocol.Credential(r.Header),
		Trace:      protocol.Trace(r.Header),
		Protocol:   "kserve-v1",
		Model:      ref,
		Input:      &d.in,
	}
	var answer []byte
	err = p.backend.Handler.Handle(r.Context(), req, serval.SinkFunc(func(c *serval.Chunk) error {
		if c.Output == nil {
			return nil
		}
		out, ok := c.Output.(*serval.Tensors)
		if !ok || answer != nil {
			return serval.Errorf(serval.Unimplemented, "model '%s' does not answer with one set of tensors; call it by the protocol of its task", info.Name)
		}
		var err error
		answer, err = appendPredictions([]byte(`{"predictions":`), out, d.rows)
		return err
	}))
	if req.ID != "" {
		w.Header()["X-Request-Id"] = []string{req.ID}
	}
	if err != nil {
		return err
	}
	if answer == nil {
		return serval.Errorf(serval.Internal, "model '%s' gave no answer", info.Name)
	}
	protocol.WriteJSON(w, http.StatusOK, append(answer, '}'))
	return nil
}

// appendPredictions writes the outputs. One output stands alone; several are, for rows, an object for each row, where
// they all have that many rows, and else an object of whole outputs.
func appendPredictions(b []byte, out *serval.Tensors, asRows bool) ([]byte, error) {
	if len(out.List) == 1 {
		return jsontensor.AppendNested(b, &out.List[0])
	}
	if asRows && sameRows(out.List) {
		return appendRows(b, out.List)
	}
	var err error
	for i := range out.List {
		b = appendName(b, i, out.List[i].Name)
		if b, err = jsontensor.AppendNested(b, &out.List[i]); err != nil {
			return b, err
		}
	}
	if len(out.List) == 0 {
		b = append(b, '{')
	}
	return append(b, '}'), nil
}

func appendName(b []byte, i int, name string) []byte {
	if i == 0 {
		b = append(b, '{')
	} else {
		b = append(b, ',')
	}
	return append(jsontensor.AppendString(b, name), ':')
}

func sameRows(list []serval.Tensor) bool {
	for i := range list {
		if len(list[i].Shape) == 0 || list[i].Shape[0] != list[0].Shape[0] {
			return false
		}
	}
	return len(list) > 0
}

func appendRows(b []byte, list []serval.Tensor) ([]byte, error) {
	rows := make([]jsontensor.Rows, len(list))
	for i := range list {
		var err error
		if rows[i], err = jsontensor.NewRows(&list[i]); err != nil {
			return b, err
		}
	}
	b = append(b, '[')
	for n := range list[0].Shape[0] {
		if n > 0 {
			b = append(b, ',')
		}
		for i := range list {
			b = appendName(b, i, list[i].Name)
			var err error
			if b, err = rows[i].Append(b); err != nil {
				return b, err
			}
		}
		b = append(b, '}')
	}
	return append(b, ']'), nil
}

// inputNames lists the model's inputs for an error.
func inputNames(sig *serval.Signature) string {
	var names []string
	for i := range sig.Inputs {
		names = append(names, "'"+sig.Inputs[i].Name+"'")
	}
	return strings.Join(names, ", ")
}
