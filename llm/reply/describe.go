package reply

import (
	"bytes"
	"encoding/json"
	"strings"

	"serval"
)

// Describe tells a model about tools whose template does not: in the system message, or before the first user's where there are
// no system messages; earlier calls and what tools answered become text. messages is left as it is.
func Describe(s Style, messages []serval.Message, tools []serval.Tool) []serval.Message {
	var b strings.Builder
	b.WriteString("# Tools\n\nYou may call one or more functions to help with the request. You are given their signatures as JSON within <tools></tools>:\n<tools>")
	for i := range tools {
		b.WriteByte('\n')
		b.Write(signature(&tools[i]))
	}
	b.WriteString("\n</tools>\n\nFor each call, give back a JSON object with the function's name and arguments within <tool_call></tool_call>:\n" +
		"<tool_call>\n{\"name\": <function's name>, \"arguments\": <object of arguments>}\n</tool_call>\n" +
		"What a function answers comes within <tool_response></tool_response>.")
	about := b.String()
	made := make([]serval.Message, 0, len(messages)+1)
	for i := range messages {
		m := messages[i]
		switch {
		case m.Role == "tool" || m.Role == "function":
			text := "<tool_response>\n" + m.Content + "\n</tool_response>"
			if n := len(made); n > 0 && i > 0 && messages[i-1].Role == m.Role { // answers of one turn are one message
				made[n-1].Content += "\n" + text
				continue
			}
			m = serval.Message{Role: "user", Content: text}
		case len(m.Calls) > 0:
			m.Content = strings.TrimSpace(m.Content + "\n" + written(m.Calls))
			m.Calls = nil
		}
		made = append(made, m)
	}
	return told(s, made, about)
}

// told puts the description into the conversation.
func told(s Style, made []serval.Message, about string) []serval.Message {
	for i := range made {
		switch role := made[i].Role; {
		case role == "system" || role == "developer":
			made[i].Content = strings.TrimSpace(made[i].Content + "\n\n" + about)
			return made
		case s.TakesSystem:
			return append([]serval.Message{{Role: "system", Content: about}}, made...)
		case role == "user":
			made[i].Content = about + "\n\n" + made[i].Content
			return made
		}
	}
	return append([]serval.Message{{Role: "user", Content: about}}, made...)
}

func written(calls []serval.ToolCall) string {
	var list []string
	for _, c := range calls {
		name, _ := json.Marshal(c.Name)
		arguments := c.Arguments
		if strings.TrimSpace(arguments) == "" {
			arguments = "{}"
		}
		list = append(list, "<tool_call>\n{\"name\": "+string(name)+", \"arguments\": "+arguments+"}\n</tool_call>")
	}
	return strings.Join(list, "\n")
}

// signature is a tool as models know it.
func signature(t *serval.Tool) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(struct {
		Type     string `json:"type"`
		Function any    `json:"function"`
	}{"function", struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		Parameters  json.RawMessage `json:"parameters,omitempty"`
	}{t.Name, t.Description, t.Parameters}}); err != nil { // parameters that are no JSON; the protocol refuses them before
		return []byte(t.Name)
	}
	return bytes.TrimSpace(b.Bytes())
}
