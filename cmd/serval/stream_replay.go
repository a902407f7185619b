package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"serval/client"
)

type replayFlags struct {
	admin
	ask          client.StreamReplay
	from, to     []string
	since, until string
	target       string
}

func streamReplay() *cobra.Command {
	f := &replayFlags{}
	c := &cobra.Command{
		Use: "replay STREAM", Short: "Have messages go through a stream again: its dead letters, or a stretch of its source",
		Long: `Have messages go through a stream again.

Dead letters (without --from) go back to the topic and partition that they came from, with their own bytes, keys and headers, and
the running stream answers them like any others. The server remembers which went back: a second replay leaves them out, unless
--again is given.

With --from, messages of the source are answered once more, from a time or a position on, and the results are written to the
target, or to another one. The running stream goes on beside it, and its group's positions stay where they are.

The command shows how far it is. Interrupted, the same command goes on where it stopped; messages that were under way then may be
answered twice.`,
		Example: `  serval stream replay scores --dry-run
  serval stream replay scores --code unavailable --since 2h
  serval stream replay scores --from 2026-11-27T10:00:00Z --to 2026-11-27T11:00:00Z
  serval stream replay scores --from applicants/0@1200 --target '{kafka: {brokers: [kafka:9092], topic: again}}'`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[0]) },
	}
	f.flags(c)
	f.report(c)
	l := c.Flags()
	l.StringSliceVar(&f.ask.Codes, "code", nil, "only dead letters with these error codes: invalid_argument, unavailable, …")
	l.StringVar(&f.since, "since", "", "only dead letters from that time on: 2026-11-27T10:00:00Z, or 2h ago")
	l.StringVar(&f.until, "until", "", "only dead letters before that time")
	l.StringArrayVar(&f.from, "from", nil, "messages of the source from here on: a time, 2h ago, or topic/partition@offset for each partition that is meant")
	l.StringArrayVar(&f.to, "to", nil, "before which it ends: a time, or positions (default: what there is now)")
	l.StringVar(&f.target, "target", "", "with --from: another target than the stream's, as serval.yaml has it")
	l.StringArrayVar(&f.ask.Keys, "message-key", nil, "only messages with this key; may be given several times")
	l.Int64Var(&f.ask.Limit, "limit", 0, "at most so many (default: all)")
	l.BoolVar(&f.ask.Again, "again", false, "also what was replayed before")
	l.BoolVar(&f.ask.DryRun, "dry-run", false, "write nothing, and say how many there are")
	return c
}

func (f *replayFlags) run(c *cobra.Command, name string) error {
	f.ask.What = "dead_letters"
	if len(f.from)+len(f.to) > 0 || f.target != "" {
		f.ask.What, f.ask.From, f.ask.To = "source", f.from, f.to
		if f.since != "" || f.until != "" {
			return usage(fmt.Errorf("--since and --until are of dead letters, --from and --to of the source; use one pair"))
		}
	}
	if f.since != "" {
		f.ask.From = []string{f.since}
	}
	if f.until != "" {
		f.ask.To = []string{f.until}
	}
	if f.target != "" {
		raw, err := json.Marshal(f.target) // YAML that the server reads
		if err != nil {
			return err
		}
		f.ask.Target = raw
	}
	ctx := c.Context()
	bar := newReplayBar(os.Stderr)
	var last client.StreamReplayed
	return f.with(func(s *client.Client) error {
		err := s.ReplayStream(ctx, name, &f.ask, func(r *client.StreamReplayed) error {
			last = *r
			bar.show(r)
			return nil
		})
		bar.clear()
		if err == nil && !last.Ended {
			err = fmt.Errorf("the server ended it")
		}
		if f.out == "json" {
			if e := asJSON(os.Stdout, last); e != nil {
				return e
			}
		} else if last.Ended || last.Read > 0 {
			replayEnd(os.Stdout, &last)
		}
		if err != nil {
			return fmt.Errorf("not finished (the same command goes on where this one stopped): %w", err)
		}
		if last.Failed > 0 {
			return &exitError{code: 1, err: fmt.Errorf("%s were refused: %s", grouped(last.Failed), last.Reason)}
		}
		return nil
	})
}

// replayEnd says what became of it.
func replayEnd(to io.Writer, r *client.StreamReplayed) {
	verb := "replayed"
	if r.DryRun {
		verb = "would be replayed"
	}
	fmt.Fprintf(to, "%s of %s %s", grouped(r.Replayed), grouped(r.Read), verb)
	sep := ": "
	for _, code := range slices.Sorted(maps.Keys(r.Codes)) {
		fmt.Fprintf(to, "%s%s %s", sep, grouped(r.Codes[code]), code)
		sep = ", "
	}
	for _, part := range []struct {
		n    int64
		says string
	}{{r.Before, "were replayed before (--again replays them)"}, {r.Others, "not asked for"}, {r.Incomplete, "without their value, which was too large to be kept"}, {r.Failed, "refused"}} {
		if part.n > 0 {
			fmt.Fprintf(to, "; %s %s", grouped(part.n), part.says)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(r.Dead)) {
		fmt.Fprintf(to, "; %d became dead letters: %s", r.Dead[code], code)
	}
	fmt.Fprintln(to)
}

// replayBar shows how far a replay is: a line that is written over on a terminal, a line now and then elsewhere.
type replayBar struct {
	bar   *bar
	began time.Time
}

func newReplayBar(to *os.File) *replayBar { return &replayBar{newBar(to), time.Now()} }

func (b *replayBar) show(r *client.StreamReplayed) {
	every := logEvery
	if b.bar.terminal {
		every = barEvery
	}
	if time.Since(b.bar.last) < every {
		return
	}
	b.bar.last = time.Now()
	line := fmt.Sprintf("%s looked at, %s replayed, %s/s", grouped(r.Read), grouped(r.Replayed), grouped(int64(float64(r.Replayed)/time.Since(b.began).Seconds())))
	if r.Of > 0 {
		line = fmt.Sprintf("%3.0f %%  %s", min(100, 100*float64(r.Read)/float64(r.Of)), line)
	}
	if r.Reason != "" {
		line += "  (" + r.Reason + ")"
	}
	if b.bar.terminal {
		fmt.Fprint(b.bar.to, "\r\x1b[K"+line+"\r")
		b.bar.drawn = true
		return
	}
	fmt.Fprintln(b.bar.to, "serval:", line)
}

func (b *replayBar) clear() { b.bar.clear() }
