package dialog

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// command is what a line that begins with a slash does.
type command struct {
	name  string
	alias string // another name; ""
	arg   string // what follows, for the help
	help  string
	run   func(*session, string) error
}

func commands() []command {
	return []command{
		{"help", "?", "", "this list", (*session).help},
		{"system", "", "[TEXT|none]", "say what the model should be like, or show it", (*session).setSystem},
		{"set", "", "[NAME [VALUE]]", "a setting, as in /set temperature 0.2; default: the model's own again; alone: all of them", (*session).set},
		{"retry", "regenerate", "", "ask the last question again", (*session).retry},
		{"undo", "", "", "forget the last question and its answer", (*session).undo},
		{"drop", "", "[N]", "forget the oldest question and its answer, or the N oldest, to make room", (*session).drop},
		{"clear", "", "", "forget the conversation", (*session).clear},
		{"history", "", "", "show the conversation", (*session).history},
		{"save", "", "[-f] FILE", "write the conversation as JSON; -f: over a file that is there", (*session).save},
		{"load", "", "FILE", "go on with a conversation from such a file", (*session).load},
		{"bye", "exit", "", "leave, as Ctrl-D does", func(*session, string) error { return errLeave }},
	}
}

// parseLine says what a line is: a command and what follows it, or a text for the model. "//" begins a text with one slash.
func parseLine(line string) (name, rest string, isCommand bool) {
	first := strings.TrimLeftFunc(line, unicode.IsSpace)
	if text, ok := strings.CutPrefix(first, "//"); ok {
		return "", "/" + text, false
	}
	if !strings.HasPrefix(first, "/") || strings.Contains(first, "\n") {
		return "", line, false
	}
	name, rest, _ = strings.Cut(first[1:], " ")
	return strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(rest), true
}

// findCommand is the command of that name; else the error names the nearest one.
func findCommand(name string) (*command, error) {
	best, distance := "", 3
	for _, c := range commands() {
		if name == c.name || name == c.alias && name != "" {
			return &c, nil
		}
		if d := edits(name, c.name); d < distance || len(name) > 1 && strings.HasPrefix(c.name, name) {
			best, distance = c.name, d
		}
	}
	if best != "" {
		return nil, fmt.Errorf("no command /%s; did you mean /%s? A text that begins with a slash is written with two", name, best)
	}
	return nil, fmt.Errorf("no command /%s; /help shows them. A text that begins with a slash is written with two", name)
}

// edits is how many characters must be put in, left out or changed to make b of a (Levenshtein's distance).
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// complete is what the tab key does: it writes a command, or a setting, out. It is golang.org/x/term's callback.
func complete(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	before, names := line[:pos], []string(nil)
	head := ""
	if word, ok := strings.CutPrefix(before, "/set "); ok {
		head = "/set "
		for _, s := range Settings() {
			names = append(names, s.Name)
		}
		before = word
	} else if word, ok := strings.CutPrefix(before, "/"); ok {
		head = "/"
		for _, c := range commands() {
			names = append(names, c.name)
		}
		before = word
	} else {
		return line, pos, true // a tab is no text
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, before) })
	if len(names) == 0 {
		return line, pos, true
	}
	common := names[0]
	for _, n := range names {
		for !strings.HasPrefix(n, common) {
			common = common[:len(common)-1]
		}
	}
	if len(names) == 1 {
		common += " "
	}
	done := head + common
	return done + line[pos:], len(done), true
}

func (s *session) help(string) error {
	for _, c := range commands() {
		name := "/" + c.name
		if c.arg != "" {
			name += " " + c.arg
		}
		if c.alias != "" {
			name += ", /" + c.alias
		}
		s.say("  %-24s %s", name, c.help)
	}
	s.say(`
  Several lines: begin with """ and end with """. A pasted text of several lines is one message.
  Ctrl-C stops an answer, and at the prompt drops the line; twice, or Ctrl-D, leaves. Up and down: what was typed before.`)
	return nil
}

func (s *session) setSystem(text string) error {
	switch text {
	case "":
		if s.System == "" {
			s.say("no system message")
		} else {
			s.say("%s", Clean(s.System))
		}
		return nil
	case "none":
		text = ""
	}
	s.System = text
	return nil
}

func (s *session) set(rest string) error {
	name, value, _ := strings.Cut(rest, " ")
	value = strings.TrimSpace(value)
	if name == "stats" {
		switch value {
		case "on", "off":
			s.Wish.Stats = value == "on"
			return nil
		}
		return fmt.Errorf("stats: on or off")
	}
	if name != "" && value != "" {
		return s.Wish.Set(name, value)
	}
	if name != "" {
		if _, ok := find(name); !ok {
			return s.Wish.Set(name, value) // which says so
		}
	}
	for _, one := range Settings() {
		if name != "" && one.Name != strings.ReplaceAll(strings.ToLower(name), "_", "-") {
			continue
		}
		v := one.show(&s.Wish)
		if v == "" {
			v = "default"
		}
		s.say("  %-20s %-12s %s", one.Name, v, one.Help)
	}
	if name == "" {
		s.say("  %-20s %-12s %s", "stats", map[bool]string{true: "on", false: "off"}[s.Wish.Stats], "after each answer, what it took")
	}
	return nil
}

func (s *session) clear(string) error {
	s.messages, s.failed = nil, ""
	s.say("(forgotten; the system message and the settings stay)")
	return nil
}

func (s *session) undo(string) error {
	if s.failed != "" {
		s.failed = ""
		return nil
	}
	for i := len(s.messages) - 1; i >= 0; i-- {
		if s.messages[i].Role == "user" {
			s.messages = s.messages[:i]
			s.say("(forgotten: the last question and its answer; %d messages are left)", i)
			return nil
		}
	}
	return fmt.Errorf("nothing was asked yet")
}

func (s *session) drop(rest string) error {
	n := 1
	if rest != "" {
		if _, err := fmt.Sscanf(rest, "%d", &n); err != nil || n < 1 {
			return fmt.Errorf("/drop %s: how many of the oldest questions?", rest)
		}
	}
	if len(s.messages) == 0 {
		return fmt.Errorf("the conversation is empty")
	}
	at := 0
	for ; n > 0 && at < len(s.messages); n-- {
		for at++; at < len(s.messages) && s.messages[at].Role != "user"; at++ {
		}
	}
	s.messages = slices.Delete(s.messages, 0, at)
	s.say("(forgotten: the %d oldest messages; %d are left)", at, len(s.messages))
	return nil
}

func (s *session) retry(string) error {
	question := s.failed
	if question == "" {
		i := len(s.messages) - 1
		for i >= 0 && s.messages[i].Role != "user" {
			i--
		}
		if i < 0 {
			return fmt.Errorf("nothing was asked yet")
		}
		question = s.messages[i].Content
		s.messages = s.messages[:i]
	}
	if t := s.Wish.Temperature; s.Wish.Seed != nil || t != nil && *t == 0 {
		s.say("(with this seed or temperature 0 the answer is the same again; see /set)")
	}
	return s.ask(question)
}

func (s *session) history(string) error {
	if s.System != "" {
		s.say("%s\n%s\n", s.shade("system"), Clean(s.System))
	}
	for _, m := range s.messages {
		s.say("%s\n%s\n", s.shade(m.Role), Clean(m.Content))
	}
	if len(s.messages) == 0 {
		s.say("the conversation is empty")
	}
	return nil
}

func (s *session) save(rest string) error {
	file, replace := rest, false
	if after, ok := strings.CutPrefix(rest, "-f "); ok {
		file, replace = strings.TrimSpace(after), true
	}
	if file == "" {
		return fmt.Errorf("/save FILE: name a file")
	}
	file = home(file)
	if err := writeTranscript(file, s.System, s.messages, replace || file == s.file); err != nil {
		return err
	}
	s.file = file
	s.say("(%d messages are in %s)", len(s.messages), file)
	return nil
}

func (s *session) load(rest string) error {
	if rest == "" {
		return fmt.Errorf("/load FILE: name a file")
	}
	file := home(rest)
	system, messages, err := loadTranscript(file)
	if err != nil {
		return err
	}
	if n := len(messages); n > 0 && messages[n-1].Role == "user" {
		s.failed = messages[n-1].Content
		messages = messages[:n-1]
	} else {
		s.failed = ""
	}
	s.System, s.messages, s.file = system, messages, file
	s.say("(%d messages from %s)", len(messages), file)
	if s.failed != "" {
		s.say("(its last question has no answer: /retry asks it)")
	}
	return nil
}
