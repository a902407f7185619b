package format

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"serval"
	"serval/stream"
)

// Chat is a JSON object with a conversation (messages) or a text to go on with (prompt), as OpenAI's clients write them, and
// an answer in text.
type Chat struct {
	System    string   `yaml:"system" doc:"put before the messages of those that have no system message"`
	MaxTokens int      `yaml:"max_tokens" doc:"most tokens of an answer, where the message does not say; 0: the model's default" min:"0"`
	Pass      []string `yaml:"pass" doc:"members of the message that the result has too, as they are"`
	Text      bool     `yaml:"text" doc:"the result is the answer's text alone, and not an object around it"`
}

type chat struct{ opt Chat }

func newChat(o *Chat) (*chat, error) {
	for _, p := range o.Pass {
		if slices.Contains([]string{memberModel, memberVersion, memberTrace, "text", "finish_reason", "usage", "tool_calls"}, p) {
			return nil, wrong("pass", "format chat: pass names %q, which is a member of results already", p)
		}
	}
	return &chat{*o}, nil
}

// wish is the part of a message that is read.
type wish struct {
	Messages    []turn          `json:"messages"`
	Prompt      *string         `json:"prompt"`
	MaxTokens   *int            `json:"max_tokens"`
	Temperature *float64        `json:"temperature"`
	TopP        *float64        `json:"top_p"`
	Seed        *int64          `json:"seed"`
	Stop        json.RawMessage `json:"stop"`
}

type turn struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// Decode implements stream.Format.
func (f *chat) Decode(m *stream.Message, model *serval.ModelInfo, call *stream.Call) error {
	if model.Language == nil || !model.Language.Generate {
		return misfit("model '%s' does not answer with text, which format chat asks for", model.Name)
	}
	var w wish
	if err := json.Unmarshal(m.Value, &w); err != nil {
		return wrong("", "the message is not the JSON object that format chat takes: %v", err)
	}
	g := serval.Generation{Limit: w.MaxTokens, Temperature: w.Temperature, TopP: w.TopP, Seed: w.Seed}
	if g.Limit == nil && f.opt.MaxTokens > 0 {
		g.Limit = &f.opt.MaxTokens
	}
	if g.Limit != nil && *g.Limit < 1 {
		return wrong("max_tokens", "max_tokens is %d; it must be 1 or more", *g.Limit)
	}
	var err error
	if g.Stop, err = texts(w.Stop); err != nil {
		return wrong("stop", "stop must be a text, or a list of texts")
	}
	switch {
	case w.Prompt != nil && w.Messages == nil:
		call.Input = &serval.Completion{Text: *w.Prompt, Generation: g}
	case w.Prompt == nil && len(w.Messages) > 0:
		c := &serval.Chat{Generation: g}
		if f.opt.System != "" && w.Messages[0].Role != "system" && w.Messages[0].Role != "developer" {
			c.Messages = append(c.Messages, serval.Message{Role: "system", Content: f.opt.System})
		}
		for i, t := range w.Messages {
			content, err := contentOf(t.Content)
			if err != nil || t.Role == "" {
				return wrong("messages", "messages[%d] must have a role and a content of text", i)
			}
			c.Messages = append(c.Messages, serval.Message{Role: t.Role, Content: content})
		}
		call.Input = c
	default:
		return wrong("messages", `the message must have either "messages" or "prompt"`)
	}
	return f.keep(m, call)
}

func (f *chat) keep(m *stream.Message, call *stream.Call) error {
	if len(f.opt.Pass) == 0 {
		return nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(m.Value, &all); err != nil {
		return wrong("", "the message is not a JSON object: %v", err)
	}
	var keep []passed
	for _, name := range f.opt.Pass {
		if v, ok := all[name]; ok {
			keep = append(keep, passed{name, v})
		}
	}
	call.Carry = keep
	return nil
}

// texts reads a text or a list of them; nothing is none.
func texts(raw json.RawMessage) (list []string, err error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if raw[0] == '"' {
		list = []string{""}
		return list, json.Unmarshal(raw, &list[0])
	}
	return list, json.Unmarshal(raw, &list)
}

// contentOf reads a text, or a list of parts that are texts.
func contentOf(raw json.RawMessage) (string, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) > 0 && raw[0] == '[' {
		var parts []struct {
			Type string  `json:"type"`
			Text *string `json:"text"`
		}
		if err := json.Unmarshal(raw, &parts); err != nil {
			return "", err
		}
		var b strings.Builder
		for _, p := range parts {
			if p.Type != "text" || p.Text == nil {
				return "", wrong("content", "only parts of text are taken")
			}
			b.WriteString(*p.Text)
		}
		return b.String(), nil
	}
	var s string
	return s, json.Unmarshal(raw, &s)
}

// Encode implements stream.Format.
func (f *chat) Encode(_ *stream.Message, call *stream.Call, a *stream.Answer, out *stream.Message) error {
	if a.Outputs != nil || a.Vectors != nil {
		return misfit("model '%s' does not answer with text, which format chat carries", a.Model.Name)
	}
	if f.opt.Text {
		out.Value = []byte(a.Text)
		typed(out, textType)
		return nil
	}
	members := map[string]any{
		"text": a.Text, "finish_reason": string(a.Finish), memberModel: a.Model.Name, memberVersion: a.Model.Version,
		"usage": map[string]int64{"prompt_tokens": a.Usage.Prompt, "completion_tokens": a.Usage.Completion, "total_tokens": a.Usage.Prompt + a.Usage.Completion},
	}
	if id := traceID(a.Trace); id != "" {
		members[memberTrace] = id
	}
	if len(a.Calls) > 0 {
		var list []any
		for _, c := range a.Calls {
			list = append(list, map[string]any{"id": c.ID, "type": "function", "function": map[string]string{"name": c.Name, "arguments": c.Arguments}})
		}
		members["tool_calls"] = list
	}
	keep, _ := call.Carry.([]passed)
	for _, p := range keep {
		members[p.name] = json.RawMessage(p.value)
	}
	var err error
	out.Value, err = json.Marshal(members)
	typed(out, jsonType)
	return err
}
