package openai

import (
	"bytes"
	"encoding/json"
	"slices"

	"serval"
)

// chatRequest is the body of POST /v1/chat/completions.
type chatRequest struct {
	generation
	Messages      []chatMessage   `json:"messages"`
	MaxCompletion *int            `json:"max_completion_tokens"`
	Logprobs      bool            `json:"logprobs"`
	TopLogprobs   *int            `json:"top_logprobs"`
	Tools         []chatTool      `json:"tools"`
	ToolChoice    json.RawMessage `json:"tool_choice"`
	ParallelTools *bool           `json:"parallel_tool_calls"`
	Functions     []chatFunction  `json:"functions"`
	FunctionCall  json.RawMessage `json:"function_call"`
	Format        *format         `json:"response_format"`
	Effort        string          `json:"reasoning_effort"`
	Modalities    []string        `json:"modalities"`

	TemplateArgs map[string]any `json:"chat_template_kwargs"`
	Continue     bool           `json:"continue_final_message"`
}

type chatMessage struct {
	Role      string     `json:"role"`
	Content   content    `json:"content"`
	Name      string     `json:"name"`
	Calls     []chatCall `json:"tool_calls"`
	CallID    string     `json:"tool_call_id"`
	Reasoning string     `json:"reasoning_content"`
	Function  *struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function_call"`
}

type chatCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

type chatTool struct {
	Type     string       `json:"type"`
	Function chatFunction `json:"function"`
}

type chatFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      *bool           `json:"strict"`
}

func (f *chatFunction) tool() serval.Tool {
	t := serval.Tool{Name: f.Name, Description: f.Description, Strict: f.Strict != nil && *f.Strict}
	if !bytes.Equal(f.Parameters, []byte("null")) {
		t.Parameters = f.Parameters
	}
	return t
}

// format is response_format.
type format struct {
	Type   string `json:"type"`
	Schema *struct {
		Name   string          `json:"name"`
		Schema json.RawMessage `json:"schema"`
		Strict *bool           `json:"strict"`
	} `json:"json_schema"`
	Bare json.RawMessage `json:"schema"` // llama-server: of json_object
}

// constraint is what the format asks of the answer; nil: nothing.
func (f *format) constraint() (*serval.Constraint, error) {
	switch f.Type {
	case "text", "":
		return nil, nil
	case "json_object":
		if c := constraint("json_schema", raw(f.Bare), "response_format.schema"); c != nil {
			return c, nil
		}
		return &serval.Constraint{Kind: "json_object", Param: "response_format"}, nil
	case "json_schema":
		if f.Schema == nil || raw(f.Schema.Schema) == "" {
			return nil, serval.Errorf(serval.InvalidArgument, "response_format.json_schema.schema is missing").At("response_format")
		}
		return constraint("json_schema", raw(f.Schema.Schema), "response_format.json_schema.schema"), nil
	}
	return nil, serval.Errorf(serval.InvalidArgument, "response_format.type is %q; it must be text, json_object or json_schema", f.Type).At("response_format")
}

// chat makes the Input of the body.
func (c *chatRequest) chat() (*serval.Chat, error) {
	param, limit := "max_tokens", c.MaxTokens
	if c.MaxCompletion != nil {
		param, limit = "max_completion_tokens", c.MaxCompletion
	}
	wish, err := c.wish(param, limit)
	if err != nil {
		return nil, err
	}
	if c.TopLogprobs != nil && !c.Logprobs {
		return nil, serval.Errorf(serval.InvalidArgument, "top_logprobs may only be given where logprobs is true").At("top_logprobs")
	}
	if c.Logprobs {
		top := 0
		if c.TopLogprobs != nil {
			top = *c.TopLogprobs
		}
		wish.Logprobs = &top
	}
	if c.Format != nil {
		own, err := c.Format.constraint()
		if err != nil {
			return nil, err
		}
		if own != nil && wish.Constraint != nil {
			return nil, serval.Errorf(serval.InvalidArgument, "response_format and %s cannot both be kept: leave one out", wish.Constraint.Param).At("response_format")
		}
		if own != nil {
			wish.Constraint = own
		}
	}
	for _, m := range c.Modalities {
		if m != "text" {
			return nil, serval.Errorf(serval.InvalidArgument, "modalities: this server's models answer with text, not %s", m).At("modalities")
		}
	}
	chat := &serval.Chat{Generation: wish, Variables: c.TemplateArgs, Continue: c.Continue, OneCall: c.ParallelTools != nil && !*c.ParallelTools}
	if chat.Messages, err = messages(c.Messages); err != nil {
		return nil, err
	}
	if c.Effort != "" {
		think := c.Effort != "none"
		chat.Think = &think
		if chat.Variables == nil {
			chat.Variables = map[string]any{}
		}
		chat.Variables["reasoning_effort"] = c.Effort
	}
	return chat, c.tools(chat)
}

func messages(list []chatMessage) ([]serval.Message, error) {
	out := make([]serval.Message, len(list))
	for i := range list {
		m := &list[i]
		if m.Role == "" {
			return nil, serval.Errorf(serval.InvalidArgument, "messages[%d].role is missing", i).At("messages")
		}
		out[i] = serval.Message{Role: m.Role, Content: m.Content.text, Reasoning: m.Reasoning, Name: m.Name, CallID: m.CallID}
		for _, c := range m.Calls {
			if c.Type != "function" && c.Type != "" {
				return nil, serval.Errorf(serval.InvalidArgument, "messages[%d].tool_calls: type is %q; it must be function", i, c.Type).At("messages")
			}
			out[i].Calls = append(out[i].Calls, serval.ToolCall{ID: c.ID, Name: c.Function.Name, Arguments: c.Function.Arguments})
		}
		if m.Function != nil {
			out[i].Calls = append(out[i].Calls, serval.ToolCall{Name: m.Function.Name, Arguments: m.Function.Arguments})
		}
		if !m.Content.given && len(out[i].Calls) == 0 {
			return nil, serval.Errorf(serval.InvalidArgument, "messages[%d].content is missing", i).At("messages")
		}
		if m.Role == "tool" && m.CallID == "" {
			return nil, serval.Errorf(serval.InvalidArgument, "messages[%d].tool_call_id is missing: a tool's message says which call it answers", i).At("messages")
		}
	}
	return out, answered(out, "messages")
}

// answered refuses the answer of a tool that nobody called: it must follow the assistant's message with the call, after other
// answers at most. A conversation that was cut in between is what it usually is, and models make up the rest.
func answered(list []serval.Message, param string) error {
	var calls []serval.ToolCall
	for i := range list {
		m := &list[i]
		if m.Role != "tool" {
			calls = m.Calls
			continue
		}
		if !slices.ContainsFunc(calls, func(c serval.ToolCall) bool { return c.ID == m.CallID || c.ID == "" }) {
			return serval.Errorf(serval.InvalidArgument, "%s: the tool's answer to the call '%s' (message %d) does not follow an assistant's message with that call; send the call, too", param, m.CallID, i).At(param)
		}
	}
	return nil
}

// tools reads tools and tool_choice, or their older forms functions and function_call.
func (c *chatRequest) tools(chat *serval.Chat) error {
	for i := range c.Tools {
		if t := c.Tools[i].Type; t != "function" {
			return serval.Errorf(serval.InvalidArgument, "tools[%d].type is %q; it must be function", i, t).At("tools")
		}
		chat.Tools = append(chat.Tools, c.Tools[i].Function.tool())
	}
	choice, param := c.ToolChoice, "tool_choice"
	if len(c.Functions) > 0 {
		for i := range c.Functions {
			chat.Tools = append(chat.Tools, c.Functions[i].tool())
		}
		chat.OneCall = true
		choice, param = c.FunctionCall, "function_call"
	}
	if raw(choice) == "" {
		return nil
	}
	if choice[0] == '"' {
		return json.Unmarshal(choice, &chat.ToolMode)
	}
	var named struct {
		Type     string `json:"type"`
		Name     string `json:"name"`
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
		Allowed *struct {
			Mode  string     `json:"mode"`
			Tools []chatTool `json:"tools"`
		} `json:"allowed_tools"`
	}
	if err := json.Unmarshal(choice, &named); err != nil {
		return serval.Errorf(serval.InvalidArgument, "%s must be auto, none, required, or name a function", param).At(param)
	}
	if named.Allowed != nil {
		return allow(chat, named.Allowed.Mode, named.Allowed.Tools)
	}
	chat.ToolMode, chat.ToolName = "named", named.Function.Name
	if chat.ToolName == "" {
		chat.ToolName = named.Name
	}
	if chat.ToolName == "" {
		return serval.Errorf(serval.InvalidArgument, "%s names no function", param).At(param)
	}
	return nil
}

// allow keeps of the tools those that tool_choice's allowed_tools lists.
func allow(chat *serval.Chat, mode string, allowed []chatTool) error {
	var kept []serval.Tool
	for _, a := range allowed {
		found := false
		for _, t := range chat.Tools {
			if t.Name == a.Function.Name {
				kept, found = append(kept, t), true
			}
		}
		if !found {
			return serval.Errorf(serval.InvalidArgument, "tool_choice allows the tool '%s', which is not among tools", a.Function.Name).At("tool_choice")
		}
	}
	chat.Tools, chat.ToolMode = kept, mode
	return nil
}
