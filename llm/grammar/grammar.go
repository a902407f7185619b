package grammar

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"serval"
)

// Grammar is a compiled constraint. It is not changed once made.
type Grammar struct {
	net      *network
	literals []string // of GBNF: special tokens in them may be used
	triggers []string
}

// Compile compiles a constraint. The error is a *serval.Error InvalidArgument that names the place in the source: what cannot
// be held to is refused here, before anything is generated.
func Compile(c serval.Constraint) (*Grammar, error) {
	g, err := compile(c)
	if err == nil {
		return g, nil
	}
	param := c.Param
	if param == "" {
		param = c.Kind
	}
	var f *fault
	if errors.As(err, &f) {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: %s", param, f).At(param)
	}
	return nil, err
}

func compile(c serval.Constraint) (*Grammar, error) {
	if len(c.Source) > maxSource {
		return nil, faultf("", "it has %d bytes; at most %d are allowed", len(c.Source), maxSource)
	}
	if !utf8.ValidString(c.Source) {
		return nil, faultf("", "it is not valid UTF-8")
	}
	m := &maker{}
	m.rule("root", "", false)
	g := &Grammar{}
	var body *expr
	var err error
	switch c.Kind {
	case "json_object":
		body = m.object()
	case "json_schema":
		body, err = m.schema([]byte(c.Source), "")
	case "regex":
		body, err = parseRegex(c.Source)
	case "choice":
		body, err = choice(c.Source)
	case "gbnf":
		err = m.gbnf(c.Source, g)
		body = m.rules[0].body
	default:
		return nil, faultf("", "the kind of constraint '%s' is not known; use json_object, json_schema, regex, choice or gbnf", c.Kind)
	}
	if err != nil {
		return nil, err
	}
	m.rules[0].body = body
	if g.net, err = assemble(m.rules); err != nil {
		return nil, err
	}
	if f := g.checkTriggers(g.triggers); f != nil {
		return nil, f
	}
	return g, nil
}

// Lazy makes a grammar that binds from the first of the triggers on, which is part of its text: before, anything may come, and
// the answer may end. A token that completes a trigger and goes on must fit the grammar with what it goes on with. The grammar
// binds once: when it is done, the answer ends; repeat in the grammar what may be repeated. Each trigger must begin some text
// of the grammar. Triggers are not empty.
func Lazy(triggers []string, g *Grammar) (*Grammar, error) {
	if len(triggers) == 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "a lazy grammar needs at least one trigger")
	}
	if f := g.checkTriggers(triggers); f != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%s", f)
	}
	lazy := *g
	lazy.triggers = triggers
	lazy.literals = append(append([]string(nil), g.literals...), triggers...)
	return &lazy, nil
}

// checkTriggers says what is wrong with triggers; nil: nothing.
func (g *Grammar) checkTriggers(triggers []string) *fault {
	total := 0
	for _, t := range triggers {
		if total += len(t); t == "" || total > maxTriggers {
			return faultf("", "the triggers of a lazy grammar must not be empty, nor longer than %d bytes together", maxTriggers)
		}
		m := newMachine(g.net)
		if m.feed(m.start(), []byte(t)) == nil {
			return faultf("", "the grammar has no text that begins with its trigger %q", t)
		}
	}
	return nil
}

// maxTriggers bounds the bytes of all triggers: each has a state of the search, and perhaps a mask.
const maxTriggers = 512

// choice is one of a JSON array of strings.
func choice(source string) (*expr, error) {
	var list []string
	d := json.NewDecoder(bytes.NewReader([]byte(source)))
	if err := d.Decode(&list); err != nil || d.More() {
		return nil, faultf("", "the choices must be a JSON array of strings")
	}
	if len(list) == 0 {
		return nil, faultf("", "there are no choices")
	}
	var kids []*expr
	for _, s := range list {
		kids = append(kids, text(s))
	}
	return alt(kids...), nil
}
