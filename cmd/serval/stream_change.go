package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"serval"
	"serval/client"
)

func streamApply() *cobra.Command {
	a, file, dry := &admin{}, "", false
	c := &cobra.Command{
		Use: "apply -f FILE", Short: "Make streams at run time, or replace them",
		Long: `Make the streams of a file, or replace those of the same names. The file holds them as a serval.yaml does, below 'streams:', and the
server checks all of them before it changes one. A stream that is replaced finishes what is under way first; nothing is lost. The
streams last over restarts of the server. Those of the server's own serval.yaml are changed there. Of environment variables the
server fills in ${SERVAL_STREAM_…}.`,
		Example: "  serval stream apply -f streams.yaml\n  serval stream apply -f streams.yaml --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			raw, err := readFile(file)
			if err != nil {
				return usage(err)
			}
			return a.with(func(s *client.Client) error {
				list, err := s.ApplyStreams(c.Context(), raw, dry)
				if err != nil {
					return named(err, file)
				}
				return a.changes(list)
			})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "YAML or JSON file with the streams; -: standard input")
	_ = c.MarkFlagRequired("file") // an error: there is no such flag
	c.Flags().BoolVar(&dry, "dry-run", false, "change nothing, and say what would be")
	a.flags(c)
	a.report(c)
	return c
}

func readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(name)
}

// named puts the file's name where the server speaks of the body.
func named(err error, file string) error {
	var e *serval.Error
	if !errors.As(err, &e) || e.Code != serval.InvalidArgument {
		return err
	}
	lines := bytes.Split([]byte(e.Message), []byte("\n"))
	for i, l := range lines {
		if rest, ok := bytes.CutPrefix(l, []byte("body:")); ok {
			lines[i] = append([]byte(file+":"), rest...)
		}
	}
	e.Message = string(bytes.Join(lines, []byte("\n")))
	return e
}

// changes prints what became of streams.
func (a *admin) changes(list []client.StreamChange) error {
	if a.out == "json" {
		return asJSON(os.Stdout, list)
	}
	for i := range list {
		c := &list[i]
		would := ""
		if c.DryRun {
			would = "would be "
		}
		fmt.Printf("%s  %s%s\n", c.Name, would, c.Change)
		if c.Warning != "" {
			fmt.Println(" ", c.Warning)
		}
	}
	return nil
}

func streamDelete() *cobra.Command {
	a, dry := &admin{}, false
	c := &cobra.Command{
		Use: "delete STREAM", Short: "Delete a stream that was made at run time",
		Long: `Delete a stream that was made with 'serval stream apply'. What is under way is finished first. The broker keeps the positions of its
consumer group: the same stream, made again, goes on where this one stopped.`,
		Example: "  serval stream delete scores", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(func(s *client.Client) error {
				change, err := s.DeleteStream(c.Context(), args[0], dry)
				if err != nil {
					return err
				}
				return a.changes([]client.StreamChange{*change})
			})
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "change nothing, and say what would be")
	a.flags(c)
	a.report(c)
	return c
}

func streamDefinition() *cobra.Command {
	a := &admin{}
	c := &cobra.Command{
		Use: "definition STREAM", Short: "Show the YAML that a stream was made with at run time", Example: "  serval stream definition scores", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(func(s *client.Client) error {
				text, err := s.StreamDefinition(c.Context(), args[0])
				if err == nil {
					_, err = fmt.Print(text)
				}
				return err
			})
		},
	}
	a.flags(c)
	return c
}
