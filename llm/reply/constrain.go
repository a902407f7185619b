package reply

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"serval"
	"serval/llm/grammar"
)

// Constrain makes what holds an answer's calls to the tools. mode is that of serval.Chat: with "auto" (also "") the answer is free
// until a call begins; with "required" it is made of calls, after reasoning if the model reasons; with "named" the tool of that
// name is called. oneCall allows one call only. The result is nil where nothing can be held: mode "none", no tools, or calls
// that begin without a marker of their own.
//
// A schema that llm/grammar cannot hold to is an error for a strict tool and for a forced call; else the arguments are any JSON
// object.
func Constrain(s Style, tools []serval.Tool, mode, name string, oneCall bool) (*serval.Constraint, error) {
	forced := mode == "required" || mode == "named"
	if mode == "none" || len(tools) == 0 {
		return nil, nil
	}
	if s.calls == nil {
		return nil, serval.Errorf(serval.InvalidArgument, "this model's form of tool calls is not known").At("tools")
	}
	if !forced && s.calls.marker() == "" {
		return nil, strict(tools)
	}
	w := &writer{Style: s, forced: forced}
	var calls []string
	for i := range tools {
		if mode == "named" && tools[i].Name != name {
			continue
		}
		if err := checkName(i, tools[i].Name); err != nil {
			return nil, err
		}
		rule, err := w.tool(i, &tools[i])
		if err != nil {
			return nil, err
		}
		calls = append(calls, rule)
	}
	if len(calls) == 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "tool_choice names the tool '%s', which is not among tools", name).At("tool_choice")
	}
	w.rule("call", strings.Join(calls, " | "))
	w.root(oneCall || s.calls.single)
	return &serval.Constraint{Kind: "gbnf", Source: w.out.String(), Param: "tools"}, nil
}

// strict refuses tools that must be held to their schema where that cannot be done.
func strict(tools []serval.Tool) error {
	for i := range tools {
		if tools[i].Strict {
			return serval.Errorf(serval.InvalidArgument,
				"tools[%d] is strict, and this model's calls begin like its text: use tool_choice required or named, or leave strict out", i).At("tools")
		}
	}
	return nil
}

func checkName(i int, name string) error {
	for _, c := range name {
		if c != '_' && c != '-' && c != '.' && c != ':' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return serval.Errorf(serval.InvalidArgument, "tools[%d]: the name '%s' may have letters, digits and _ - . : only", i, name).At("tools")
		}
	}
	return nil
}

// writer writes a grammar.
type writer struct {
	Style
	forced bool
	out    strings.Builder
	text   map[string]bool // rules of text up to a marker, by name
}

func (w *writer) rule(name, body string) { fmt.Fprintf(&w.out, "%s ::= %s\n", name, body) }

// quote is a literal.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch c {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// quoted is a pattern: literals with ids between.
func (p pattern) quoted() string {
	var list []string
	for i, part := range p {
		if i > 0 {
			list = append(list, "[0-9a-zA-Z]{1,16}")
		}
		if part != "" {
			list = append(list, quote(part))
		}
	}
	if len(list) == 0 {
		return `""`
	}
	return strings.Join(list, " ")
}

// root writes the whole answer.
func (w *writer) root(one bool) {
	f := w.calls
	lead := append(pattern(nil), f.lead...)
	if len(lead) > 0 {
		lead[0] = strings.TrimLeft(lead[0], white)
	}
	body := lead.quoted() + " call"
	if f.kind == harmony {
		w.rootHarmony()
		return
	}
	if !one {
		body += " (" + f.sep.quoted() + " call)*"
	}
	body += " " + trimRight(f.tail).quoted()
	if !w.forced {
		fmt.Fprintf(&w.out, "%%lazy %s\n", quote(f.marker()))
	} else if t := w.thinks; t.open != "" {
		open, close := strings.TrimSpace(t.open), strings.TrimSpace(t.close)
		w.until("thought", close)
		if w.thinking {
			body = `thought [ \n]* ` + body
		} else {
			body = `([ \n]* ` + quote(open) + ` thought [ \n]*)? ` + body
		}
	}
	w.rule("root", body)
}

func trimRight(p pattern) pattern {
	q := append(pattern(nil), p...)
	if n := len(q); n > 0 {
		q[n-1] = strings.TrimRight(q[n-1], white)
	}
	return q
}

// rootHarmony writes messages to functions, after one of analysis if calls are forced. A message ends the answer.
func (w *writer) rootHarmony() {
	w.rule("tail", `" "? ("<|channel|>" "commentary" " "?)? ("<|constrain|>"? "json")? "<|message|>"`)
	if !w.forced {
		fmt.Fprintf(&w.out, "%%lazy \"to=functions.\"\n")
		w.rule("root", `"to=functions." call`)
		return
	}
	w.until("thought", "<|end|>")
	w.rule("root", `("<|channel|>analysis<|message|>" thought "<|start|>assistant")? ("<|channel|>commentary to=functions." | " to=functions.") call`)
}

// tool writes the rule of one tool's name and arguments and gives its name.
func (w *writer) tool(i int, t *serval.Tool) (string, error) {
	rule := fmt.Sprintf("tool-%d", i)
	f := w.calls
	schema := []byte(t.Parameters)
	if len(bytes.TrimSpace(schema)) == 0 {
		schema = []byte(`{"type":"object","properties":{},"additionalProperties":false}`)
	}
	loose, err := w.check(i, t, schema)
	if err != nil {
		return "", err
	}
	if loose {
		schema = []byte(`{"type":"object"}`)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, schema); err != nil {
		return "", serval.Errorf(serval.InvalidArgument, "tools[%d].function.parameters: not JSON: %v", i, err).At("tools")
	}
	arguments := "%json_schema " + b.String()
	switch f.kind {
	case objects, named:
		w.rule(rule, quote(t.Name)+" "+f.mid.quoted()+" "+arguments)
	case harmony:
		w.rule(rule, quote(t.Name)+" tail "+arguments)
	case tagged:
		if err := w.tags(rule, t, b.Bytes()); err != nil {
			return "", err
		}
	}
	return rule, nil
}

// check says whether a tool's arguments can only be held to be an object.
func (w *writer) check(i int, t *serval.Tool, schema []byte) (loose bool, err error) {
	var head struct {
		Type any `json:"type"`
	}
	if err := json.Unmarshal(schema, &head); err != nil {
		return false, serval.Errorf(serval.InvalidArgument, "tools[%d].function.parameters: not a JSON object: %v", i, err).At("tools")
	}
	if head.Type != nil && head.Type != "object" {
		return false, serval.Errorf(serval.InvalidArgument, "tools[%d].function.parameters: its type must be object", i).At("tools")
	}
	_, err = grammar.Compile(serval.Constraint{Kind: "json_schema", Source: string(schema), Param: fmt.Sprintf("tools[%d].function.parameters", i)})
	if err != nil && !w.forced && !t.Strict {
		return true, nil
	}
	return false, err
}

// tags writes a call whose arguments stand in tags, in the schema's order.
func (w *writer) tags(rule string, t *serval.Tool, schema []byte) error {
	f := w.calls
	var shape struct {
		Required []string `json:"required"`
	}
	if err := json.Unmarshal(schema, &shape); err != nil {
		return serval.Errorf(serval.InvalidArgument, "the parameters of tool %s: %v", t.Name, err).At("tools")
	}
	required := map[string]bool{}
	for _, r := range shape.Required {
		required[r] = true
	}
	names, schemas := properties(schema)
	body := quote(t.Name) + " " + f.mid.quoted()
	end := strings.TrimRight(f.end, white)
	for i, name := range names {
		isText, _ := typeOf(t, name)
		head := f.key + name + f.value
		one := fmt.Sprintf("%s-%d", rule, i)
		value := w.textValue(schemas[i], end)
		if !isText {
			value = "%json_schema " + schemas[i] + " " + quote(end)
			if _, err := grammar.Compile(serval.Constraint{Kind: "json_schema", Source: schemas[i]}); err != nil { // what it refers to is elsewhere
				value = "%json_schema {} " + quote(end)
			}
		}
		if f.typed {
			head += map[bool]string{true: `true">`, false: `false">`}[isText]
		}
		w.rule(one, quote(head)+" "+value)
		gap := strings.TrimPrefix(f.end, end)
		piece := one
		if gap != "" {
			piece += " " + quote(gap)
		}
		if !required[name] {
			piece = "(" + piece + ")?"
		}
		body += " " + piece
	}
	w.rule(rule, body)
	return nil
}

// textValue is a string without quotes up to its end: one of the schema's, if it names them.
func (w *writer) textValue(schema, end string) string {
	var s struct {
		Enum  []string `json:"enum"`
		Const *string  `json:"const"`
	}
	if json.Unmarshal([]byte(schema), &s) == nil {
		if s.Const != nil {
			s.Enum = []string{*s.Const}
		}
		if len(s.Enum) > 0 {
			var list []string
			for _, e := range s.Enum {
				list = append(list, quote(e))
			}
			return "(" + strings.Join(list, " | ") + ") " + quote(end)
		}
	}
	w.until("value", strings.TrimLeft(end, white))
	return "value"
}

// properties are an object's properties, in the order in which they stand.
func properties(schema []byte) (names, schemas []string) {
	var top struct {
		Properties json.RawMessage `json:"properties"`
	}
	if json.Unmarshal(schema, &top) != nil {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(top.Properties))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, nil
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return names, schemas
		}
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return names, schemas
		}
		names, schemas = append(names, name.(string)), append(schemas, string(raw))
	}
	return names, schemas
}

// until writes a rule of any text that ends with a marker, and has none before. The marker's first character must not come again
// in it.
func (w *writer) until(rule, marker string) {
	if w.text[rule] {
		return
	}
	if w.text == nil {
		w.text = map[string]bool{}
	}
	w.text[rule] = true
	runes := []rune(marker)
	first := class(runes[0])
	var begins, fails []string
	for i := 1; i < len(runes); i++ {
		begin := quote(string(runes[:i]))
		begins = append(begins, begin)
		fails = append(fails, begin+" [^"+first+class(runes[i])+"]")
	}
	if len(begins) == 0 {
		w.rule(rule, "[^"+first+"]* "+quote(marker))
		return
	}
	// A begin of the marker that breaks off is followed by another one, or by a character that ends it.
	begun := rule + "-begun"
	w.rule(begun, strings.Join(begins, " | "))
	w.rule(rule, "([^"+first+"] | "+begun+"* ("+strings.Join(fails, " | ")+"))* "+begun+"* "+quote(marker))
}

// class is a character inside of brackets.
func class(c rune) string {
	if strings.ContainsRune(`\]^-[`, c) {
		return `\` + string(c)
	}
	if c == '\n' {
		return `\n`
	}
	return string(c)
}
