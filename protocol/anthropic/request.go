package anthropic

import (
	"bytes"
	"encoding/json"
	"strings"

	"serval"
)

// request is the body of POST /v1/messages.
type request struct {
	Model       string    `json:"model"`
	MaxTokens   *int      `json:"max_tokens"`
	Messages    []message `json:"messages"`
	System      blocks    `json:"system"`
	Temperature *float64  `json:"temperature"`
	TopP        *float64  `json:"top_p"`
	TopK        *int      `json:"top_k"`
	Stop        []string  `json:"stop_sequences"`
	Stream      bool      `json:"stream"`
	Tools       []tool    `json:"tools"`
	ToolChoice  *struct {
		Type       string `json:"type"`
		Name       string `json:"name"`
		NoParallel bool   `json:"disable_parallel_tool_use"`
	} `json:"tool_choice"`
	Thinking *struct {
		Type string `json:"type"`
	} `json:"thinking"`
	Format *struct {
		Format *outputFormat `json:"format"`
	} `json:"output_config"`
	OutputFormat *outputFormat `json:"output_format"`
}

type outputFormat struct {
	Type   string          `json:"type"`
	Schema json.RawMessage `json:"schema"`
}

type message struct {
	Role    string `json:"role"`
	Content blocks `json:"content"`
}

type tool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	InputSchema json.RawMessage `json:"input_schema"`
	Strict      bool            `json:"strict"`
}

// block is a piece of content.
type block struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	Thinking  string          `json:"thinking"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
	Content   results         `json:"content"`
	IsError   bool            `json:"is_error"`
}

// blocks is a string, or a list of blocks.
type blocks []block

// UnmarshalJSON reads either.
func (b *blocks) UnmarshalJSON(raw []byte) error {
	switch {
	case bytes.Equal(raw, []byte("null")):
		return nil
	case raw[0] == '"':
		*b = blocks{{Type: "text"}}
		return json.Unmarshal(raw, &(*b)[0].Text)
	}
	if err := json.Unmarshal(raw, (*[]block)(b)); err != nil {
		return serval.Errorf(serval.InvalidArgument, "content must be a string or a list of blocks: %v", err).At("messages")
	}
	return nil
}

// results is what a tool said: a string, or a list of blocks that hold no blocks.
type results []result

type result struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// UnmarshalJSON reads either.
func (r *results) UnmarshalJSON(raw []byte) error {
	switch {
	case bytes.Equal(raw, []byte("null")):
		return nil
	case raw[0] == '"':
		*r = results{{Type: "text"}}
		return json.Unmarshal(raw, &(*r)[0].Text)
	}
	if err := json.Unmarshal(raw, (*[]result)(r)); err != nil {
		return serval.Errorf(serval.InvalidArgument, "tool_result: content must be a string or a list of text blocks: %v", err).At("messages")
	}
	return nil
}

func (r results) text() (string, error) {
	var all []string
	for i := range r {
		if r[i].Type != "text" {
			return "", serval.Errorf(serval.InvalidArgument, "tool_result: a block of type %q; this server's models take text only", r[i].Type).At("messages")
		}
		all = append(all, r[i].Text)
	}
	return strings.Join(all, "\n"), nil
}

// text is that of blocks which may only be text.
func (b blocks) text(where string) (string, error) {
	var all []string
	for i := range b {
		if b[i].Type != "text" {
			return "", serval.Errorf(serval.InvalidArgument, "%s: a block of type %q; this server's models take text only", where, b[i].Type).At("messages")
		}
		all = append(all, b[i].Text)
	}
	return strings.Join(all, "\n"), nil
}

// chat makes the Input of the body.
func (r *request) chat() (*serval.Chat, error) {
	c := &serval.Chat{Generation: serval.Generation{Limit: r.MaxTokens, Temperature: r.Temperature, TopP: r.TopP, TopK: r.TopK, Stop: r.Stop}}
	if r.Thinking != nil {
		think := r.Thinking.Type != "disabled"
		c.Think = &think
	}
	format := r.OutputFormat
	if r.Format != nil && r.Format.Format != nil {
		format = r.Format.Format
	}
	if format != nil {
		if format.Type != "json_schema" {
			return nil, serval.Errorf(serval.InvalidArgument, "output_format.type is %q; it must be json_schema", format.Type).At("output_format")
		}
		c.Constraint = &serval.Constraint{Kind: "json_schema", Source: string(format.Schema), Param: "output_format.schema"}
	}
	if len(r.System) > 0 {
		text, err := r.System.text("system")
		if err != nil {
			return nil, err
		}
		c.Messages = append(c.Messages, serval.Message{Role: "system", Content: text})
	}
	for i := range r.Messages {
		if err := r.Messages[i].add(c, i); err != nil {
			return nil, err
		}
	}
	if len(r.Messages) == 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "messages: at least one message is required").At("messages")
	}
	if len(c.Messages) == 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "messages: none of them holds text, a tool_use or a tool_result").At("messages")
	}
	last := &c.Messages[len(c.Messages)-1]
	c.Continue = last.Role == "assistant" && len(last.Calls) == 0
	return c, r.tools(c)
}

// add appends what a message holds: the results of tools are messages of their own, before its text.
func (m *message) add(c *serval.Chat, at int) error {
	if m.Role != "user" && m.Role != "assistant" {
		return serval.Errorf(serval.InvalidArgument, "messages.%d.role: %q; it must be user or assistant", at, m.Role).At("messages")
	}
	out := serval.Message{Role: m.Role}
	var texts []string
	for i := range m.Content {
		b := &m.Content[i]
		switch {
		case b.Type == "text":
			texts = append(texts, b.Text)
		case b.Type == "thinking" && m.Role == "assistant":
			out.Reasoning += b.Thinking
		case b.Type == "redacted_thinking" && m.Role == "assistant":
		case b.Type == "tool_use" && m.Role == "assistant":
			out.Calls = append(out.Calls, serval.ToolCall{ID: b.ID, Name: b.Name, Arguments: string(b.Input)})
		case b.Type == "tool_result" && m.Role == "user":
			text, err := b.Content.text()
			if err != nil {
				return err
			}
			if b.IsError {
				text = "Error: " + text
			}
			name, called := nameOf(c.Messages, b.ToolUseID)
			if !called {
				return serval.Errorf(serval.InvalidArgument, "messages.%d.content.%d: no tool_use with the id '%s' comes before its tool_result; send it, too", at, i, b.ToolUseID).At("messages")
			}
			c.Messages = append(c.Messages, serval.Message{Role: "tool", Content: text, CallID: b.ToolUseID, Name: name})
		default:
			return serval.Errorf(serval.InvalidArgument, "messages.%d.content.%d: a block of type %q of the role %s; this server's models take text, tool_use and tool_result", at, i, b.Type, m.Role).At("messages")
		}
	}
	out.Content = strings.Join(texts, "\n")
	if len(texts) == 0 && len(out.Calls) == 0 && out.Reasoning == "" {
		if len(m.Content) == 0 {
			return serval.Errorf(serval.InvalidArgument, "messages.%d.content: it is empty", at).At("messages")
		}
		return nil // results only
	}
	if n := len(c.Messages); n > 0 && c.Messages[n-1].Role == m.Role && len(c.Messages[n-1].Calls) == 0 {
		before := &c.Messages[n-1] // this API joins turns of one role; templates want them to alternate
		if before.Content != "" && out.Content != "" {
			before.Content += "\n"
		}
		before.Content += out.Content
		before.Reasoning += out.Reasoning
		before.Calls = out.Calls
		return nil
	}
	c.Messages = append(c.Messages, out)
	return nil
}

// nameOf is the tool that a call was for.
func nameOf(messages []serval.Message, id string) (name string, called bool) {
	for i := range messages {
		for _, c := range messages[i].Calls {
			if c.ID == id {
				return c.Name, true
			}
		}
	}
	return "", false
}

func (r *request) tools(c *serval.Chat) error {
	for i := range r.Tools {
		t := &r.Tools[i]
		if t.Type != "" && t.Type != "custom" {
			return serval.Errorf(serval.InvalidArgument, "tools.%d.type: %q; this server runs no tools of its own", i, t.Type).At("tools")
		}
		c.Tools = append(c.Tools, serval.Tool{Name: t.Name, Description: t.Description, Parameters: t.InputSchema, Strict: t.Strict})
	}
	if r.ToolChoice == nil {
		return nil
	}
	c.OneCall = r.ToolChoice.NoParallel
	switch r.ToolChoice.Type {
	case "auto", "none":
		c.ToolMode = r.ToolChoice.Type
	case "any":
		c.ToolMode = "required"
	case "tool":
		c.ToolMode, c.ToolName = "named", r.ToolChoice.Name
	default:
		return serval.Errorf(serval.InvalidArgument, "tool_choice.type: %q; it must be auto, any, tool or none", r.ToolChoice.Type).At("tool_choice")
	}
	return nil
}
