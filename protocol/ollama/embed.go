package ollama

import (
	"encoding/json"
	"net/http"
	"time"

	"serval"
)

// embed is POST /api/embed.
func (p *Protocol) embed(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Model      string          `json:"model"`
		Input      json.RawMessage `json:"input"`
		Truncate   *bool           `json:"truncate"`
		Dimensions int             `json:"dimensions"`
	}
	if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, &body); err != nil {
		return err
	}
	var texts []string
	var one string
	if json.Unmarshal(body.Input, &one) == nil && len(body.Input) > 0 {
		texts = []string{one}
	} else if json.Unmarshal(body.Input, &texts) != nil {
		return serval.Errorf(serval.InvalidArgument, "input must be a string or a list of strings").At("input")
	}
	in := &serval.Texts{Dimensions: body.Dimensions, Truncate: body.Truncate != nil && *body.Truncate}
	for _, t := range texts {
		in.List = append(in.List, serval.Text{Text: t})
	}
	start := time.Now()
	vectors, req, err := p.vectors(r, body.Model, in)
	if err != nil {
		return err
	}
	return write(w, map[string]any{
		"model": body.Model, "embeddings": vectors, "total_duration": int64(time.Since(start)), "load_duration": 0, "prompt_eval_count": req.Usage.Prompt,
	})
}

// embedOne is POST /api/embeddings, the older form.
func (p *Protocol) embedOne(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Model  string `json:"model"`
		Prompt string `json:"prompt"`
	}
	if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, &body); err != nil {
		return err
	}
	vectors, _, err := p.vectors(r, body.Model, &serval.Texts{List: []serval.Text{{Text: body.Prompt}}})
	if err != nil {
		return err
	}
	return write(w, map[string]any{"embedding": vectors[0]})
}

func (p *Protocol) vectors(r *http.Request, model string, in *serval.Texts) ([][]float32, *serval.Request, error) {
	req, err := p.request(r, model, in)
	if err != nil {
		return nil, nil, err
	}
	var vectors [][]float32
	err = p.backend.Handler.Handle(r.Context(), req, serval.SinkFunc(func(c *serval.Chunk) error {
		out, ok := c.Output.(*serval.Embeddings)
		if !ok {
			return serval.Errorf(serval.InvalidArgument, "this model makes no vectors").At("model")
		}
		for _, v := range out.List {
			vectors = append(vectors, append([]float32(nil), v...))
		}
		return nil
	}))
	return vectors, req, err
}
