package ollama

import (
	"bytes"
	"encoding/json"

	"serval"
)

// common are the fields that chat and generate share.
type common struct {
	Model       string          `json:"model"`
	Stream      *bool           `json:"stream"` // nil: true
	Format      json.RawMessage `json:"format"`
	Options     options         `json:"options"`
	KeepAlive   json.RawMessage `json:"keep_alive"`
	Think       json.RawMessage `json:"think"`
	Logprobs    bool            `json:"logprobs"`
	TopLogprobs *int            `json:"top_logprobs"`
}

// options are those that have a meaning here; the others concern how Ollama loads a model.
type options struct {
	NumPredict       *int     `json:"num_predict"`
	NumCtx           *int     `json:"num_ctx"`
	Seed             *int64   `json:"seed"`
	Temperature      *float64 `json:"temperature"`
	TopK             *int     `json:"top_k"`
	TopP             *float64 `json:"top_p"`
	MinP             *float64 `json:"min_p"`
	RepeatLastN      *int     `json:"repeat_last_n"`
	RepeatPenalty    *float64 `json:"repeat_penalty"`
	PresencePenalty  *float64 `json:"presence_penalty"`
	FrequencyPenalty *float64 `json:"frequency_penalty"`
	Stop             []string `json:"stop"`
}

type chatRequest struct {
	common
	Messages []message `json:"messages"`
	Tools    []struct {
		Type     string `json:"type"`
		Function struct {
			Name        string          `json:"name"`
			Description string          `json:"description"`
			Parameters  json.RawMessage `json:"parameters"`
		} `json:"function"`
	} `json:"tools"`
}

type message struct {
	Role     string            `json:"role"`
	Content  string            `json:"content"`
	Thinking string            `json:"thinking"`
	Images   []json.RawMessage `json:"images"`
	Calls    []toolCall        `json:"tool_calls"`
	ToolName string            `json:"tool_name"`
	CallID   string            `json:"tool_call_id"`
}

type toolCall struct {
	ID       string `json:"id,omitempty"`
	Function struct {
		Index     int             `json:"index"`
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

type generateRequest struct {
	common
	Prompt  string            `json:"prompt"`
	System  string            `json:"system"`
	Suffix  string            `json:"suffix"`
	Images  []json.RawMessage `json:"images"`
	Context []int             `json:"context"`
	Raw     bool              `json:"raw"`
}

func (c *common) streams() bool { return c.Stream == nil || *c.Stream }

// unload says that keep_alive asks for the model to go at once.
func (c *common) unload() bool {
	v := string(bytes.Trim(c.KeepAlive, `" `))
	return v == "0" || v == "0s" || v == "0m" || v == "0h"
}

// wish is what the options say. A context of another size than the model's is not made: num_ctx is not looked at, and a
// prompt that does not fit is refused.
func (c *common) wish() (serval.Generation, error) {
	o := &c.Options
	w := serval.Generation{
		Temperature: o.Temperature, TopP: o.TopP, MinP: o.MinP, TopK: o.TopK, Seed: o.Seed, Stop: o.Stop, RepetitionPenalty: o.RepeatPenalty,
		PresencePenalty: o.PresencePenalty, FrequencyPenalty: o.FrequencyPenalty, PenaltyWindow: o.RepeatLastN,
	}
	if o.NumPredict != nil && *o.NumPredict >= 0 { // -1 and -2: what fits
		w.Limit = o.NumPredict
	}
	if c.Logprobs {
		top := 0
		if c.TopLogprobs != nil {
			top = *c.TopLogprobs
		}
		w.Logprobs = &top
	}
	switch text := string(bytes.TrimSpace(c.Format)); {
	case text == "" || text == "null" || text == `""`:
	case text == `"json"`:
		w.Constraint = &serval.Constraint{Kind: "json_object", Param: "format"}
	case text[0] == '{':
		w.Constraint = &serval.Constraint{Kind: "json_schema", Source: text, Param: "format"}
	default:
		return w, serval.Errorf(serval.InvalidArgument, "format must be \"json\" or a JSON schema").At("format")
	}
	return w, nil
}

// think is on, off, or nil: as the model does.
func (c *common) think() *bool {
	switch string(bytes.TrimSpace(c.Think)) {
	case "", "null":
		return nil
	case "false":
		off := false
		return &off
	}
	on := true // true, or how hard: "low", "medium", "high"
	return &on
}

func (r *chatRequest) chat() (*serval.Chat, error) {
	wish, err := r.wish()
	if err != nil {
		return nil, err
	}
	c := &serval.Chat{Generation: wish, Think: r.think()}
	for i := range r.Messages {
		m := &r.Messages[i]
		if len(m.Images) > 0 {
			return nil, serval.Errorf(serval.InvalidArgument, "messages[%d] has images; this server's models take text only", i).At("messages")
		}
		out := serval.Message{Role: m.Role, Content: m.Content, Reasoning: m.Thinking, Name: m.ToolName, CallID: m.CallID}
		for _, call := range m.Calls {
			out.Calls = append(out.Calls, serval.ToolCall{ID: call.ID, Name: call.Function.Name, Arguments: string(call.Function.Arguments)})
		}
		c.Messages = append(c.Messages, out)
	}
	for _, t := range r.Tools {
		c.Tools = append(c.Tools, serval.Tool{Name: t.Function.Name, Description: t.Function.Description, Parameters: t.Function.Parameters})
	}
	if n := len(c.Messages); n > 0 && c.Messages[n-1].Role == "assistant" && len(c.Messages[n-1].Calls) == 0 {
		c.Continue = true
	}
	return c, nil
}

// input is a prompt as it stands with raw, else a conversation of one turn.
func (r *generateRequest) input() (serval.Input, error) {
	wish, err := r.wish()
	switch {
	case err != nil:
		return nil, err
	case len(r.Images) > 0:
		return nil, serval.Errorf(serval.InvalidArgument, "images: this server's models take text only").At("images")
	case r.Suffix != "":
		return nil, serval.Errorf(serval.InvalidArgument, "suffix: this server's models go on with a text, and do not fill into one").At("suffix")
	case len(r.Context) > 0:
		return nil, serval.Errorf(serval.InvalidArgument, "context is not supported; send the conversation to /api/chat").At("context")
	case r.Raw:
		return &serval.Completion{Text: r.Prompt, Special: true, Generation: wish}, nil
	}
	c := &serval.Chat{Generation: wish, Think: r.think()}
	if r.System != "" {
		c.Messages = append(c.Messages, serval.Message{Role: "system", Content: r.System})
	}
	c.Messages = append(c.Messages, serval.Message{Role: "user", Content: r.Prompt})
	return c, nil
}
