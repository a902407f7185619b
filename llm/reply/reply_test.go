package reply

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"serval"
	"serval/llm/grammar"
	"serval/llm/template"
)

// models names a folder with the templates of models, which are not ours to commit.
var models = flag.String("models", "", "check the formats of the templates in this folder too")

// The forms that templates of models have, each in a template of our own.
var templates = map[string]struct{ source, format string }{
	"tags around objects": {chat(`{%- for c in m.tool_calls %}{{ '\n' if m.content or not loop.first }}<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments|tojson }}}
</tool_call>{% endfor %}`), "objects"},
	"a list of objects":  {chat(`{%- if m.tool_calls %}[TOOL_CALLS][{% for c in m.tool_calls %}{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments|tojson }}, "id": "{{ c.id }}"}{{ ', ' if not loop.last }}{% endfor %}]{% endif %}`), "objects"},
	"numbered objects":   {chat(`{%- if m.tool_calls %}<|START_ACTION|>[{% for c in m.tool_calls %}{"tool_call_id": "{{ loop.index0 }}", "tool_name": "{{ c.function.name }}", "parameters": {{ c.function.arguments|tojson }}}{{ ',' if not loop.last }}{% endfor %}]<|END_ACTION|>{% endif %}`), "objects"},
	"one bare object":    {chat(`{%- if m.tool_calls|length > 1 %}{{ raise_exception('one call only') }}{% endif %}{% for c in m.tool_calls %}{"name": "{{ c.function.name }}", "parameters": {{ c.function.arguments|tojson }}}{% endfor %}`), "objects"},
	"name and object":    {chat(`{%- for c in m.tool_calls %}[TOOL_CALLS]{{ c.function.name }}[CALL_ID]{{ c.id }}[ARGS]{{ c.function.arguments|tojson }}{% endfor %}`), "named"},
	"name in a tag":      {chat(`{%- for c in m.tool_calls %}<function={{ c.function.name }}>{{ c.function.arguments|tojson }}</function>{% endfor %}`), "named"},
	"a section of calls": {chat(`{%- if m.tool_calls %}<|calls_begin|>{% for c in m.tool_calls %}<|call_begin|>functions.{{ c.function.name }}:{{ loop.index0 }}<|call_argument|>{{ c.function.arguments|tojson }}<|call_end|>{% endfor %}<|calls_end|>{% endif %}`), "named"},
	"objects in code":    {chat("{%- if m.tool_calls %}<|calls_begin|>{% for c in m.tool_calls %}<|call_begin|>function<|sep|>{{ c.function.name }}\n```json\n{{ c.function.arguments|tojson }}\n```<|call_end|>{{ '\\n' if not loop.last }}{% endfor %}<|calls_end|>{% endif %}"), "named"},
	"a tag for each argument": {chat(`{%- for c in m.tool_calls %}{{ '\n' if not loop.first }}<tool_call>
<function={{ c.function.name }}>
{% for k, v in c.function.arguments|items %}<parameter={{ k }}>
{{ v if v is string else v|tojson }}
</parameter>
{% endfor %}</function>
</tool_call>{% endfor %}`), "tagged"},
	"keys and values in tags": {chat(`{%- for c in m.tool_calls %}<tool_call>{{ c.function.name }}
{% for k, v in c.function.arguments.items() %}
<arg_key>{{ k }}</arg_key>
<arg_value>{{ v if v is string else v|tojson }}</arg_value>
{% endfor %}</tool_call>{% endfor %}`), "tagged"},
	"typed tags": {chat(`{%- if m.tool_calls %}<calls>
{% for c in m.tool_calls %}
<invoke name="{{ c.function.name }}">
{% for k, v in c.function.arguments.items() %}
<parameter name="{{ k }}" string="{{ 'true' if v is string else 'false' }}">{{ v if v is string else v|tojson }}</parameter>
{% endfor %}
</invoke>
{% endfor %}
</calls>{% endif %}`), "tagged"},
}

// chat is a template in ChatML whose assistant writes calls in this way.
func chat(calls string) string {
	return `{% for m in messages %}<|im_start|>{{ m.role }}
{% if loop.first and tools %}Tools: {{ tools|tojson }}
{% endif %}{% if m.role == 'assistant' %}{{ m.content }}{% if m.tool_calls %}` + calls + `{% endif %}{% else %}{{ m.content }}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`
}

const toolsJSON = `[
	{"Name": "get_weather", "Description": "The weather of a city.", "Parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"},
		"unit": {"type": "string", "enum": ["C", "F"]}, "where": {"type": "array", "items": {"type": "number"}}}, "required": ["city"], "additionalProperties": false}},
	{"Name": "ping", "Parameters": {"type": "object", "properties": {}, "additionalProperties": false}}]`

func someTools(t testing.TB) []serval.Tool {
	var tools []serval.Tool
	if err := json.Unmarshal([]byte(toolsJSON), &tools); err != nil {
		t.Fatal(err)
	}
	return tools
}

// result is what a parser gave out.
type result struct {
	Text, Reasoning string
	Calls           []serval.CallDelta
}

// parse feeds text in pieces of a random size, or whole with size 0.
func parse(t testing.TB, p *Parser, text string, size int) result {
	t.Helper()
	var r result
	emit := func(e Event) {
		r.Text += e.Text
		r.Reasoning += e.Reasoning
		if c := e.Call; c != nil {
			if c.Name != "" || c.ID != "" {
				if c.Index != len(r.Calls) || c.ID == "" || c.Name == "" {
					t.Errorf("a call begins with %+v after %d calls", *c, len(r.Calls))
				}
				r.Calls = append(r.Calls, *c)
				return
			}
			if len(r.Calls) == 0 || c.Index != len(r.Calls)-1 {
				t.Fatalf("arguments %+v after %d calls", *c, len(r.Calls))
			}
			r.Calls[c.Index].Arguments += c.Arguments
		}
	}
	runes := []rune(text)
	rng := rand.New(rand.NewPCG(uint64(size), uint64(len(text))))
	for len(runes) > 0 {
		n := len(runes)
		if size > 0 {
			n = min(n, 1+rng.IntN(size))
		}
		p.Feed(string(runes[:n]), emit)
		runes = runes[n:]
	}
	p.End(emit)
	return r
}

// check compares text, reasoning, and names and arguments of calls (as JSON values).
func check(t testing.TB, what string, got result, text, reasoning string, calls ...string) {
	t.Helper()
	if got.Text != text || got.Reasoning != reasoning || len(got.Calls) != len(calls)/2 {
		t.Errorf("%s: got %+v\nwant text %q, reasoning %q, calls %q", what, got, text, reasoning, calls)
		return
	}
	for i, c := range got.Calls {
		var a, b any
		if c.Name != calls[2*i] || json.Unmarshal([]byte(c.Arguments), &a) != nil || json.Unmarshal([]byte(calls[2*i+1]), &b) != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%s: call %d is %s(%s), want %s(%s)", what, i, c.Name, c.Arguments, calls[2*i], calls[2*i+1])
		}
	}
}

const bern = `{"city": "Bern \"N\" <b>\nnördlich", "days": 3, "unit": "C", "where": [1.5, -2]}`

// written1 is what a template makes of an assistant's calls: what its model was trained to write.
func written1(t testing.TB, source string, calls ...string) string {
	tpl, err := template.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	var list []any
	for i := 0; i < len(calls); i += 2 {
		list = append(list, template.NewDict("id", fmt.Sprintf("callid%03d", i), "type", "function",
			"function", template.NewDict("name", calls[i], "arguments", json.RawMessage(calls[i+1]))))
	}
	p := prober{tpl}
	out, ok := p.answer(message("assistant", "", "tool_calls", list))
	if !ok {
		return ""
	}
	if end := oneTag.FindString(p.turnEnd()); end != "" {
		out, _, _ = strings.Cut(out, end)
	}
	if at := ends.FindStringIndex(out); at != nil {
		out = out[:at[0]]
	}
	return out
}

// TestRoundTrip finds the form of each template, reads what the template itself writes, and holds it to the constraint.
func TestRoundTrip(t *testing.T) {
	for name, c := range templates {
		s, err := Detect(c.source)
		if err != nil {
			t.Fatal(err)
		}
		if s.Format() != c.format || !s.TakesTools || !s.TakesSystem {
			t.Errorf("%s: got format %q, tools %v, system %v", name, s.Format(), s.TakesTools, s.TakesSystem)
			continue
		}
		roundTrip(t, name, c.source, s)
	}
	if *models == "" {
		return
	}
	files, err := filepath.Glob(filepath.Join(*models, "*.jinja"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, len(files))
	}
	read := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Detect(string(raw))
		if err != nil || !s.TakesTools || s.Format() == "harmony" {
			continue
		}
		read++
		roundTrip(t, filepath.Base(file), string(raw), s)
	}
	t.Logf("%d of %d templates have calls that are read", read, len(files))
}

func roundTrip(t *testing.T, name, source string, s Style) {
	tools := someTools(t)
	for _, calls := range [][]string{
		{"get_weather", bern}, {"ping", `{}`}, {"get_weather", `{"city": ""}`},
		{"get_weather", bern, "ping", `{}`, "get_weather", `{"city": "a"}`},
	} {
		text := written1(t, source, calls...)
		if len(calls) > 2 && s.calls.single || text == "" {
			continue
		}
		s := s
		s.thinking = s.thinks.close != "" && strings.HasPrefix(strings.TrimSpace(text), strings.TrimSpace(s.thinks.close))
		for size := range 8 {
			check(t, name, parse(t, New(s, tools), text, size), "", "", calls...)
		}
		if strings.Contains(calls[1], `"N"`) && s.calls.kind != tagged || calls[1] == `{"city": ""}` {
			for _, mode := range []string{"auto", "required"} {
				c, err := Constrain(s, tools, mode, "", false)
				if err != nil {
					t.Errorf("%s, %s: %v", name, mode, err)
					continue
				}
				if c != nil {
					accepts(t, name+", "+mode, c, strings.TrimSpace(text))
				}
			}
		}
	}
}

// letters is a vocabulary of single bytes, and an end.
type letters struct{}

func (letters) Size() int             { return 257 }
func (letters) Piece(id int32) []byte { return []byte{byte(id)} }
func (letters) IsSpecial(int32) bool  { return false }
func (letters) IsEnd(id int32) bool   { return id == 256 }

func accepts(t *testing.T, what string, c *serval.Constraint, text string) {
	t.Helper()
	g, err := grammar.Compile(*c)
	if err != nil {
		t.Errorf("%s: %v\n%s", what, err, c.Source)
		return
	}
	state := g.Bind(grammar.Index(letters{})).Start()
	for i := range len(text) {
		if !state.Accept(int32(text[i])) {
			t.Errorf("%s: %q is refused at %q\n%s", what, text, text[i:], c.Source)
			return
		}
	}
	if !state.Done() {
		t.Errorf("%s: %q is not taken for complete\n%s", what, text, c.Source)
	}
}
