package openai

import (
	"bytes"
	"encoding/json"
	"slices"

	"serval"
)

// responseRequest is the body of POST /v1/responses.
type responseRequest struct {
	Model        string          `json:"model"`
	Input        json.RawMessage `json:"input"`
	Instructions *string         `json:"instructions"`
	Previous     *string         `json:"previous_response_id"`
	Conversation json.RawMessage `json:"conversation"`
	Prompt       json.RawMessage `json:"prompt"`
	Stream       bool            `json:"stream"`
	Store        *bool           `json:"store"`
	Background   bool            `json:"background"`
	Temperature  *float64        `json:"temperature"`
	TopP         *float64        `json:"top_p"`
	MaxOutput    *int            `json:"max_output_tokens"`
	Tools        []responseTool  `json:"tools"`
	ToolChoice   json.RawMessage `json:"tool_choice"`
	Parallel     *bool           `json:"parallel_tool_calls"`
	Text         *struct {
		Format *responseFormat `json:"format"`
	} `json:"text"`
	Reasoning *struct {
		Effort *string `json:"effort"`
	} `json:"reasoning"`
	Metadata    map[string]string `json:"metadata"`
	Truncation  *string           `json:"truncation"`
	TopLogprobs *int              `json:"top_logprobs"`
	Include     []string          `json:"include"`
	User        *string           `json:"user"`
}

type responseTool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      *bool           `json:"strict"`
}

type responseFormat struct {
	Type   string          `json:"type"`
	Name   string          `json:"name,omitempty"`
	Schema json.RawMessage `json:"schema,omitempty"`
	Strict *bool           `json:"strict,omitempty"`
}

// responseItem is an item of the input, or of an earlier answer's output.
type responseItem struct {
	Type      string          `json:"type"`
	Role      string          `json:"role"`
	Content   content         `json:"content"`
	CallID    string          `json:"call_id"`
	Name      string          `json:"name"`
	Arguments string          `json:"arguments"`
	Output    json.RawMessage `json:"output"`
}

// items are the input as a list: a text is a user's message.
func (r *responseRequest) items() ([]json.RawMessage, error) {
	if raw(r.Input) == "" {
		return nil, serval.Errorf(serval.InvalidArgument, "input is missing").At("input")
	}
	if r.Input[0] == '"' {
		item, err := json.Marshal(map[string]any{"type": "message", "role": "user", "content": []any{map[string]any{"type": "input_text", "text": json.RawMessage(r.Input)}}})
		return []json.RawMessage{item}, err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(r.Input, &list); err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "input must be a string or a list of items").At("input")
	}
	if len(list) == 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "input is empty").At("input")
	}
	return list, nil
}

// check refuses what is not done here.
func (r *responseRequest) check() error {
	switch {
	case raw(r.Conversation) != "":
		return serval.Errorf(serval.InvalidArgument, "conversation is not supported; use previous_response_id").At("conversation")
	case raw(r.Prompt) != "":
		return serval.Errorf(serval.InvalidArgument, "prompt is not supported: this server stores no prompts").At("prompt")
	case r.Background && r.Store != nil && !*r.Store:
		return serval.Errorf(serval.InvalidArgument, "background needs store: an answer that is not stored cannot be asked for").At("background")
	case r.Background && r.Stream:
		return serval.Errorf(serval.InvalidArgument, "background and stream cannot be had together: ask for the answer by its id").At("stream")
	case r.MaxOutput != nil && *r.MaxOutput < 0:
		return notNegative("max_output_tokens", r.MaxOutput)
	case r.Truncation != nil && *r.Truncation == "auto":
		return serval.Errorf(serval.InvalidArgument, "truncation is \"auto\": what does not fit is refused here, not cut; leave it out").At("truncation")
	}
	return nil
}

// chat makes the Input of the request and of the items before it, which end with its own.
func (r *responseRequest) chat(items []json.RawMessage) (*serval.Chat, error) {
	c := &serval.Chat{OneCall: r.Parallel != nil && !*r.Parallel}
	c.Limit, c.Temperature, c.TopP = r.MaxOutput, r.Temperature, r.TopP
	for _, what := range r.Include {
		if what == "message.output_text.logprobs" {
			top := 0
			c.Logprobs = &top
		}
	}
	if r.TopLogprobs != nil && *r.TopLogprobs > 0 {
		c.Logprobs = r.TopLogprobs
	}
	if r.Reasoning != nil && r.Reasoning.Effort != nil {
		think := *r.Reasoning.Effort != "none" && *r.Reasoning.Effort != "minimal"
		c.Think, c.Variables = &think, map[string]any{"reasoning_effort": *r.Reasoning.Effort}
	}
	if r.Text != nil && r.Text.Format != nil {
		switch f := r.Text.Format; f.Type {
		case "text":
		case "json_object":
			c.Constraint = &serval.Constraint{Kind: "json_object", Param: "text.format"}
		case "json_schema":
			if c.Constraint = constraint("json_schema", raw(f.Schema), "text.format.schema"); c.Constraint == nil {
				return nil, serval.Errorf(serval.InvalidArgument, "text.format.schema is missing").At("text.format.schema")
			}
		default:
			return nil, serval.Errorf(serval.InvalidArgument, "text.format.type is %q; it must be text, json_object or json_schema", f.Type).At("text.format")
		}
	}
	if r.Instructions != nil {
		c.Messages = append(c.Messages, serval.Message{Role: "system", Content: *r.Instructions})
	}
	for i, text := range items {
		var item responseItem
		if err := json.Unmarshal(text, &item); err != nil {
			if e := serval.AsError(err); e.Code != serval.Internal {
				return nil, e
			}
			return nil, serval.Errorf(serval.InvalidArgument, "input[%d] is not an item: %v", i, err).At("input")
		}
		if err := addItem(c, &item, i); err != nil {
			return nil, err
		}
	}
	return c, r.tools(c)
}

func addItem(c *serval.Chat, item *responseItem, at int) error {
	last := func() *serval.Message {
		if n := len(c.Messages); n > 0 && c.Messages[n-1].Role == "assistant" {
			return &c.Messages[n-1]
		}
		c.Messages = append(c.Messages, serval.Message{Role: "assistant"})
		return &c.Messages[len(c.Messages)-1]
	}
	switch item.Type {
	case "", "message":
		if item.Role == "" {
			return serval.Errorf(serval.InvalidArgument, "input[%d].role is missing", at).At("input")
		}
		if n := len(c.Messages); n > 0 && item.Role == "assistant" && c.Messages[n-1].Role == "assistant" && c.Messages[n-1].Content == "" && len(c.Messages[n-1].Calls) == 0 {
			c.Messages[n-1].Content = item.Content.text // the reasoning before it is of the same turn
			break
		}
		c.Messages = append(c.Messages, serval.Message{Role: item.Role, Content: item.Content.text})
	case "function_call":
		m := last()
		m.Calls = append(m.Calls, serval.ToolCall{ID: item.CallID, Name: item.Name, Arguments: item.Arguments})
	case "function_call_output":
		var out content
		if err := out.UnmarshalJSON(bytes.TrimSpace(item.Output)); err != nil {
			return err
		}
		if !called(c.Messages, item.CallID) {
			return serval.Errorf(serval.InvalidArgument, "input[%d]: no function_call with the call_id '%s' comes before its output; send it, too, or name the response that made it as previous_response_id", at, item.CallID).At("input")
		}
		c.Messages = append(c.Messages, serval.Message{Role: "tool", CallID: item.CallID, Content: out.text})
	case "reasoning":
		m := serval.Message{Role: "assistant", Reasoning: item.Content.text}
		if m.Reasoning != "" {
			c.Messages = append(c.Messages, m)
		}
	default:
		return serval.Errorf(serval.InvalidArgument, "input[%d] is of type %q; this server knows message, function_call, function_call_output and reasoning", at, item.Type).At("input")
	}
	return nil
}

// called says whether one of the messages has the call.
func called(list []serval.Message, id string) bool {
	return slices.ContainsFunc(list, func(m serval.Message) bool {
		return slices.ContainsFunc(m.Calls, func(c serval.ToolCall) bool { return c.ID == id })
	})
}

func (r *responseRequest) tools(c *serval.Chat) error {
	for i := range r.Tools {
		t := &r.Tools[i]
		if t.Type != "function" {
			return serval.Errorf(serval.InvalidArgument, "tools[%d].type is %q; this server runs no tools of its own: only function", i, t.Type).At("tools")
		}
		tool := serval.Tool{Name: t.Name, Strict: t.Strict == nil || *t.Strict}
		if t.Description != nil {
			tool.Description = *t.Description
		}
		if raw(t.Parameters) != "" {
			tool.Parameters = t.Parameters
		}
		c.Tools = append(c.Tools, tool)
	}
	if raw(r.ToolChoice) == "" {
		return nil
	}
	if r.ToolChoice[0] == '"' {
		return json.Unmarshal(r.ToolChoice, &c.ToolMode)
	}
	var named struct {
		Type string `json:"type"`
		Name string `json:"name"`
		Mode string `json:"mode"`
	}
	if err := json.Unmarshal(r.ToolChoice, &named); err != nil || named.Type != "function" || named.Name == "" {
		return serval.Errorf(serval.InvalidArgument, "tool_choice must be auto, none, required, or name a function").At("tool_choice")
	}
	c.ToolMode, c.ToolName = "named", named.Name
	return nil
}
