package dialog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"serval"
)

func TestParseLine(t *testing.T) {
	for _, test := range []struct {
		line, name, rest string
		command          bool
	}{
		{"hello", "", "hello", false},
		{"/help", "help", "", true},
		{"  /Set  temperature 0.2 ", "set", "temperature 0.2", true},
		{"/system Be brief.", "system", "Be brief.", true},
		{"//etc/hosts is a file", "", "/etc/hosts is a file", false},
		{"/help\nis not one of several lines", "", "/help\nis not one of several lines", false},
		{"/", "", "", true},
		{"a /help", "", "a /help", false},
	} {
		if name, rest, command := parseLine(test.line); name != test.name || rest != test.rest || command != test.command {
			t.Errorf("%q: %q, %q, %v", test.line, name, rest, command)
		}
	}
	for name, word := range map[string]string{"clera": "did you mean /clear", "hist": "did you mean /history", "xyzzyx": "/help shows them", "": "/help"} {
		if _, err := findCommand(name); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("/%s: %v", name, err)
		}
	}
	for _, name := range []string{"help", "?", "retry", "regenerate", "bye", "exit"} {
		if _, err := findCommand(name); err != nil {
			t.Error(err)
		}
	}
}

func TestComplete(t *testing.T) {
	for line, want := range map[string]string{"/he": "/help ", "/s": "/s", "/set temp": "/set temperature ", "/set top": "/set top-", "/xyz": "/xyz", "text": "text", "/re": "/retry "} {
		if got, at, ok := complete(line, len(line), '\t'); got != want || at != len(want) || !ok {
			t.Errorf("%q: %q %d %v", line, got, at, ok)
		}
	}
	if _, _, ok := complete("/he", 3, 'l'); ok {
		t.Error("a letter completes")
	}
}

func TestWish(t *testing.T) {
	w := &Wish{}
	for name, value := range map[string]string{"temperature": "0.2", "top_p": "0.9", "TOP-K": "40", "min-p": "0", "repetition-penalty": "1.1", "presence_penalty": "-2",
		"frequency-penalty": "2", "seed": "-7", "max-tokens": "5", "stop": `"\n\n"`, "json-schema": `{"type": "integer"}`, "reasoning": "off"} {
		if err := w.Set(name, value); err != nil {
			t.Error(err)
		}
	}
	c := w.Chat([]serval.Message{{Role: "user"}})
	if *c.Temperature != 0.2 || *c.TopP != 0.9 || *c.TopK != 40 || *c.Seed != -7 || *c.Limit != 5 || c.Stop[0] != "\n\n" || c.Constraint.Kind != "json_schema" || *c.Think {
		t.Errorf("%+v", c)
	}
	for _, s := range Settings() {
		if s.show(w) == "" {
			t.Errorf("%s is not shown", s.Name)
		}
		if err := w.Set(s.Name, "default"); err != nil || s.show(w) != "" {
			t.Errorf("%s default: %v, %q", s.Name, err, s.show(w))
		}
	}
	for name, value := range map[string]string{"temperature": "warm", "top-p": "1.5", "top-k": "-1", "max-tokens": "0", "seed": "1.5", "stop": `""`, "json-schema": "/nowhere/schema.json",
		"reasoning": "loud", "colour": "red", "min-p": "NaN", "repetition-penalty": ""} {
		if err := w.Set(name, value); err == nil || !strings.Contains(err.Error(), name) && name != "json-schema" {
			t.Errorf("%s %s: %v", name, value, err)
		}
	}
	if err := w.Set("json-schema", `{"type":`); err == nil {
		t.Error("half a schema is taken")
	}
	file := filepath.Join(t.TempDir(), "schema.json")
	if err := os.WriteFile(file, []byte(`{"type": "string"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Set("json-schema", file); err != nil || w.Constraint.Source != `{"type": "string"}` {
		t.Errorf("%v %+v", err, w.Constraint)
	}
	if s, _ := find("stop"); s != nil {
		for range mostStops {
			if err := w.Set("stop", "x"); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Set("stop", "x"); err == nil {
			t.Error("too many stop texts")
		}
	}
}

func TestCut(t *testing.T) {
	five := 5
	a := &Answer{Finish: serval.Length, Usage: serval.Usage{Prompt: 90, Completion: 10}}
	if text := (&Wish{}).Cut(a, 100); !strings.Contains(text, "context of 100") {
		t.Error(text)
	}
	if text := (&Wish{Generation: serval.Generation{Limit: &five}}).Cut(a, 200); !strings.Contains(text, "max-tokens") {
		t.Error(text)
	}
	if text := (&Wish{}).Cut(a, 200); !strings.Contains(text, "own limit") {
		t.Error(text)
	}
	a.Finish = serval.Stop
	if text := (&Wish{}).Cut(a, 100); text != "" {
		t.Error(text)
	}
}

func TestPrinter(t *testing.T) {
	show := func(p *Printer, pieces ...serval.Delta) {
		for i := range pieces {
			if err := p.Piece(&pieces[i]); err != nil {
				t.Error(err)
			}
		}
		if err := p.End(); err != nil {
			t.Error(err)
		}
	}
	var out, aside strings.Builder
	show(&Printer{Out: &out, Aside: &aside}, serval.Delta{Reasoning: "hm"}, serval.Delta{Text: "a\x1b[2Jb"}, serval.Delta{Text: "c\n"})
	if out.String() != "a\x1b[2Jbc\n" || aside.String() != "hm\n\n" {
		t.Errorf("%q %q", out.String(), aside.String())
	}
	out.Reset()
	show(&Printer{Out: &out, Aside: &out, Clean: true, Dim: true}, serval.Delta{Reasoning: "h"}, serval.Delta{Reasoning: "m"}, serval.Delta{Text: "a\x1b[2J\u009b\tß"})
	if out.String() != dim+"hm"+plain+"\n\na\ufffd[2J\ufffd\tß\n" {
		t.Errorf("%q", out.String())
	}
	out.Reset()
	show(&Printer{Out: &out}, serval.Delta{Reasoning: "hm"})
	if out.String() != "" {
		t.Errorf("%q", out.String())
	}
}

func TestAnswer(t *testing.T) {
	h := serval.HandlerFunc(func(_ context.Context, r *serval.Request, s serval.Sink) error {
		for _, c := range []serval.Chunk{
			{Output: &serval.Delta{Reasoning: "hm"}, Usage: serval.Usage{Prompt: 5, Cached: 2, Completion: 1}},
			{Output: &serval.Delta{Text: "a"}, Usage: serval.Usage{Completion: 1}},
			{Output: &serval.Delta{}, Finish: serval.Stop},
		} {
			if err := s.Send(&c); err != nil {
				return fmt.Errorf("wrapped, and lost: %v", err)
			}
		}
		return nil
	})
	a, err := Ask(context.Background(), h, serval.Ref{Name: "m"}, &serval.Chat{}, func(*serval.Delta) error { return nil })
	if err != nil || a.Text != "a" || a.Reasoning != "hm" || a.Finish != serval.Stop || a.Usage.Completion != 2 || a.First == 0 || a.Whole < a.First {
		t.Errorf("%+v, %v", a, err)
	}
	for _, word := range []string{"2 tokens", "the prompt has 5, 2 of them cached"} {
		if !strings.Contains(a.Stats(), word) {
			t.Errorf("no %q in %s", word, a.Stats())
		}
	}
	raw, err := a.JSON("m")
	var o struct {
		Model, Answer, Reasoning, Finish string
		Usage                            map[string]int
	}
	if err != nil || json.Unmarshal(raw, &o) != nil || o.Answer != "a" || o.Model != "m" || o.Finish != "stop" || o.Usage["cached_tokens"] != 2 {
		t.Errorf("%s %v", raw, err)
	}
	full := errors.New("the disk is full")
	if a, err = Ask(context.Background(), h, serval.Ref{Name: "m"}, &serval.Chat{}, func(*serval.Delta) error { return full }); !errors.Is(err, full) || a.Reasoning != "hm" {
		t.Errorf("%+v, %v", a, err)
	}
	other := serval.HandlerFunc(func(_ context.Context, _ *serval.Request, s serval.Sink) error {
		return s.Send(&serval.Chunk{Output: &serval.Tensors{}})
	})
	if _, err := Ask(context.Background(), other, serval.Ref{}, &serval.Chat{}, nil); serval.AsError(err).Code != serval.Unimplemented {
		t.Error(err)
	}
}

func TestTranscript(t *testing.T) {
	file := filepath.Join(t.TempDir(), "talk.json")
	said := []serval.Message{{Role: "user", Content: "<a> & ü"}, {Role: "assistant", Content: "b\nc", Reasoning: "hm"}}
	if err := writeTranscript(file, "Be brief.", said, false); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	system, got, err := loadTranscript(file)
	if err != nil || system != "Be brief." || len(got) != 2 || got[0].Content != said[0].Content || got[1].Content != said[1].Content || got[1].Reasoning != "hm" {
		t.Errorf("%q %+v %v", system, got, err)
	}
	if err := writeTranscript(file, "", said, false); err == nil || !strings.Contains(err.Error(), "-f") {
		t.Errorf("written over: %v", err)
	}
	if err := writeTranscript(file, "", said[:1], true); err != nil {
		t.Error(err)
	}
	for text, word := range map[string]string{
		``: "list of messages", `[]`: "no messages", `{"messages": []}`: "no messages", `[{"role": "tool", "content": ""}]`: `role "tool"`,
		`[{"role": "user"}, {"role": "system"}]`: "message 2", `[{"role": 1}]`: "list of messages",
	} {
		if _, _, err := readTranscript([]byte(text)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, got, err := readTranscript([]byte(`{"model": "x", "messages": [{"role": "user", "content": "hi"}]}`)); err != nil || len(got) != 1 {
		t.Errorf("a request's body: %v %v", got, err)
	}
	if _, _, err := loadTranscript(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "there is no file") {
		t.Error(err)
	}
}

func FuzzTranscript(f *testing.F) {
	f.Add([]byte(`[{"role":"system","content":"s"},{"role":"user","content":"u"}]`))
	f.Add([]byte(`{"messages":[{"role":"assistant","content":"a"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, messages, err := readTranscript(raw)
		for _, m := range messages {
			if err == nil && m.Role != "user" && m.Role != "assistant" {
				t.Errorf("a message of role %q", m.Role)
			}
		}
	})
}

// typed runs what a terminal sends through a paster, in pieces of the size.
func typed(in string, size int) (keys string, pastes []string, cut bool) {
	var p paster
	for part := range slices.Chunk([]byte(in), size) {
		p.feed(part, func(c byte) { keys += string(rune(c)) }, func(text string, long bool) {
			pastes = append(pastes, text)
			cut = cut || long
		})
	}
	return
}

func TestPaste(t *testing.T) {
	for size := 1; size < 9; size++ {
		keys, pastes, _ := typed("a\x1b[A\x1b\x1b[200~one\r\ntwo\rthree\x1b[20\x1b[201~b\x1b[200~\x03x\x1b[201~\x1b[2~", size)
		if keys != "a\x1b[A\x1bb\x1b[2~" || len(pastes) != 2 || pastes[0] != "one\ntwo\nthree\ufffd[20" || pastes[1] != "\ufffdx" {
			t.Errorf("size %d: %q %q", size, keys, pastes)
		}
	}
	if _, pastes, cut := typed(pasteStart+strings.Repeat("x", mostPaste+1)+pasteEnd, 1<<20); !cut || len(pastes) != 1 {
		t.Error("a paste without bounds")
	}
	for text, want := range map[string]string{"short": "", "a\nb": "[paste 3: 2 lines]", "a\tb": "[paste 3: 3 characters]", strings.Repeat("ü", 501): "[paste 3: 501 characters]"} {
		if got := placeholder(text, 3); got != want {
			t.Errorf("%.10q: %q", text, got)
		}
	}
}

func FuzzPaste(f *testing.F) {
	f.Add("a\x1b[200~x\x1b[201~b", 3)
	f.Add("\x1b\x1b\x1b[20", 1)
	f.Fuzz(func(t *testing.T, in string, size int) {
		one, pastes, _ := typed(in, 1)
		other, more, _ := typed(in, max(1, size%64))
		if one != other || !slices.Equal(pastes, more) {
			t.Errorf("%q %q, in other pieces %q %q", one, pastes, other, more)
		}
	})
}

// script is a user: lines, and errors in their place. A line "^C" is that key, during an answer too.
type script struct {
	t     *testing.T
	lines []string
}

func (s *script) line(string) (string, error) {
	if len(s.lines) == 0 {
		return "", io.EOF
	}
	l := s.lines[0]
	s.lines = s.lines[1:]
	if l == "^C" {
		return "", errInterrupted
	}
	return l, nil
}

func (s *script) during(stop func(), f func()) {
	if len(s.lines) > 0 && s.lines[0] == "^C during" {
		s.lines = s.lines[1:]
		stop()
	}
	f()
}

func (s *script) said() []string { return nil }

// talk has a user type lines, and a model answer each question with the number of messages that it saw and the last one's text.
func talk(t *testing.T, o Options, typed ...string) (shown string, s *session, err error) {
	t.Helper()
	if o.Handler == nil {
		o.Handler = serval.HandlerFunc(func(ctx context.Context, r *serval.Request, sink serval.Sink) error {
			in := r.Input.(*serval.Chat)
			last := in.Messages[len(in.Messages)-1].Content
			if err := sink.Send(&serval.Chunk{Output: &serval.Delta{Text: fmt.Sprintf("%d %s: %s", len(in.Messages), in.Messages[0].Role, last)}}); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return serval.AsError(err)
			}
			if strings.HasPrefix(last, "long") {
				return serval.Errorf(serval.InvalidArgument, "the prompt has 9 tokens").Named("context_length_exceeded")
			}
			return sink.Send(&serval.Chunk{Output: &serval.Delta{}, Finish: serval.Stop, Usage: serval.Usage{Prompt: 50, Completion: 40}})
		})
	}
	o.Plain = true
	var out strings.Builder
	s = &session{Options: o, ctx: context.Background(), keys: &script{t: t, lines: typed}, out: &out}
	err = s.run()
	return out.String(), s, err
}

func wants(t *testing.T, shown string, words ...string) {
	t.Helper()
	for _, w := range words {
		at := strings.Index(shown, w)
		if at < 0 {
			t.Fatalf("no %q, in this order, in\n%s", w, shown)
		}
		shown = shown[at+len(w):]
	}
}

func TestSession(t *testing.T) {
	file := filepath.Join(t.TempDir(), "talk.json")
	shown, s, err := talk(t, Options{Model: serval.Ref{Name: "m"}, Context: 100, Wish: Wish{Stats: true}},
		"", "one", "/system Be brief.", "two", "/undo", "three", "/retry", "/history", "/save "+file, "/save "+file, "/clear", "four", "/load "+file, "five",
		`"""six`, `seven"""`, `"""eight"""`, "//nine", "/drop 2", "ten", "/drp", "/set temperature 0", "/set temperature", "/set", "/set colour red", "/set stats off",
		"/retry", "^C", "eleven", "^C during", "twelve", "^C", "/help", "^C", "^C", "never")
	if err != nil {
		t.Fatal(err)
	}
	wants(t, shown, "m, context of 100 tokens. /help", "1 user: one", "40 tokens in", "(the conversation takes 90 of 100 tokens", "4 system: two", "(forgotten: the last question",
		"4 system: three", "4 system: three", "system\nBe brief.\n", "user\none\n", "assistant\n1 user: one", "(4 messages are in "+file, "(4 messages are in", "(forgotten;",
		"2 system: four", "(4 messages from", "6 system: five", "8 system: six\nseven", "10 system: eight", "12 system: /nine", "(forgotten: the 4 oldest", "10 system: ten",
		"error: no command /drp; did you mean /drop?", "temperature          0 ", "top-p                default", "stats                on", "error: no setting \"colour\"",
		"temperature 0 the answer is the same", "10 system: ten", "Ctrl-C again", "12 system: eleven", "14 system: twelve", "Ctrl-C again", "/history", "Ctrl-C again")
	if strings.Contains(shown, "never") || *s.Wish.Temperature != 0 {
		t.Error(shown)
	}
}

func TestSessionFails(t *testing.T) {
	shown, s, err := talk(t, Options{}, "one", "^C during", "two", "long", "/undo", "long 2", "/drop", "/retry", "/history", "/load /nowhere", "/save", "/drop x", "/bye", "never")
	if err != nil {
		t.Fatal(err)
	}
	wants(t, shown, "1 user: one", "3 user: two", "5 user: long\nerror: the prompt has 9 tokens. Nothing was cut", "/drop", "5 user: long 2", "error:", "(forgotten: the 2 oldest",
		"3 user: long 2", "error:", "user\ntwo", "error: there is no file /nowhere", "error: /save FILE", "error: /drop x")
	if len(s.messages) != 2 || s.failed != "long 2" || strings.Contains(shown, "never") {
		t.Errorf("%+v", s)
	}
	shown, _, _ = talk(t, Options{}, "/retry", "/undo", "/drop", "one", "^C during")
	wants(t, shown, "error: nothing was asked yet", "error: nothing was asked yet", "error: the conversation is empty", "1 user: one")
	shown, s, _ = talk(t, Options{Handler: serval.HandlerFunc(func(ctx context.Context, _ *serval.Request, _ serval.Sink) error {
		<-ctx.Done()
		return serval.AsError(ctx.Err())
	})}, "one", "^C during", "/history")
	wants(t, shown, "(stopped; /retry asks again)", "the conversation is empty")
	if s.failed != "one" {
		t.Errorf("%+v", s)
	}
	down := serval.HandlerFunc(func(context.Context, *serval.Request, serval.Sink) error {
		return serval.Errorf(serval.Unavailable, "draining\x1b[2J")
	})
	shown, _, _ = talk(t, Options{Handler: down}, "one")
	wants(t, shown, "error: draining\ufffd[2J; /retry asks again")
}

// TestKeyboard types into a line editor that shows lines on nothing.
func TestKeyboard(t *testing.T) {
	in, user := io.Pipe()
	k := newKeyboard(in, io.Discard, nil)
	typed := func(keys string) {
		go func() { _, _ = io.WriteString(user, keys) }()
	}
	expect := func(want string, err error) {
		t.Helper()
		if got, failed := k.line("> "); got != want || !errors.Is(failed, err) {
			t.Errorf("%q, %v; want %q, %v", got, failed, want, err)
		}
	}
	typed("hallo\x1b[D\x7f\r")
	expect("halo", nil)
	typed("\x1b[A!\r")
	expect("halo!", nil)
	typed("see \x1b[200~a\r\nb\n\x1b[201~ and \x1b[200~c\x1b[201~\r")
	expect("see a\nb and c", nil)
	typed("half a line\x03")
	expect("", errInterrupted)
	typed("next\r")
	expect("next", nil)
	typed(strings.Repeat("x", mostLine+1) + "\r")
	if _, err := k.line("> "); err == nil || !strings.Contains(err.Error(), "at most 4095 characters") {
		t.Errorf("a long line: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	k.during(stop, func() {
		typed("ahead\x03later\r")
		<-ctx.Done()
	})
	expect("later", nil)
	k.interrupt() // nothing is under way
	typed("\x04")
	expect("", io.EOF)
	_ = user.Close()

	in, user = io.Pipe()
	var shown strings.Builder
	k = newKeyboard(in, &shown, func() (int, int, error) { return 0, 0, nil }) // a terminal that does not know its size
	typed("hallo\r")
	expect("hallo", nil)
	if shown.String() != "> hallo\r\n" {
		t.Errorf("shown is %q", shown.String())
	}
	k.quit(Signal{os.Interrupt})
	expect("", Signal{os.Interrupt})
	ctx, stop = context.WithCancel(context.Background())
	k.during(stop, func() { <-ctx.Done() })
	_ = user.Close()
}
