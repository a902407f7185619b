package batch

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"serval"
)

// answer is what a model of text said to one row, or the vectors of some rows.
type answer struct {
	text       strings.Builder
	finish     serval.Finish
	usage      serval.Usage
	embeddings [][]float32
}

// texts is the asker of models of text. Each row of a chat or completion is a request; texts to embed share one.
type texts struct {
	task     string
	rows     int
	job      Text
	prompt   *template // nil: messages
	messages int       // the vector with them
	system   *template // nil: none
}

const (
	embedRows = 64 // texts of one request
	textRows  = 64 // of a block
)

// planText plans an object for a model of text.
func planText(m *serval.ModelInfo, job *Job, have []Column) (*plan, *texts, error) {
	t := &texts{rows: 1}
	if job.Text != nil {
		t.job = *job.Text
	}
	switch t.task = t.job.Task; t.task {
	case "":
		if t.task = "chat"; !m.Language.Generate {
			t.task, t.rows = "embed", embedRows
		}
	case "embed":
		t.rows = embedRows
	case "chat", "completion":
	default:
		return nil, nil, serval.Errorf(serval.InvalidArgument, "task %q: use chat, completion or embed", t.task).At("task")
	}
	if t.task == "embed" && !m.Language.Embed || t.task != "embed" && !m.Language.Generate {
		return nil, nil, serval.Errorf(serval.InvalidArgument, "model '%s' does no %s", m.Name, t.task).At("task")
	}
	p := &plan{}
	var used []int
	column := func(name string) (int, error) {
		at := slices.IndexFunc(have, func(c Column) bool { return c.Name == name })
		if at < 0 {
			return 0, serval.Errorf(serval.InvalidArgument, "no column '%s'; there are %s", name, nameList(have)).At(name)
		}
		if i := slices.Index(used, at); i >= 0 {
			return i, nil
		}
		used = append(used, at)
		p.selected = append(p.selected, Column{Name: name, Type: serval.Bytes})
		p.texts = append(p.texts, name)
		return len(used) - 1, nil
	}
	if err := t.columns(job, have, column); err != nil {
		return nil, nil, err
	}
	p.pass = len(p.selected)
	return p, t, p.passthrough(job, have, used)
}

// columns finds where a row's prompt is.
func (t *texts) columns(job *Job, have []Column, column func(string) (int, error)) (err error) {
	if t.job.System != "" && t.task == "chat" {
		if t.system, err = parseTemplate(t.job.System, "system", column); err != nil {
			return err
		}
	}
	if t.job.Prompt != "" {
		t.prompt, err = parseTemplate(t.job.Prompt, "prompt", column)
		return err
	}
	names := []string{"messages", "prompt", "text", "input"}
	switch t.task {
	case "embed":
		names = []string{"text", "input", "prompt"}
	case "completion":
		names = names[1:]
	}
	for name := range job.Map {
		if !slices.Contains(names, name) {
			return serval.Errorf(serval.InvalidArgument, "a model of text has no input '%s'; map one of '%s'", name, strings.Join(names, "', '")).At(name)
		}
	}
	for _, name := range names {
		from := job.Map[name]
		if len(from) == 0 && len(job.Map) == 0 && slices.ContainsFunc(have, func(c Column) bool { return c.Name == name }) {
			from = []string{name}
		}
		if len(from) == 0 {
			continue
		}
		at, err := column(from[0])
		if err != nil {
			return err
		}
		if t.messages = at; name != "messages" {
			t.prompt = &template{pieces: []piece{{column: at}}}
		}
		return nil
	}
	return serval.Errorf(serval.InvalidArgument, "no column '%s'; say what to ask, as in --prompt 'Classify: {text}'; there are %s", strings.Join(names, "' or '"), nameList(have)).At("prompt")
}

func (t *texts) most() int { return t.rows }

func (t *texts) request(f *flight, from, to int) (serval.Input, error) {
	if t.task == "embed" {
		list := make([]serval.Text, 0, to-from)
		for row := from; row < to; row++ {
			list = append(list, serval.Text{Text: t.prompt.fill(f, row)})
		}
		return &serval.Texts{List: list}, nil
	}
	g := serval.Generation{
		Limit: t.job.MaxTokens, Temperature: t.job.Temperature, TopP: t.job.TopP, Seed: t.job.Seed, Stop: t.job.Stop, Constraint: t.job.Constraint,
	}
	if t.task == "completion" {
		return &serval.Completion{Text: t.prompt.fill(f, from), Generation: g}, nil
	}
	chat := &serval.Chat{Generation: g}
	if t.system != nil {
		chat.Messages = append(chat.Messages, serval.Message{Role: "system", Content: t.system.fill(f, from)})
	}
	if t.prompt != nil {
		chat.Messages = append(chat.Messages, serval.Message{Role: "user", Content: t.prompt.fill(f, from)})
		return chat, nil
	}
	said, err := readMessages(f.texts[t.messages].text(from))
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "messages: %w", err).At(f.texts[t.messages].Name)
	}
	chat.Messages = append(chat.Messages, said...)
	return chat, nil
}

// order sorts rows by what the model reads.
func (t *texts) order(f *flight, rows []int) {
	keys := make([]string, len(f.good))
	for _, row := range rows {
		if t.system != nil {
			keys[row] = t.system.fill(f, row) + "\x00"
		}
		if t.prompt != nil {
			keys[row] += t.prompt.fill(f, row)
		} else {
			keys[row] += string(f.texts[t.messages].text(row))
		}
	}
	slices.SortStableFunc(rows, func(a, b int) int { return strings.Compare(keys[a], keys[b]) })
}

func (t *texts) take(p *part, c *serval.Chunk) error {
	a := &p.answer
	a.usage.Add(c.Usage)
	if c.Finish != serval.More {
		a.finish = c.Finish
	}
	switch out := c.Output.(type) {
	case nil:
	case *serval.Delta:
		a.text.WriteString(out.Text)
	case *serval.Embeddings:
		for _, v := range out.List {
			a.embeddings = append(a.embeddings, slices.Clone(v))
		}
	default:
		return ends{serval.Errorf(serval.Unimplemented, "the model does not answer with text")}
	}
	return nil
}

// readMessages reads a conversation as OpenAI's API has it.
func readMessages(data []byte) ([]serval.Message, error) {
	var wire []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
		Name    string          `json:"name"`
		CallID  string          `json:"tool_call_id"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return nil, fmt.Errorf("a list of {role, content} is needed: %w", err)
	}
	if len(wire) == 0 {
		return nil, fmt.Errorf("empty")
	}
	out := make([]serval.Message, len(wire))
	for i, m := range wire {
		text, err := readContent(m.Content)
		if err != nil {
			return nil, fmt.Errorf("[%d].content: %w", i, err)
		}
		if m.Role == "" {
			return nil, fmt.Errorf("[%d].role is missing", i)
		}
		out[i] = serval.Message{Role: m.Role, Content: text, Name: m.Name, CallID: m.CallID}
	}
	return out, nil
}

// readContent takes a text, or a list of parts that are texts.
func readContent(data json.RawMessage) (string, error) {
	if len(data) == 0 || string(data) == "null" {
		return "", nil
	}
	var text string
	if data[0] == '"' {
		return text, json.Unmarshal(data, &text)
	}
	var parts []struct{ Type, Text string }
	if err := json.Unmarshal(data, &parts); err != nil {
		return "", fmt.Errorf("a text or a list of parts is needed")
	}
	for i, p := range parts {
		if p.Type != "text" {
			return "", fmt.Errorf("[%d] is of type %q; only text is read", i, p.Type)
		}
		text += p.Text
	}
	return text, nil
}

// template is a text with columns in braces.
type template struct{ pieces []piece }

// piece is a text, or a column where the text is empty.
type piece struct {
	text   string
	column int
}

func parseTemplate(s, param string, column func(string) (int, error)) (*template, error) {
	t := &template{}
	var text strings.Builder
	wrong := func(why string) error {
		return serval.Errorf(serval.InvalidArgument, "%s %q: %s; columns stand in braces, as in {text}, and a brace is written twice", param, s, why).At(param)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c != '{' && c != '}':
			text.WriteByte(c)
			continue
		case i+1 < len(s) && s[i+1] == c:
			text.WriteByte(c)
			i++
			continue
		case c == '}':
			return nil, wrong("a '}' without its '{'")
		}
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			return nil, wrong("a '{' without its '}'")
		}
		at, err := column(strings.TrimSpace(s[i+1 : i+end]))
		if err != nil {
			return nil, err
		}
		if text.Len() > 0 {
			t.pieces = append(t.pieces, piece{text: text.String()})
			text.Reset()
		}
		t.pieces = append(t.pieces, piece{column: at})
		i += end
	}
	if text.Len() > 0 {
		t.pieces = append(t.pieces, piece{text: text.String()})
	}
	return t, nil
}

// fill puts a row's values in.
func (t *template) fill(f *flight, row int) string {
	var out strings.Builder
	for _, p := range t.pieces {
		if p.text != "" {
			out.WriteString(p.text)
		} else {
			out.Write(f.texts[p.column].text(row))
		}
	}
	return out.String()
}
