package reply

import (
	"errors"
	"strings"
	"testing"

	"serval"
	"serval/llm/grammar"
)

// takes says whether a text is a complete answer under a constraint.
func takes(t *testing.T, c *serval.Constraint, text string) bool {
	t.Helper()
	g, err := grammar.Compile(*c)
	if err != nil {
		t.Fatalf("%v\n%s", err, c.Source)
	}
	state := g.Bind(grammar.Index(letters{})).Start()
	for i := range len(text) {
		if !state.Accept(int32(text[i])) {
			return false
		}
	}
	return state.Done()
}

// TestConstrain holds answers to the tools' schemas.
func TestConstrain(t *testing.T) {
	thinks := hermesStyle().Reasoning("<think>", "</think>")
	inside := thinks.At("<think>")
	gptOSS := Style{calls: &format{kind: harmony, lead: pattern{"to=functions."}}}
	call := func(name, arguments string) string {
		return "<tool_call>\n{\"name\": \"" + name + "\", \"arguments\": " + arguments + "}\n</tool_call>"
	}
	good, bad := call("get_weather", `{"city": "x"}`), call("get_weather", `{"city": 1}`)
	for _, c := range []struct {
		what       string
		style      Style
		mode, name string
		one        bool
		text       string
		want       bool
	}{
		{"free text", hermesStyle(), "auto", "", false, "Hello <tool you", true},
		{"a call", hermesStyle(), "auto", "", false, "Look: " + good, true},
		{"two calls", hermesStyle(), "", "", false, good + "\n" + call("ping", "{}"), true},
		{"two calls where one is allowed", hermesStyle(), "", "", true, good + "\n" + call("ping", "{}"), false},
		{"wrong arguments", hermesStyle(), "auto", "", false, bad, false},
		{"an unknown tool", hermesStyle(), "auto", "", false, call("pong", "{}"), false},
		{"text where a call is required", hermesStyle(), "required", "", false, "Hello", false},
		{"the required call", hermesStyle(), "required", "", false, good, true},
		{"the named call", hermesStyle(), "named", "ping", false, call("ping", "{}"), true},
		{"not the named call", hermesStyle(), "named", "ping", false, good, false},
		{"thought first", thinks, "required", "", false, "<think>\nHm <</think></thin <</think>\n\n" + good, false},
		{"thought before the call", thinks, "required", "", false, "<think>\nHm <</thin < </</think>\n\n" + good, true},
		{"no thought before the call", thinks, "required", "", false, good, true},
		{"thought from the prompt on", inside, "required", "", false, "Hm.</think>" + good, true},
		{"thought without end", inside, "required", "", false, "Hm." + good, false},
		{"a message", gptOSS, "auto", "", false, `<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "x"}`, true},
		{"a wrong message", gptOSS, "auto", "", false, `<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": 1}`, false},
		{"a required message", gptOSS, "required", "", false, `<|channel|>analysis<|message|>Hm <|en.<|end|><|start|>assistant<|channel|>commentary to=functions.ping <|constrain|>json<|message|>{}`, true},
	} {
		got, err := Constrain(c.style, someTools(t), c.mode, c.name, c.one)
		if err != nil || got == nil {
			t.Errorf("%s: %v, %v", c.what, got, err)
			continue
		}
		if takes(t, got, c.text) != c.want {
			t.Errorf("%s: %q: want %v\n%s", c.what, c.text, c.want, got.Source)
		}
	}
}

// TestRefused says which tool cannot be held to.
func TestRefused(t *testing.T) {
	odd := []serval.Tool{{Name: "a"}, {Name: "b", Parameters: []byte(`{"type": "object", "properties": {"x": {"$ref": "http://elsewhere/schema"}}}`)}}
	if _, err := grammar.Compile(serval.Constraint{Kind: "json_schema", Source: string(odd[1].Parameters)}); err == nil {
		t.Fatal("llm/grammar holds to a schema that is elsewhere")
	}
	if c, err := Constrain(hermesStyle(), odd, "auto", "", false); err != nil || c == nil {
		t.Errorf("a tool that is not strict: %v", err)
	}
	refused := func(what, part string, tools []serval.Tool, mode, name string, s Style) {
		t.Helper()
		_, err := Constrain(s, tools, mode, name, false)
		var e *serval.Error
		if !errors.As(err, &e) || e.Code != serval.InvalidArgument || !strings.Contains(e.Message, part) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	refused("a forced tool", "tools[1].function.parameters", odd, "required", "", hermesStyle())
	odd[1].Strict = true
	refused("a strict tool", "tools[1].function.parameters", odd, "auto", "", hermesStyle())
	refused("no such tool", "'zzz'", odd[:1], "named", "zzz", hermesStyle())
	refused("a name", "tools[0]", []serval.Tool{{Name: `a"b`}}, "auto", "", hermesStyle())
	refused("a type", "must be object", []serval.Tool{{Name: "a", Parameters: []byte(`{"type": "string"}`)}}, "auto", "", hermesStyle())
	refused("no JSON", "tools[0].function.parameters", []serval.Tool{{Name: "a", Parameters: []byte(`[`)}}, "auto", "", hermesStyle())
	refused("an unknown form", "not known", odd[:1], "auto", "", Style{})
	bare := Style{calls: &format{kind: objects, single: true}}
	refused("strict without a marker", "tools[1] is strict", odd, "auto", "", bare)
	if c, err := Constrain(bare, odd[:1], "auto", "", false); c != nil || err != nil {
		t.Errorf("without a marker: %v, %v", c, err)
	}
	if c, err := Constrain(hermesStyle(), odd, "none", "", false); c != nil || err != nil {
		t.Errorf("mode none: %v, %v", c, err)
	}
}
