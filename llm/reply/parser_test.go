package reply

import (
	"strings"
	"testing"

	"serval"
)

func hermesStyle() Style { return Style{TakesTools: true, TakesSystem: true, calls: hermes()} }

// TestParser reads answers, in pieces of every size, that are less than perfect.
func TestParser(t *testing.T) {
	thinks := hermesStyle().Reasoning("<think>", "</think>")
	inside := thinks.At("<|im_start|>assistant\n<think>\n")
	llama := Style{calls: &format{kind: objects, nameKey: "name", argsKey: "parameters", single: true, lead: pattern{`{"name": "`}, mid: pattern{`", "parameters": `}, tail: pattern{"}"}}}
	list := Style{calls: &format{kind: objects, open: "[TOOL_CALLS]", nameKey: "name", argsKey: "arguments", list: true}}
	gptOSS := Style{calls: &format{kind: harmony, lead: pattern{"to=functions."}}}
	code := Style{calls: &format{kind: tagged, lead: pattern{"<tool_call>\n<function="}, mid: pattern{">\n"}, key: "<parameter=", value: ">\n", end: "\n</parameter>\n",
		sep: pattern{"</function>\n</tool_call>\n<tool_call>\n<function="}, tail: pattern{"</function>\n</tool_call>"}}}
	for _, c := range []struct {
		what            string
		style           Style
		in              string
		text, reasoning string
		calls           []string
	}{
		{"plain text", hermesStyle(), "Hello <b>World</b> <tool is not a call\n", "Hello <b>World</b> <tool is not a call\n", "", nil},
		{"white space", hermesStyle(), "  \n", "  \n", "", nil},
		{"text and a call", hermesStyle(), "Let me look.\n\n<tool_call>\n{\"name\": \"ping\", \"arguments\": {}}\n</tool_call>", "Let me look.", "", []string{"ping", "{}"}},
		{"a call and text", hermesStyle(), "<tool_call>{\"name\": \"ping\", \"arguments\": {}}</tool_call>\n\nDone it.", "Done it.", "", []string{"ping", "{}"}},
		{"two calls", hermesStyle(), "<tool_call>{\"name\":\"ping\",\"arguments\":{}}</tool_call><tool_call>\n\n{ \"name\" : \"get_weather\" , \"arguments\" : {\"city\": \"}{</tool_call>\"} }</tool_call>\n", "", "",
			[]string{"ping", "{}", "get_weather", `{"city": "}{</tool_call>"}`}},
		{"arguments first", hermesStyle(), `<tool_call>{"arguments": {"city": "a"}, "name": "get_weather"}</tool_call>`, "", "", []string{"get_weather", `{"city": "a"}`}},
		{"arguments in a string", hermesStyle(), `<tool_call>{"name": "get_weather", "arguments": "{\"city\": \"a\"}"}</tool_call>`, "", "", []string{"get_weather", `{"city": "a"}`}},
		{"no arguments", hermesStyle(), `<tool_call>{"name": "ping"}</tool_call>`, "", "", []string{"ping", "{}"}},
		{"no end", hermesStyle(), `<tool_call>{"name": "ping", "arguments": {}}`, "", "", []string{"ping", "{}"}},
		{"other keys", hermesStyle(), `<tool_call>{"id": "x", "type": ["function", {}], "name": "ping", "arguments": {}, "more": 1.5}</tool_call>`, "", "", []string{"ping", "{}"}},
		{"no JSON", hermesStyle(), "<tool_call>I would call ping</tool_call>", "<tool_call>I would call ping</tool_call>", "", nil},
		{"broken JSON", hermesStyle(), `<tool_call>{"name": ping}</tool_call> and <tool_call>{"name": "ping"}</tool_call>`, `<tool_call>{"name": ping}</tool_call> and`, "", []string{"ping", "{}"}},
		{"cut before the name", hermesStyle(), `So: <tool_call>{"na`, `So:<tool_call>{"na`, "", nil},
		{"the marker cut", hermesStyle(), "So <tool_c", "So <tool_c", "", nil},
		{"thinking", thinks, "<think>\nHm.\n\nYes.\n</think>\n\nFour.", "Four.", "Hm.\n\nYes.", nil},
		{"thinking from the prompt on", inside, "Hm.\n</think>\n\nFour.", "Four.", "Hm.", nil},
		{"thinking without end", inside, "Hm. </thi", "", "Hm. </thi", nil},
		{"thinking, then a call", inside, "Hm.</think>\n<tool_call>{\"name\": \"ping\", \"arguments\": {}}</tool_call>", "", "Hm.", []string{"ping", "{}"}},
		{"a call ends thinking", inside, "Hm. <tool_call>{\"name\": \"ping\", \"arguments\": {}}</tool_call>", "", "Hm.", []string{"ping", "{}"}},
		{"nothing thought", thinks, "<think>\n\n</think>\n\nFour.", "Four.", "", nil},
		{"tags later are text", thinks, "Write <think>x</think>.", "Write <think>x</think>.", "", nil},
		{"a bare object", llama, `{"name": "get_weather", "parameters": {"city": "a"}}`, "", "", []string{"get_weather", `{"city": "a"}`}},
		{"a bare object after a tag", llama, `<|python_tag|>{"name": "ping", "parameters": {}}`, "", "", []string{"ping", `{}`}},
		{"bare objects", llama, `{"name": "ping", "parameters": {}}; {"type": "function", "name": "ping", "parameters": {}}`, "", "", []string{"ping", `{}`, "ping", `{}`}},
		{"JSON that is no call", llama, `{"name": "Bob", "age": 3}`, `{"name": "Bob", "age": 3}`, "", nil},
		{"more JSON that is no call", llama, `{"answer": [1, 2]} and so on {`, `{"answer": [1, 2]} and so on {`, "", nil},
		{"a list", list, `[TOOL_CALLS] [{"name": "ping", "arguments": {}, "id": "abcdefghi"}, {"name": "get_weather", "arguments": {"city": "x"}}]`, "", "", []string{"ping", "{}", "get_weather", `{"city": "x"}`}},
		{"messages", gptOSS, "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Four.", "Four.", "Hm.", nil},
		{"messages and a call", gptOSS, `<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "x"}`, "", "Hm.", []string{"get_weather", `{"city": "x"}`}},
		{"the recipient first", gptOSS, ` to=functions.ping<|channel|>commentary json<|message|>{}<|call|>`, "", "", []string{"ping", `{}`}},
		{"a preamble", gptOSS, `<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>commentary to=functions.ping <|constrain|>json<|message|>{}<|call|>`, "I look.", "", []string{"ping", `{}`}},
		{"no messages", gptOSS, `Just text.`, "Just text.", "", nil},
		{"code", code, "<tool_call>\n<function=get_weather>\n<parameter=city>\nA </param \"q\"\n\nB\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>", "", "",
			[]string{"get_weather", `{"city": "A </param \"q\"\n\nB", "days": 3}`}},
		{"code without line ends", code, "<tool_call><function=get_weather><parameter=city>A</parameter><parameter=where>[1]</parameter></function></tool_call> ok", "ok", "", []string{"get_weather", `{"city": "A", "where": [1]}`}},
		{"code that is cut between arguments", code, "<tool_call>\n<function=ping>\n</function>\n</tool_call><tool_call>\n<function=", "", "", []string{"ping", "{}"}},
		{"code with Python's words", code, "<tool_call>\n<function=get_weather>\n<parameter=days>\nNone\n</parameter>\n<parameter=other>\ntext\n</parameter>\n</function>\n</tool_call>", "", "", []string{"get_weather", `{"days": null, "other": "text"}`}},
		{"no code", code, "<tool_call>\nhm</tool_call>", "<tool_call>\nhm</tool_call>", "", nil},
	} {
		for size := range 12 {
			check(t, c.what, parse(t, New(c.style, someTools(t)), c.in, size), c.text, c.reasoning, c.calls...)
		}
	}
	// What is cut does not look complete.
	for size := range 5 {
		r := parse(t, New(code, someTools(t)), "<tool_call>\n<function=get_weather>\n<parameter=city>\nA", size)
		if len(r.Calls) != 1 || r.Calls[0].Arguments != `{"city": "A` {
			t.Errorf("a call that was cut: got %+v", r)
		}
	}
	// Without tools, nothing is a call.
	in := `<tool_call>{"name": "ping", "arguments": {}}</tool_call>`
	check(t, "no tools", parse(t, New(hermesStyle(), nil), in, 3), in, "")
}

// TestStreamed passes arguments on as they arrive, and holds back no more than what may be a marker.
func TestStreamed(t *testing.T) {
	p := New(hermesStyle(), someTools(t))
	var got []string
	emit := func(e Event) {
		if e.Call != nil {
			got = append(got, e.Call.Name+"|"+e.Call.Arguments)
		} else {
			got = append(got, e.Text)
		}
	}
	for _, piece := range []string{"One ", "two <", "b> ", "<tool", "_call>\n", `{"name": "get_`, `weather", "argum`, `ents": {"ci`, `ty": "Be`, `rn"`, "}", "}\n", "</tool_call>"} {
		p.Feed(piece, emit)
		got = append(got, "/")
	}
	p.End(emit)
	want := `One / two/ <b>/ / / / / get_weather| |{"ci/ |ty": "Be/ |rn"/ |}/ / /`
	if s := strings.Join(got, " "); strings.Join(strings.Fields(s), " ") != strings.Join(strings.Fields(strings.ReplaceAll(want, "/", " / ")), " ") {
		t.Errorf("got %q", s)
	}
	if !p.Marker("<tool_call>") || !p.Marker("</tool_call>") || p.Marker("<|im_end|>") || p.Marker(" ") {
		t.Error("the markers are <tool_call> and </tool_call>")
	}
}

// TestDescribe tells a model without tools about them.
func TestDescribe(t *testing.T) {
	s, err := Detect("{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}")
	if err != nil || s.TakesTools || !s.TakesSystem || s.Format() != "" {
		t.Fatalf("got %+v, %v", s, err)
	}
	s = s.Described()
	in := []serval.Message{
		{Role: "user", Content: "Weather?"},
		{Role: "assistant", Content: "I look.", Calls: []serval.ToolCall{{ID: "1", Name: "get_weather", Arguments: `{"city": "a<b"}`}, {ID: "2", Name: "ping"}}},
		{Role: "tool", Content: "cold", CallID: "1"}, {Role: "tool", Content: "pong", CallID: "2"},
	}
	out := Describe(s, in, someTools(t))
	if len(out) != 4 || out[0].Role != "system" || !strings.Contains(out[0].Content, `"name":"get_weather","description":"The weather of a city."`) ||
		out[2].Content != "I look.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"a<b\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"ping\", \"arguments\": {}}\n</tool_call>" || out[2].Calls != nil ||
		out[3].Role != "user" || out[3].Content != "<tool_response>\ncold\n</tool_response>\n<tool_response>\npong\n</tool_response>" {
		t.Errorf("got %+v", out)
	}
	if in[1].Calls == nil {
		t.Error("the messages were changed")
	}
	s.TakesSystem = false
	if out := Describe(s, in, someTools(t)); len(out) != 3 || out[0].Role != "user" || !strings.HasSuffix(out[0].Content, "\n\nWeather?") {
		t.Errorf("got %+v", out)
	}
	s.TakesSystem = true
	in = append([]serval.Message{{Role: "system", Content: "Be brief."}}, in...)
	if out := Describe(s, in, someTools(t)); len(out) != 4 || !strings.HasPrefix(out[0].Content, "Be brief.\n\n# Tools") {
		t.Errorf("got %+v", out)
	}
}
