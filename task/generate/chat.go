package generate

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"serval"
	"serval/llm/reply"
	"serval/llm/template"
	"serval/llm/vocab"
)

// converse goes on with a conversation.
func (m *Model) converse(ctx context.Context, req *serval.Request, in *serval.Chat, sink serval.Sink) error {
	c, err := m.render(in)
	if err != nil {
		return err
	}
	constraint := in.Constraint
	if len(in.Tools) > 0 && in.ToolMode != "none" {
		forced := in.ToolMode == "required" || in.ToolMode == "named"
		if constraint != nil && forced {
			return serval.Errorf(serval.InvalidArgument, "%s and tool_choice %q cannot both be kept: leave one out", constraint.Param, in.ToolMode).At("tool_choice")
		}
		if constraint == nil {
			if constraint, err = reply.Constrain(c.style, in.Tools, in.ToolMode, in.ToolName, in.OneCall); err != nil {
				return err
			}
		}
	}
	w, err := m.prepare(req, &in.Generation, c.tokens, constraint)
	if err != nil {
		return err
	}
	w.reply = func() *reply.Parser { return reply.New(c.style, in.Tools) }
	return m.run(ctx, req, w, sink)
}

// conversation is a rendered chat.
type conversation struct {
	tokens []int32
	style  reply.Style
}

// roles are those that a message may have; templates know these.
var roles = map[string]string{"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool", "function": "tool"}

// render makes the prompt's tokens of a conversation, by the model's template.
func (m *Model) render(in *serval.Chat) (*conversation, error) {
	if m.chat == nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%s has no chat template: give one as text.template in model.yaml, or send a prompt to the completions endpoint", m.what).At("messages")
	}
	if n := len(in.Messages); in.Continue && n > 1 && in.Messages[n-1].Content == "" && in.Messages[n-1].Role == "assistant" {
		own := *in // nothing is there to go on with: the turn is begun
		own.Messages, own.Continue = in.Messages[:n-1], false
		in = &own
	}
	if err := m.checkChat(in); err != nil {
		return nil, err
	}
	messages, tools := in.Messages, in.Tools
	style := m.style
	if in.ToolMode == "none" {
		tools = nil
	}
	if len(tools) > 0 && !style.TakesTools {
		style = style.Described()
		messages = reply.Describe(style, messages, tools)
		tools = nil
	}
	vars := map[string]any{}
	for k, v := range in.Variables {
		vars[k] = v
	}
	if in.Continue {
		messages = append([]serval.Message(nil), messages...)
		messages[len(messages)-1].Content += cutMark
	}
	vars["messages"] = templateMessages(messages)
	vars["add_generation_prompt"] = !in.Continue
	vars["bos_token"], vars["eos_token"] = m.edge(m.vocab.BOS()), m.edge(m.vocab.EOS())
	if len(tools) > 0 {
		vars["tools"] = templateTools(tools)
	}
	if in.Think != nil {
		vars["enable_thinking"], vars["thinking"] = *in.Think, *in.Think
	}
	text, err := m.chat.Render(vars)
	var raised *template.Error
	switch {
	case errors.As(err, &raised) && raised.Raised: // the template's own words
		return nil, serval.Errorf(serval.InvalidArgument, "messages: the chat template of %s refuses them: %s", m.what, raised.Message).At("messages")
	case err != nil:
		return nil, serval.Errorf(serval.InvalidArgument, "messages: the chat template of %s cannot be rendered with them: %v", m.what, err).At("messages")
	}
	if in.Continue {
		before, _, found := strings.Cut(text, cutMark)
		if !found {
			return nil, serval.Errorf(serval.InvalidArgument, "messages: the last message cannot be gone on with: the chat template does not show its text as it is").At("messages")
		}
		text = before
	}
	style = style.At(text)
	// A template that writes the first token itself must not get it twice.
	around := true
	if bos, ok := m.vocab.BOS(); ok && strings.HasPrefix(text, string(m.vocab.Piece(bos))) {
		around = false
	}
	tokens, err := m.encode(text, "messages", vocab.Options{Around: around, Special: true})
	if err != nil {
		return nil, err
	}
	return &conversation{tokens: tokens, style: style}, nil
}

func (m *Model) edge(id int32, ok bool) string {
	if !ok {
		return ""
	}
	return string(m.vocab.Piece(id))
}

// cutMark stands at the end of a message that is gone on with while it is rendered; what a template puts behind is cut off.
const cutMark = "\u2060\u27e6\u2060here\u2060\u27e7"

// checkChat refuses what no template could render.
func (m *Model) checkChat(in *serval.Chat) error {
	if len(in.Messages) == 0 {
		return serval.Errorf(serval.InvalidArgument, "messages is empty; give at least one message").At("messages")
	}
	for i := range in.Messages {
		if role := in.Messages[i].Role; roles[role] == "" {
			return serval.Errorf(serval.InvalidArgument, "messages[%d].role is %q; it must be one of system, developer, user, assistant, tool", i, role).At("messages")
		}
	}
	if last := &in.Messages[len(in.Messages)-1]; in.Continue && last.Role != "assistant" {
		return serval.Errorf(serval.InvalidArgument, "messages: only an assistant's last message can be gone on with; it is of role %q", last.Role).At("messages")
	}
	seen := map[string]bool{}
	for i := range in.Tools {
		t := &in.Tools[i]
		if t.Name == "" || seen[t.Name] {
			return serval.Errorf(serval.InvalidArgument, "tools[%d]: the name %q is empty or given twice", i, t.Name).At("tools")
		}
		seen[t.Name] = true
	}
	switch in.ToolMode {
	case "", "auto", "none":
	case "required", "named":
		if len(in.Tools) == 0 {
			return serval.Errorf(serval.InvalidArgument, "tool_choice asks for a call, and there are no tools").At("tool_choice")
		}
		if in.ToolMode == "named" && !seen[in.ToolName] {
			return serval.Errorf(serval.InvalidArgument, "tool_choice names the tool '%s', which is not among tools", in.ToolName).At("tool_choice")
		}
	default:
		return serval.Errorf(serval.InvalidArgument, "tool_choice is %q; it must be auto, none, required, or name a function", in.ToolMode).At("tool_choice")
	}
	return nil
}

// templateMessages are messages as templates know them: the dicts of Hugging Face's chat format, in its order of keys.
func templateMessages(messages []serval.Message) []any {
	list := make([]any, len(messages))
	for i := range messages {
		msg := &messages[i]
		d := template.NewDict("role", roles[msg.Role], "content", msg.Content)
		if msg.Name != "" {
			d.Set("name", msg.Name)
		}
		if msg.Reasoning != "" {
			d.Set("reasoning_content", msg.Reasoning)
			d.Set("thinking", msg.Reasoning) // the same for gpt-oss's templates
		}
		if msg.CallID != "" {
			d.Set("tool_call_id", msg.CallID)
		}
		if len(msg.Calls) > 0 {
			calls := make([]any, len(msg.Calls))
			for j, c := range msg.Calls {
				var arguments any = c.Arguments
				if json.Valid([]byte(c.Arguments)) {
					arguments = json.RawMessage(c.Arguments)
				}
				calls[j] = template.NewDict("id", c.ID, "type", "function", "function", template.NewDict("name", c.Name, "arguments", arguments))
			}
			d.Set("tool_calls", calls)
		}
		list[i] = d
	}
	return list
}

// templateTools are tools in OpenAI's form, which templates write out as JSON, in this order of keys.
func templateTools(tools []serval.Tool) []any {
	list := make([]any, len(tools))
	for i := range tools {
		t := &tools[i]
		function := struct {
			Name        string          `json:"name"`
			Description string          `json:"description,omitempty"`
			Parameters  json.RawMessage `json:"parameters,omitempty"`
		}{t.Name, t.Description, t.Parameters}
		raw, err := json.Marshal(struct {
			Type     string `json:"type"`
			Function any    `json:"function"`
		}{"function", function})
		if err != nil {
			raw = json.RawMessage("null")
		}
		list[i] = json.RawMessage(raw)
	}
	return list
}
