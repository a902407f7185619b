package reply

import (
	"strings"

	"serval/llm/template"
)

// What probes say: words that no template has.
const (
	firstTool  = "probe_alpha"
	secondTool = "probe_beta"
	firstKey   = "probe_city"
	secondKey  = "probe_unit"
	firstText  = "Quellenhausen"
	secondText = "Zimtgrad"
	thirdText  = "Nebelburg"
	plainText  = "Plainly spoken."
	systemText = "Systematic advice."
	userText   = "What does the probe say?"
	endToken   = "\u27e6end\u27e7"
	firstID    = "probeid01" // of nine characters, since some templates insist on that
	secondID   = "probeid02"
)

// thinkTags are those that models use; the first found in a template are the model's.
var thinkTags = []tags{
	{"<think>", "</think>"}, {"[THINK]", "[/THINK]"}, {"<seed:think>", "</seed:think>"}, {"<mm:think>", "</mm:think>"},
	{"<|START_THINKING|>", "<|END_THINKING|>"}, {"<|inner_prefix|>", "<|inner_suffix|>"}, {"<|channel>thought\n", "<channel|>"},
	{"<thinking>", "</thinking>"}, {"<reasoning>", "</reasoning>"}, {"◁think▷", "◁/think▷"},
}

// Detect finds out how the model of a chat template writes. The error is that of a template that cannot be parsed.
func Detect(source string) (Style, error) {
	t, err := template.Parse(source)
	if err != nil {
		return Style{}, err
	}
	var s Style
	for _, tg := range thinkTags {
		if strings.Contains(source, strings.TrimSpace(tg.close)) || strings.Contains(source, strings.TrimSpace(tg.open)) {
			s.thinks = tg
			break
		}
	}
	p := prober{t}
	with, err := p.render(false, system(), user())
	s.TakesSystem = err == nil && strings.Contains(with, systemText)
	if strings.Contains(source, messageTag) && strings.Contains(source, "<|channel|>") && strings.Contains(source, "analysis") {
		s.calls, s.TakesTools, s.thinks = &format{kind: harmony, lead: pattern{"to=functions."}}, true, tags{}
		return s, nil
	}
	s.calls = p.infer()
	s.TakesTools = s.calls != nil && p.showsTools()
	if !s.TakesTools {
		s.calls = nil
	}
	return s, nil
}

// prober renders conversations with one template.
type prober struct{ t *template.Template }

func message(role, content string, more ...any) *template.Dict {
	d := template.NewDict("role", role, "content", content)
	for i := 0; i < len(more); i += 2 {
		d.Set(more[i].(string), more[i+1])
	}
	return d
}

func system() *template.Dict { return message("system", systemText) }
func user() *template.Dict   { return message("user", userText) }

func probeTools() any {
	one := func(name string) any {
		param := template.NewDict("type", "string", "description", "Some text.")
		return template.NewDict("type", "function", "function", template.NewDict("name", name, "description", "Asks a probe.",
			"parameters", template.NewDict("type", "object", "properties", template.NewDict(firstKey, param, secondKey, param), "required", []any{firstKey, secondKey})))
	}
	return []any{one(firstTool), one(secondTool)}
}

func probeCall(id, name, text string) any {
	arguments := template.NewDict(firstKey, text, secondKey, secondText)
	return template.NewDict("id", id, "type", "function", "function", template.NewDict("name", name, "arguments", arguments))
}

func (p prober) render(prompt bool, messages ...any) (string, error) {
	return p.t.Render(map[string]any{"messages": messages, "tools": probeTools(), "add_generation_prompt": prompt,
		"bos_token": "\u27e6begin\u27e7", "eos_token": endToken})
}

// showsTools says whether the model gets to see the tools, beside the calls.
func (p prober) showsTools() bool {
	out, err := p.render(true, user())
	if err != nil || !strings.Contains(out, firstTool) {
		out, err = p.render(true, system(), user())
	}
	return err == nil && strings.Contains(out, firstTool) && strings.Contains(out, secondTool)
}

// answer is what the template makes of an assistant's turn, from where it differs from the question alone, less what ends
// any turn.
func (p prober) answer(assistant *template.Dict) (string, bool) {
	whole, err := p.render(false, user(), assistant)
	if err != nil {
		return "", false
	}
	asked, err := p.render(true, user())
	if err != nil {
		return "", false
	}
	n := 0
	for n < len(whole) && n < len(asked) && whole[n] == asked[n] {
		n++
	}
	if at := strings.LastIndex(whole, userText); at > n { // a template that shows turns anew
		n = at + len(userText)
	}
	if at := strings.LastIndexAny(whole[:n], "<["); at > strings.LastIndexAny(whole[:n], ">]") { // inside a tag
		n = at
	}
	return whole[n:], true
}

// turnEnd is what ends an assistant's turn.
func (p prober) turnEnd() string {
	plain, ok := p.answer(message("assistant", plainText))
	if _, end, found := strings.Cut(plain, plainText); ok && found {
		return end
	}
	return ""
}
