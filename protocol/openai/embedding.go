package openai

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"

	"serval"
	"serval/protocol"
)

// embeddingRequest is the body of POST /v1/embeddings.
type embeddingRequest struct {
	Model      string     `json:"model"`
	Input      inputTexts `json:"input"`
	Format     string     `json:"encoding_format"`
	Dimensions int        `json:"dimensions"`
	Truncate   int        `json:"truncate_prompt_tokens"` // vLLM's: -1 cuts what is too long
}

type inputTexts []serval.Text

// UnmarshalJSON reads a string, strings, token ids, or lists of them.
func (t *inputTexts) UnmarshalJSON(b []byte) error {
	var err error
	*t, err = readTexts(b, "input", 2048)
	return err
}

type embeddingAnswer struct {
	Object string          `json:"object"`
	Data   []embedding     `json:"data"`
	Model  string          `json:"model"`
	Usage  *embeddingUsage `json:"usage"`
}

type embedding struct {
	Object string `json:"object"`
	Index  int    `json:"index"`
	Vector any    `json:"embedding"` // numbers, or base64 of little-endian float32
}

type embeddingUsage struct {
	Prompt int64 `json:"prompt_tokens"`
	Total  int64 `json:"total_tokens"`
}

// embeddings is POST /v1/embeddings.
func (p *Protocol) embeddings(w http.ResponseWriter, r *http.Request) error {
	var body embeddingRequest
	if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, &body); err != nil {
		return err
	}
	if body.Format != "" && body.Format != "float" && body.Format != "base64" {
		return serval.Errorf(serval.InvalidArgument, "encoding_format is %q; it must be float or base64", body.Format).At("encoding_format")
	}
	req, err := p.request(w, r, body.Model, &serval.Texts{List: body.Input, Dimensions: body.Dimensions, Truncate: body.Truncate == -1})
	if err != nil {
		return err
	}
	answer := embeddingAnswer{Object: "list", Model: body.Model}
	err = p.backend.Handler.Handle(r.Context(), req, serval.SinkFunc(func(c *serval.Chunk) error {
		out, ok := c.Output.(*serval.Embeddings)
		if !ok {
			return serval.Errorf(serval.InvalidArgument, "this model makes no vectors").At("model")
		}
		for _, v := range out.List {
			e := embedding{Object: "embedding", Index: len(answer.Data)}
			if body.Format == "base64" {
				e.Vector = base64.StdEncoding.EncodeToString(floatBytes(v))
			} else {
				e.Vector = append([]float32(nil), v...)
			}
			answer.Data = append(answer.Data, e)
		}
		return nil
	}))
	if err != nil {
		return err
	}
	answer.Usage = &embeddingUsage{req.Usage.Prompt, req.Usage.Prompt}
	out, err := json.Marshal(&answer)
	if err != nil {
		return err
	}
	protocol.WriteJSON(w, http.StatusOK, out)
	return nil
}

func floatBytes(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}
