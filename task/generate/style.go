package generate

import (
	"fmt"
	"strings"

	"serval"
	"serval/llm/reply"
)

// styleOf finds out how a model writes reasoning and tool calls: by its template, and by what the settings say of it.
func styleOf(template string, s *serval.TextSettings) (reply.Style, error) {
	style, err := reply.Detect(template)
	if err != nil {
		return style, fmt.Errorf("chat template: %w", err)
	}
	switch s.Reasoning {
	case "":
	case "none":
		style = style.Reasoning("", "")
	default:
		begin, end, ok := strings.Cut(s.Reasoning, "…")
		if begin, end = strings.TrimSpace(begin), strings.TrimSpace(end); !ok || begin == "" || end == "" {
			return style, fmt.Errorf("text.reasoning: %q must be two tags with … between them, as in <think>…</think>, or none", s.Reasoning)
		}
		style = style.Reasoning(begin, end)
	}
	return style, nil
}
