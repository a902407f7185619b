package dialog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"serval"
)

// Wish is what a user may say of answers: how they are made, and how they are shown.
type Wish struct {
	serval.Generation
	Reasoning string // "show", "hide", or "off": the model is asked not to reason; "": show on a terminal, else hide
	Stats     bool   // a line after each answer says what it took
	schema    string // where the constraint's schema is from
}

// Setting is one thing to wish, for flags and for /set.
type Setting struct {
	Name string // with dashes
	Arg  string // what its value is called
	Help string
	set  func(*Wish, string) error
	show func(*Wish) string // "": the model's own
	drop func(*Wish)
}

const (
	mostSchema = 4 << 20 // bytes
	mostStops  = 16
)

// Settings are all there are.
func Settings() []Setting {
	return []Setting{
		number("temperature", "0: always the most likely token; higher: more varied", 0, 100, func(w *Wish) **float64 { return &w.Temperature }),
		number("top-p", "pick among the most likely tokens that make up this share", 0, 1, func(w *Wish) **float64 { return &w.TopP }),
		whole("top-k", "pick among this many most likely tokens; 0: all", 0, func(w *Wish) **int { return &w.TopK }),
		number("min-p", "leave out tokens less likely than this share of the most likely one", 0, 1, func(w *Wish) **float64 { return &w.MinP }),
		number("repetition-penalty", "above 1: tokens that were used come less", 0.01, 100, func(w *Wish) **float64 { return &w.RepetitionPenalty }),
		number("presence-penalty", "above 0: tokens that were used come less", -2, 2, func(w *Wish) **float64 { return &w.PresencePenalty }),
		number("frequency-penalty", "above 0: tokens come less the more often they were used", -2, 2, func(w *Wish) **float64 { return &w.FrequencyPenalty }),
		seed(),
		whole("max-tokens", "most tokens of an answer (default: what fits)", 1, func(w *Wish) **int { return &w.Limit }),
		stop(),
		schema(),
		{
			Name: "reasoning", Arg: "show|hide|off", Help: "a model's reasoning: show, hide, or off: ask the model for none (default: show on a terminal)",
			set: func(w *Wish, v string) error {
				if !slices.Contains([]string{"show", "hide", "off"}, v) {
					return fmt.Errorf("%q: use show, hide or off", v)
				}
				w.Reasoning = v
				return nil
			},
			show: func(w *Wish) string { return w.Reasoning }, drop: func(w *Wish) { w.Reasoning = "" },
		},
	}
}

func number(name, help string, least, most float64, at func(*Wish) **float64) Setting {
	return Setting{
		Name: name, Arg: "number", Help: help,
		set: func(w *Wish, v string) error {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil || math.IsNaN(f) || f < least || f > most {
				return fmt.Errorf("%q: must be a number between %v and %v", v, least, most)
			}
			*at(w) = &f
			return nil
		},
		show: func(w *Wish) string {
			if p := *at(w); p != nil {
				return strconv.FormatFloat(*p, 'g', -1, 64)
			}
			return ""
		},
		drop: func(w *Wish) { *at(w) = nil },
	}
}

func whole(name, help string, least int, at func(*Wish) **int) Setting {
	return Setting{
		Name: name, Arg: "int", Help: help,
		set: func(w *Wish, v string) error {
			n, err := strconv.ParseInt(v, 10, 32)
			if err != nil || int(n) < least {
				return fmt.Errorf("%q: must be a whole number of at least %d", v, least)
			}
			i := int(n)
			*at(w) = &i
			return nil
		},
		show: func(w *Wish) string {
			if p := *at(w); p != nil {
				return strconv.Itoa(*p)
			}
			return ""
		},
		drop: func(w *Wish) { *at(w) = nil },
	}
}

func seed() Setting {
	return Setting{
		Name: "seed", Arg: "int", Help: "the same seed and settings give the same answer",
		set: func(w *Wish, v string) error {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return fmt.Errorf("%q: must be a whole number", v)
			}
			w.Seed = &n
			return nil
		},
		show: func(w *Wish) string {
			if w.Seed != nil {
				return strconv.FormatInt(*w.Seed, 10)
			}
			return ""
		},
		drop: func(w *Wish) { w.Seed = nil },
	}
}

func stop() Setting {
	return Setting{
		Name: "stop", Arg: "text", Help: `the answer ends before this text; may be given more than once; "…" may hold \n`,
		set: func(w *Wish, v string) error {
			if s, err := strconv.Unquote(v); err == nil && len(v) > 1 && v[0] == '"' {
				v = s
			}
			if v == "" || len(w.Stop) == mostStops {
				return fmt.Errorf("%q: a stop text has at least one character, and there are at most %d", v, mostStops)
			}
			w.Stop = append(w.Stop[:len(w.Stop):len(w.Stop)], v)
			return nil
		},
		show: func(w *Wish) string {
			quoted := make([]string, len(w.Stop))
			for i, s := range w.Stop {
				quoted[i] = strconv.Quote(s)
			}
			return strings.Join(quoted, " ")
		},
		drop: func(w *Wish) { w.Stop = nil },
	}
}

func schema() Setting {
	return Setting{
		Name: "json-schema", Arg: "FILE|JSON", Help: "the answer is JSON that fits this schema, a file or the schema itself",
		set: func(w *Wish, v string) error {
			text, from := v, "given here"
			if !strings.HasPrefix(strings.TrimSpace(v), "{") {
				raw, err := readSome(v, mostSchema)
				if err != nil {
					return err
				}
				text, from = string(raw), v
			}
			var object map[string]json.RawMessage
			if err := json.Unmarshal([]byte(text), &object); err != nil {
				return fmt.Errorf("the schema (%s) is no JSON object: %w", from, err)
			}
			w.Constraint, w.schema = &serval.Constraint{Kind: "json_schema", Source: text, Param: "json-schema"}, from
			return nil
		},
		show: func(w *Wish) string {
			if w.Constraint == nil {
				return ""
			}
			return w.schema
		},
		drop: func(w *Wish) { w.Constraint = nil },
	}
}

// readSome reads a file of at most so many bytes.
func readSome(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(raw)) > most {
		err = fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return raw, err
}

// find is the setting of that name, with dashes or underscores.
func find(name string) (*Setting, bool) {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	for _, s := range Settings() {
		if s.Name == name {
			return &s, true
		}
	}
	return nil, false
}

// Set sets one setting; the value "default" leaves it to the model again.
func (w *Wish) Set(name, value string) error {
	s, ok := find(name)
	if !ok {
		var names []string
		for _, s := range Settings() {
			names = append(names, s.Name)
		}
		return fmt.Errorf("no setting %q; there are %s", name, strings.Join(names, ", "))
	}
	if value == "default" {
		s.drop(w)
		return nil
	}
	if value == "" {
		return errors.New(s.Name + ": give a value, or default")
	}
	if err := s.set(w, value); err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return nil
}

// Chat is the conversation as the model is asked to go on with it.
func (w *Wish) Chat(messages []serval.Message) *serval.Chat {
	c := &serval.Chat{Messages: messages, Generation: w.Generation}
	if w.Reasoning == "off" {
		off := false
		c.Think = &off
	}
	return c
}

// Cut says why an answer ended before its end, and what to do; "" if it did not. context is the model's, 0 if it is not known.
func (w *Wish) Cut(a *Answer, context int) string {
	if a.Finish != serval.Length {
		return ""
	}
	used := a.Usage.Prompt + a.Usage.Completion
	switch {
	case w.Limit != nil && a.Usage.Completion >= int64(*w.Limit):
		return fmt.Sprintf("the answer was cut after %d tokens; raise max-tokens for more", *w.Limit)
	case context > 0 && used >= int64(context):
		return fmt.Sprintf("the answer was cut: prompt and answer fill the model's context of %d tokens (%d and %d)", context, a.Usage.Prompt, a.Usage.Completion)
	}
	return fmt.Sprintf("the answer was cut after %d tokens, by the model's own limit or its context", a.Usage.Completion)
}
