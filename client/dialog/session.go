package dialog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/term"

	"serval"
)

// Options are a conversation's.
type Options struct {
	Handler serval.Handler // answers *serval.Chat
	Model   serval.Ref
	Where   string // who answers, for the greeting
	Context int    // most tokens of the conversation; 0: not known
	System  string
	Wish    Wish
	Plain   bool // no shades
}

// Signal is a signal of the system that ended a conversation.
type Signal struct{ os.Signal }

func (s Signal) Error() string { return s.String() }

var errLeave = errors.New("leave")

// IsTerminal says whether a person sits at the file.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Run holds a conversation on the terminal that in and out are, until the user leaves: then it returns nil. It takes SIGINT,
// SIGTERM and SIGHUP for that time; the two latter end it with a Signal. When it returned, the terminal is as it was; in is read
// on by a goroutine that only the process's end stops, so nobody else may read it.
func Run(ctx context.Context, o Options, in, out *os.File) error {
	was, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return fmt.Errorf("the terminal: %w", err)
	}
	defer func() { _ = term.Restore(int(in.Fd()), was) }()
	_, _ = out.WriteString(pasteOn) // a terminal that does not know it ignores it
	defer func() { _, _ = out.WriteString(pasteOff) }()
	keys := newKeyboard(in, out, func() (int, int, error) { return term.GetSize(int(out.Fd())) })

	signals, done := make(chan os.Signal, 4), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case s := <-signals:
				if s == os.Interrupt {
					keys.interrupt()
				} else {
					keys.quit(Signal{s})
				}
			case <-done:
				return
			}
		}
	})
	defer watching.Wait()
	defer close(done)
	s := &session{Options: o, ctx: ctx, keys: keys, out: &crlf{out}}
	return s.run()
}

// crlf writes to a raw terminal, which does not go back to the start of a line by itself.
type crlf struct{ w io.Writer }

func (c *crlf) Write(p []byte) (int, error) {
	if _, err := io.WriteString(c.w, strings.ReplaceAll(string(p), "\n", "\r\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// lines are where a session reads; keyboard is.
type lines interface {
	// line reads a line; io.EOF ends the conversation, errInterrupted was Ctrl-C.
	line(prompt string) (string, error)
	// during runs f, and calls stop when the user wants it to end.
	during(stop func(), f func())
	// said are notes for the user.
	said() []string
}

// session is a conversation under way. It belongs to one goroutine.
type session struct {
	Options
	ctx      context.Context
	keys     lines
	out      io.Writer
	messages []serval.Message // questions and answers in turn
	failed   string           // a question that has no answer; "": none
	file     string           // where the conversation was saved or loaded from
	broken   error            // what writing to the terminal failed with
}

func (s *session) run() error {
	s.say("%s", s.greeting())
	interrupts := 0
	for {
		text, err := s.read()
		for _, note := range s.keys.said() {
			s.complain(errors.New(note))
		}
		var by Signal
		switch {
		case s.broken != nil:
			return s.broken
		case errors.Is(err, errInterrupted):
			if interrupts++; interrupts > 1 {
				return nil
			}
			s.say("%s", s.shade("(Ctrl-C again, Ctrl-D or /bye leaves)"))
			continue
		case errors.As(err, &by):
			return by
		case errors.Is(err, io.EOF):
			s.say("")
			return nil
		case err != nil && isEnd(err):
			return err
		case err != nil:
			s.complain(err)
			continue
		}
		interrupts = 0
		if strings.TrimSpace(text) == "" {
			continue
		}
		if err := s.do(text); errors.Is(err, errLeave) {
			return nil
		} else if err != nil {
			s.complain(err)
		}
	}
}

// isEnd says whether the terminal itself is gone.
func isEnd(err error) bool {
	var p *os.PathError
	return errors.As(err, &p) || errors.Is(err, os.ErrClosed)
}

func (s *session) greeting() string {
	text := s.Model.String()
	if s.Where != "" {
		text += ", " + s.Where
	}
	if s.Context > 0 {
		text += fmt.Sprintf(", context of %d tokens", s.Context)
	}
	return s.shade(text + ". /help shows the commands, Ctrl-D leaves.")
}

const quotes = `"""`

// read reads a message: a line, or what stands between """ and """.
func (s *session) read() (string, error) {
	text, err := s.keys.line(">>> ")
	after, multi := strings.CutPrefix(strings.TrimSpace(text), quotes)
	if err != nil || !multi {
		return text, err
	}
	if before, whole := strings.CutSuffix(after, quotes); whole {
		return before, nil
	}
	all := []string{}
	if after != "" {
		all = append(all, after)
	}
	for {
		text, err := s.keys.line("... ")
		if err != nil {
			return "", err
		}
		if before, last := strings.CutSuffix(strings.TrimRight(text, " \t"), quotes); last {
			if before != "" {
				all = append(all, before)
			}
			return strings.Join(all, "\n"), nil
		}
		all = append(all, text)
	}
}

func (s *session) do(text string) error {
	name, rest, isCommand := parseLine(text)
	if !isCommand {
		return s.ask(rest)
	}
	c, err := findCommand(name)
	if err != nil {
		return err
	}
	return c.run(s, rest)
}

// ask puts a question with all that was said before, and keeps both. A question that got no answer is not kept, but can be asked
// again.
func (s *session) ask(question string) error {
	messages := make([]serval.Message, 0, len(s.messages)+2)
	if s.System != "" {
		messages = append(messages, serval.Message{Role: "system", Content: s.System})
	}
	messages = append(messages, s.messages...)
	messages = append(messages, serval.Message{Role: "user", Content: question})

	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	p := &Printer{Out: s.out, Clean: true, Dim: !s.Plain}
	if s.Wish.Reasoning == "" || s.Wish.Reasoning == "show" {
		p.Aside = s.out
	}
	var a *Answer
	var err error
	s.keys.during(cancel, func() { a, err = Ask(ctx, s.Handler, s.Model, s.Wish.Chat(messages), p.Piece) })
	stopped := err != nil && ctx.Err() != nil
	if end := p.End(); end != nil {
		s.broken = end
		return nil
	}
	if err != nil && !(stopped && a.Text != "") {
		s.failed = question
		if stopped {
			s.say("%s", s.shade("(stopped; /retry asks again)"))
			return nil
		}
		return s.explain(err)
	}
	s.failed = ""
	s.messages = append(s.messages, serval.Message{Role: "user", Content: question}, serval.Message{Role: "assistant", Content: a.Text, Reasoning: a.Reasoning})
	if stopped {
		s.say("%s", s.shade("(stopped; what was said stays in the conversation, /undo forgets it)"))
		return nil
	}
	if cut := s.Wish.Cut(a, s.Context); cut != "" {
		s.say("%s", s.shade("("+cut+")"))
	}
	if s.Wish.Stats {
		s.say("%s", s.shade(a.Stats()))
	}
	if used := a.Usage.Prompt + a.Usage.Completion; s.Context > 0 && used*5 > int64(s.Context)*4 {
		s.say("%s", s.shade(fmt.Sprintf("(the conversation takes %d of %d tokens; /drop forgets its oldest turn, /clear all of it)", used, s.Context)))
	}
	s.say("")
	return nil
}

// explain adds to an error what can be done about it here.
func (s *session) explain(err error) error {
	e := serval.AsError(err)
	switch {
	case e.Reason == "context_length_exceeded" && len(s.messages) > 0:
		return fmt.Errorf("%s. Nothing was cut, and the question was not asked: /drop forgets the oldest turn, /clear all of them, then /retry asks it", e.Message)
	case e.Code == serval.Unavailable || e.Code == serval.ResourceExhausted:
		return fmt.Errorf("%s; /retry asks again", e.Message)
	}
	return errors.New(e.Message)
}

// say writes a line, or several.
func (s *session) say(format string, args ...any) {
	if _, err := fmt.Fprintf(s.out, format+"\n", args...); err != nil && s.broken == nil {
		s.broken = err
	}
}

func (s *session) complain(err error) {
	text := "error: " + Clean(err.Error())
	if !s.Plain {
		text = "\x1b[31m" + text + plain
	}
	s.say("%s", text)
}

func (s *session) shade(text string) string {
	if text = Clean(text); s.Plain {
		return text
	}
	return dim + text + plain
}
