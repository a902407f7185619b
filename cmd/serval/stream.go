package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"serval/client"
)

func streamCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "stream", Short: "See and steer a server's streams of messages", Args: cobra.NoArgs, RunE: showHelp,
		Long: `See and steer a server's streams of messages: those of its configuration (streams: in serval.yaml), and those that were made at
run time with 'serval stream apply'.`,
	}
	c.AddCommand(streamList(), streamOne("status", "Show a stream", func(ctx context.Context, s *client.Client, name string) (*client.Stream, error) {
		return s.Stream(ctx, name)
	}),
		streamOne("pause", "Have a stream read no more; what is under way is finished", func(ctx context.Context, s *client.Client, name string) (*client.Stream, error) {
			return s.ChangeStream(ctx, name, "pause")
		}),
		streamOne("resume", "Let a paused stream read on", func(ctx context.Context, s *client.Client, name string) (*client.Stream, error) {
			return s.ChangeStream(ctx, name, "resume")
		}),
		streamApply(), streamDelete(), streamDefinition(), streamTail(), streamReplay(), streamCompare())
	return c
}

func streamList() *cobra.Command {
	a := &admin{}
	c := &cobra.Command{Use: "list", Short: "List a server's streams", Example: "  serval stream list", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		return a.with(func(s *client.Client) error {
			list, err := s.Streams(c.Context())
			if err != nil {
				return err
			}
			if a.out == "json" {
				return asJSON(os.Stdout, list)
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tSTATE\tLAG\tIN FLIGHT\tWRITTEN\tDEAD\tMODEL\tFROM\tTO")
			for i := range list {
				s := &list[i]
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", s.Name, s.State, lagOf(s), s.InFlight, s.Written, sum(s.Dead), s.Model, s.From, s.To)
			}
			return w.Flush()
		})
	}}
	a.flags(c)
	a.report(c)
	return c
}

func streamOne(verb, short string, do func(context.Context, *client.Client, string) (*client.Stream, error)) *cobra.Command {
	a := &admin{}
	c := &cobra.Command{Use: verb + " STREAM", Short: short, Example: "  serval stream " + verb + " scores", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return a.with(func(s *client.Client) error {
			st, err := do(c.Context(), s, args[0])
			if err != nil {
				return err
			}
			if a.out == "json" {
				return asJSON(os.Stdout, st)
			}
			return streamShow(os.Stdout, st)
		})
	}}
	a.flags(c)
	a.report(c)
	return c
}

// report is output with a short form, which is free here.
func (a *admin) report(c *cobra.Command) {
	c.Flags().StringVarP(&a.out, "report", "o", "text", "text or json")
}

func lagOf(s *client.Stream) string {
	if s.Lag < 0 {
		return "?"
	}
	return fmt.Sprint(s.Lag)
}

func sum(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// streamShow writes what is known of a stream, line by line.
func streamShow(to io.Writer, s *client.Stream) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	line("name", "%s", s.Name)
	line("state", "%s", s.State)
	if s.Reason != "" {
		line("reason", "%s", s.Reason)
	}
	if s.Replaying {
		line("replay", "%s", "under way")
	}
	if !s.Configured {
		line("made", "at run time; 'serval stream definition %s' shows with what", s.Name)
	}
	line("model", "%s", s.Model)
	line("from", "%s", s.From)
	line("to", "%s", s.To)
	line("delivery", "%s", s.Delivery)
	line("lag", "%s", lagOf(s))
	line("in flight", "%d (%d bytes)", s.InFlight, s.Bytes)
	line("read", "%d", s.Read)
	line("written", "%d", s.Written)
	for _, code := range slices.Sorted(maps.Keys(s.Dead)) {
		line("dead letters", "%d %s", s.Dead[code], code)
	}
	for _, code := range slices.Sorted(maps.Keys(s.Retries)) {
		line("retries", "%d %s", s.Retries[code], code)
	}
	if s.Dropped > 0 {
		line("dropped", "%d", s.Dropped)
	}
	if s.Undone > 0 {
		line("transactions undone", "%d", s.Undone)
	}
	if s.Written > 0 {
		line("mean age", "%s", time.Duration(s.Age*float64(time.Second)).Round(time.Millisecond))
		line("last written", "%s", s.Last.Local().Format(time.DateTime))
	}
	return w.Flush()
}
