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

	"serval"
	"serval/client"
)

func streamCompare() *cobra.Command {
	a := &admin{}
	var how client.StreamComparing
	var threshold float64
	var begin, end bool
	c := &cobra.Command{
		Use: "compare [CHAMPION CHALLENGER]", Short: "Show how a challenger's answers stand against a champion's",
		Long: `Show how the answers of a challenger stand against those of its champion, a stream that reads the same messages in a group of
its own: how often they agree, how far they are apart, how long messages take through each, and, where outcomes are told, how
right each was. Without streams: lists the comparisons.

A challenger whose definition has a section compare is always compared. --begin begins it for any two streams of the server, until
that ends; --end ends it and shows how they stood.`,
		Example: "  serval stream compare\n  serval stream compare scores scores-next\n  serval stream compare scores scores-next --begin --threshold 0.5",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 0 && len(args) != 2 || len(args) == 0 && (begin || end) {
				return fmt.Errorf("takes the champion's and the challenger's name, or none to list the comparisons")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(func(s *client.Client) error {
				if len(args) == 0 {
					list, err := s.StreamComparisons(c.Context())
					if err != nil {
						return err
					}
					if a.out == "json" {
						return asJSON(os.Stdout, list)
					}
					return comparisonList(os.Stdout, list)
				}
				ask := s.CompareStreams
				switch {
				case begin:
					if c.Flags().Changed("threshold") {
						how.Threshold = &threshold
					}
					ask = func(ctx context.Context, champion, challenger string) (*serval.StreamComparison, error) {
						return s.BeginComparison(ctx, champion, challenger, how)
					}
				case end:
					ask = s.EndComparison
				}
				r, err := ask(c.Context(), args[0], args[1])
				if err != nil {
					return err
				}
				if a.out == "json" {
					return asJSON(os.Stdout, r)
				}
				return comparisonShow(os.Stdout, r)
			})
		},
	}
	a.flags(c)
	a.report(c)
	c.Flags().BoolVar(&begin, "begin", false, "begin to compare them")
	c.Flags().BoolVar(&end, "end", false, "end what --begin began")
	c.Flags().StringVar(&how.Output, "output", "", "with --begin: the models' output that is compared (default: the first one)")
	c.Flags().Float64Var(&threshold, "threshold", 0, "with --begin: from which on a number counts as 1 (default: numbers are only set against each other)")
	c.Flags().IntVar(&how.Window, "window", 0, "with --begin: most answers that wait for their counterpart (default: 50000)")
	c.MarkFlagsMutuallyExclusive("begin", "end")
	return c
}

func comparisonList(to io.Writer, list []serval.StreamComparison) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CHAMPION\tCHALLENGER\tPAIRS\tSAME LABEL\tMEAN DIFFERENCE\tSINCE")
	for i := range list {
		r := &list[i]
		same, apart := "-", "-"
		if r.Labels != nil {
			same = percent(r.Labels.Share)
		}
		if r.Numbers != nil {
			apart = figure(r.Numbers.MeanDifference)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", r.Champion.Stream, r.Challenger.Stream, r.Pairs, same, apart, r.Since.Local().Format(time.DateTime))
	}
	return w.Flush()
}

func percent(share float64) string { return fmt.Sprintf("%.2f%%", 100*share) }
func figure(v float64) string      { return fmt.Sprintf("%.6g", v) }

// comparisonShow writes a comparison as a table of both, and what they have in common below it.
func comparisonShow(to io.Writer, r *serval.StreamComparison) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	both := func(name string, of func(*serval.StreamSide) string) {
		fmt.Fprintf(w, "%s\t%s\t%s\n", name, of(&r.Champion), of(&r.Challenger))
	}
	seconds := func(s float64) string {
		if s == 0 {
			return "?"
		}
		return time.Duration(s * float64(time.Second)).Round(100 * time.Microsecond).String()
	}
	fmt.Fprintln(w, "\tCHAMPION\tCHALLENGER")
	both("stream", func(s *serval.StreamSide) string { return s.Stream })
	both("model", func(s *serval.StreamSide) string { return s.Model })
	both("answers", func(s *serval.StreamSide) string { return fmt.Sprint(s.Seen) })
	both("waiting for the other", func(s *serval.StreamSide) string { return fmt.Sprint(s.Waiting) })
	both("without the other", func(s *serval.StreamSide) string { return fmt.Sprint(s.Alone) })
	both("dead letters", func(s *serval.StreamSide) string { return fmt.Sprint(s.Dead) })
	both("lag", func(s *serval.StreamSide) string {
		if s.Lag < 0 {
			return "?"
		}
		return fmt.Sprint(s.Lag)
	})
	both("age p50", func(s *serval.StreamSide) string { return seconds(s.AgeP50) })
	both("age p99", func(s *serval.StreamSide) string { return seconds(s.AgeP99) })
	if n := r.Numbers; n != nil {
		fmt.Fprintf(w, "mean\t%s\t%s\n", figure(n.Champion), figure(n.Challenger))
	}
	if o := r.Outcomes; o != nil {
		for _, q := range []struct {
			name string
			of   func(*serval.Quality) *float64
		}{
			{"accuracy", func(q *serval.Quality) *float64 { return q.Accuracy }}, {"AUC", func(q *serval.Quality) *float64 { return q.AUC }},
			{"mean absolute error", func(q *serval.Quality) *float64 { return q.MAE }},
		} {
			if x, y := q.of(&o.Champion), q.of(&o.Challenger); x != nil && y != nil {
				fmt.Fprintf(w, "%s\t%s\t%s\n", q.name, figure(*x), figure(*y))
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return comparisonTogether(to, r)
}

// comparisonTogether writes what is of both.
func comparisonTogether(to io.Writer, r *serval.StreamComparison) error {
	output := r.Output
	if output == "" {
		output = "their answers"
	}
	fmt.Fprintf(to, "\n%d messages were answered by both since %s; %s compared.\n", r.Pairs, r.Since.Local().Format(time.DateTime), output)
	if r.Incomplete > 0 {
		fmt.Fprintf(to, "%d of them could not be compared: the answers differ in type or size.\n", r.Incomplete)
	}
	if l := r.Labels; l != nil {
		fmt.Fprintf(to, "Same label: %d of %d (%s). Champion's down, challenger's across:\n", l.Equal, l.Pairs, percent(l.Share))
		confusion(to, l.Confusion)
	}
	if n := r.Numbers; n != nil {
		fmt.Fprintf(to, "Numbers: correlation %s; difference mean %s, p99 %s, largest %s", figure(n.Correlation), figure(n.MeanDifference), figure(n.P99Difference), figure(n.MaxDifference))
		if n.MaxAt != "" {
			fmt.Fprintf(to, " at %s", n.MaxAt)
		}
		fmt.Fprintln(to)
	}
	if o := r.Outcomes; o != nil {
		fmt.Fprintf(to, "Outcomes: %d came, %d messages judged, %d wait for theirs", o.Told, o.Known, o.Waiting)
		if o.NoKey+o.Broken > 0 {
			fmt.Fprintf(to, "; %d messages have no key, %d outcomes cannot be read", o.NoKey, o.Broken)
		}
		fmt.Fprintln(to)
		if o.Reason != "" {
			fmt.Fprintln(to, "Outcomes do not come:", o.Reason)
		}
	}
	if len(r.Examples) > 0 {
		fmt.Fprintln(to, "They differ, for example, on:")
		w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
		for _, e := range r.Examples {
			fmt.Fprintf(w, "  %s\t%s\t%s\n", e.Message, e.Champion, e.Challenger)
		}
		return w.Flush()
	}
	return nil
}

func confusion(to io.Writer, table map[string]map[string]uint64) {
	columns := map[string]bool{}
	for _, row := range table {
		for b := range row {
			columns[b] = true
		}
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	names := slices.Sorted(maps.Keys(columns))
	fmt.Fprint(w, "\t")
	for _, b := range names {
		fmt.Fprintf(w, "%s\t", b)
	}
	fmt.Fprintln(w)
	for _, a := range slices.Sorted(maps.Keys(table)) {
		fmt.Fprintf(w, "%s\t", a)
		for _, b := range names {
			fmt.Fprintf(w, "%d\t", table[a][b])
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // to is where all else is written
}
