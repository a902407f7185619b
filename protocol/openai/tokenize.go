package openai

import (
	"encoding/json"
	"net/http"

	"serval"
	"serval/protocol"
)

// tokenizeRequest is the body of POST /tokenize: vLLM's (prompt, or a chat), llama-server's (content), or
// text-generation-inference's (inputs). Each gets the answer that its clients read.
type tokenizeRequest struct {
	chatRequest
	Prompt  *string `json:"prompt"`
	Content *string `json:"content"`
	Inputs  *string `json:"inputs"`
	Around  *bool   `json:"add_special_tokens"`
	Special *bool   `json:"parse_special"`
	Strings bool    `json:"return_token_strs"`
	Pieces  bool    `json:"with_pieces"`
}

// tokenize is POST /tokenize.
func (p *Protocol) tokenize(w http.ResponseWriter, r *http.Request) error {
	var body tokenizeRequest
	if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, &body); err != nil {
		return err
	}
	in := &serval.Tokenize{Special: body.Special == nil || *body.Special}
	switch {
	case body.Prompt != nil:
		in.Text, in.Bare = *body.Prompt, body.Around != nil && !*body.Around
	case body.Content != nil: // llama-server adds none unless add_special says so
		in.Text, in.Bare = *body.Content, true
	case body.Inputs != nil:
		in.Text = *body.Inputs
	case body.Messages != nil:
		chat, err := body.chat()
		if err != nil {
			return err
		}
		in.Chat = chat
	default:
		return serval.Errorf(serval.InvalidArgument, "prompt or messages is missing").At("prompt")
	}
	out, err := p.pieces(w, r, body.Model, in)
	if err != nil {
		return err
	}
	if out.IDs == nil {
		out.IDs = []int32{}
	}
	switch {
	case body.Content != nil && body.Pieces:
		type piece struct {
			ID    int32  `json:"id"`
			Piece string `json:"piece"`
		}
		list := make([]piece, len(out.IDs))
		for i, id := range out.IDs {
			list[i] = piece{id, validText([]byte(out.Texts[i]))}
		}
		return write(w, map[string]any{"tokens": list})
	case body.Content != nil:
		return write(w, map[string]any{"tokens": out.IDs})
	case body.Inputs != nil:
		return write(w, spans(out))
	}
	answer := map[string]any{"count": len(out.IDs), "max_model_len": out.Context, "tokens": out.IDs, "token_strs": nil}
	if body.Strings {
		list := make([]string, len(out.Texts))
		for i, t := range out.Texts {
			list[i] = validText([]byte(t))
		}
		answer["token_strs"] = list
	}
	return write(w, answer)
}

// span is a token as text-generation-inference shows one.
type span struct {
	ID    int32  `json:"id"`
	Text  string `json:"text"`
	Start int    `json:"start"`
	Stop  int    `json:"stop"`
}

func spans(out *serval.Pieces) []span {
	list := make([]span, len(out.IDs))
	at := 0
	for i, id := range out.IDs {
		list[i] = span{ID: id, Text: validText([]byte(out.Texts[i])), Start: at, Stop: at + len(out.Texts[i])}
		at += len(out.Texts[i])
	}
	return list
}

// detokenize is POST /detokenize.
func (p *Protocol) detokenize(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Model  string  `json:"model"`
		Tokens []int32 `json:"tokens"`
	}
	if err := p.bodies.ReadObject(r, p.backend.Config.MaxBody, &body); err != nil {
		return err
	}
	out, err := p.pieces(w, r, body.Model, &serval.Detokenize{Tokens: body.Tokens})
	if err != nil {
		return err
	}
	return write(w, map[string]string{"prompt": out.Text, "content": out.Text}) // vLLM's key and llama-server's
}

// tokenizerInfo is GET /tokenizer_info.
func (p *Protocol) tokenizerInfo(w http.ResponseWriter, r *http.Request) error {
	ref, err := p.model(r.URL.Query().Get("model"))
	if err != nil {
		return err
	}
	info, err := p.backend.Models.Model(ref)
	if err != nil {
		return err
	}
	if info.Language == nil {
		return serval.Errorf(serval.InvalidArgument, "model '%s' is no model of text", info.Name).At("model")
	}
	return write(w, map[string]any{"tokenizer_class": "serval", "model_max_length": info.Language.Context, "model": info.Name})
}

// model is the one that is named, or the only one.
func (p *Protocol) model(name string) (serval.Ref, error) {
	if name == "" {
		return protocol.OnlyText(p.backend.Models, func(*serval.Language) bool { return true })
	}
	return serval.ParseRef(name)
}

func (p *Protocol) pieces(w http.ResponseWriter, r *http.Request, model string, in serval.Input) (*serval.Pieces, error) {
	ref, err := p.model(model)
	if err != nil {
		return nil, err
	}
	req, err := p.request(w, r, ref.String(), in)
	if err != nil {
		return nil, err
	}
	var out *serval.Pieces
	err = p.backend.Handler.Handle(r.Context(), req, serval.SinkFunc(func(c *serval.Chunk) error {
		pieces, ok := c.Output.(*serval.Pieces)
		if !ok {
			return serval.Errorf(serval.InvalidArgument, "this model has no tokens").At("model")
		}
		out = pieces
		return nil
	}))
	return out, err
}

func write(w http.ResponseWriter, v any) error {
	out, err := json.Marshal(v)
	if err != nil {
		return err
	}
	protocol.WriteJSON(w, http.StatusOK, out)
	return nil
}
