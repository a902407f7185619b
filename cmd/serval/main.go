// Command serval serves models. Each sub-command is one file here; none does more than read its flags and call a package.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker: -ldflags "-X main.version=…".
var version = "dev"

// Exit codes, beside 0 and 1 (it failed).
const exitUsage = 2 // the command line or a configuration is wrong

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second Ctrl-C ends the program at once
	}()
	c, ran := root(), false
	c.PersistentPreRun = func(*cobra.Command, []string) { ran = true }
	err := c.ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	var e *exitError
	if errors.As(err, &e) {
		if e.err != nil {
			fmt.Fprintln(os.Stderr, "serval:", e.err)
		}
		os.Exit(e.code)
	}
	fmt.Fprintln(os.Stderr, "serval:", err)
	if !ran { // an unknown command, or too many arguments
		os.Exit(exitUsage)
	}
	os.Exit(1)
}

// exitError ends the program with a code of its own.
type exitError struct {
	code int
	err  error // nil: it was said already
}

func (e *exitError) Error() string { return fmt.Sprint(e.err) }

// showHelp is what a command does that is only a group of others. With cobra.NoArgs a word that is none of them is an error.
func showHelp(c *cobra.Command, _ []string) error { return c.Help() }

func usage(err error) error { return &exitError{code: exitUsage, err: err} }

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "serval",
		Short: "Serve every kind of model behind the protocols that your clients already speak",
		Long: `Serval is one program that serves models: online, behind the protocols that clients already speak.

  serval model pull starter     fetch three small models
  serval serve                  serve what is in ./models
  serval predict credit FILE    ask a model`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see '%s --help'", err, c.CommandPath()))
	})
	c.AddCommand(serveCommand(), probeCommand(), hostCommand(), modelCommand(), predictCommand(), runCommand(), batchCommand(), streamCommand(), benchCommand(), doctorCommand(), configCommand())
	return c
}
