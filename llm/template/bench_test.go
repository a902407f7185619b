package template

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// BenchmarkRender renders a conversation of 20 messages with one tool, through a template with macros and namespaces.
func BenchmarkRender(b *testing.B) {
	for _, name := range []string{"chatml", "calls"} {
		raw, err := os.ReadFile("testdata/" + name + ".jinja")
		if err != nil {
			b.Fatal(err)
		}
		tpl, err := Parse(string(raw))
		if err != nil {
			b.Fatal(err)
		}
		var messages []any
		for i := range 20 {
			role := []string{"user", "assistant"}[i%2]
			messages = append(messages, NewDict("role", role, "content", fmt.Sprintf("%d: %s", i, strings.Repeat("some words of a turn ", 15))))
		}
		vars := map[string]any{"messages": messages, "add_generation_prompt": true,
			"tools": json.RawMessage(`[{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}}]`)}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tpl.Render(vars); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	raw, err := os.ReadFile("testdata/calls.jinja")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Parse(string(raw)); err != nil {
			b.Fatal(err)
		}
	}
}
