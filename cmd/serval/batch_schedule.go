package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"serval/batch"
	"serval/client"
)

// batchSchedule are the commands about what makes jobs by itself.
func batchSchedule() *cobra.Command {
	c := &cobra.Command{
		Use: "schedule", Short: "Have a server make jobs by itself: at times, or of files that appear", Args: cobra.NoArgs, RunE: showHelp,
		Long: `Have a server make jobs by itself: at the times of a cron expression, or one for each file or object that appears somewhere.`,
	}
	c.AddCommand(scheduleCreate(), scheduleList(), scheduleAbout("delete", "Delete a schedule; its jobs stay", func(ctx context.Context, s *client.Client, _ *admin, id string) error {
		return s.DeleteSchedule(ctx, id)
	}), scheduleAbout("run", "Make a schedule's job now", func(ctx context.Context, s *client.Client, a *admin, id string) error {
		j, err := s.RunSchedule(ctx, id)
		if err != nil {
			return err
		}
		return a.show(j)
	}))
	return c
}

type scheduleFlags struct {
	submitFlags
	s client.Scheduling
}

func scheduleCreate() *cobra.Command {
	f := &scheduleFlags{}
	c := &cobra.Command{
		Use:   "create NAME MODEL (--cron TIMES | --watch PLACE) [-i IN] [-o OUT]",
		Short: "Have jobs made by themselves",
		Long: `Have jobs made by themselves. With --cron one is made at each of the times; after a downtime, at most one of those that were missed.
With --watch one is made of each file or object that appears at a place, once: a file when it has been the same for --settle.

IN and OUT may have {date} (2026-11-27) and {time} (20261127T023000) in them, with --watch also {name} and {stem} of the object.`,
		Example: `  serval batch schedule create nightly credit --cron '30 2 * * *' --zone Europe/Berlin -i /data/applicants.csv -o '/data/scored-{date}.csv'
  serval batch schedule create arrivals credit --watch 's3://rows/in/' -o 's3://rows/scored/{stem}.csv'`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[0], args[1]) },
	}
	f.submitFlags.flags(c)
	for _, name := range []string{"name", "once", "wait"} {
		_ = c.Flags().MarkHidden(name) // of one job; an error: there is none
	}
	l := c.Flags()
	l.StringVar(&f.s.Cron, "cron", "", "minute, hour, day of month, month and day of week, as in '30 2 * * *'; or @hourly, @daily, @weekly, @monthly")
	l.StringVar(&f.s.Zone, "zone", "", "time zone of --cron, {date} and {time}, as in Europe/Berlin (default: UTC)")
	l.StringVar(&f.s.Watch, "watch", "", "instead of --cron: a folder, pattern or s3://bucket/prefix/, gs:// or azblob:// where objects appear")
	l.StringVar(&f.s.Every, "every", "", "how often --watch looks (default: 10s)")
	l.StringVar(&f.s.Settle, "settle", "", "how long a file must have been the same before it is taken (default: 10s)")
	l.BoolVar(&f.s.Existing, "existing", false, "take the objects, too, that are there already")
	return c
}

func (f *scheduleFlags) run(c *cobra.Command, name, model string) error {
	if f.s.Watch != "" {
		f.job.Input = append([]string{f.s.Watch}, f.job.Input...) // made absolute with the others
	}
	if err := f.place(model); err != nil {
		return err
	}
	if f.s.Watch != "" {
		f.s.Watch, f.job.Input = f.job.Input[0], f.job.Input[1:]
	}
	spec, err := json.Marshal(batch.DataSpec{Job: f.job, Split: f.split, Parts: f.parts, Restart: f.restart})
	if err != nil {
		return err
	}
	f.s.Name, f.s.Job, f.s.Priority, f.s.ExpiresIn, f.s.Keep, f.s.Tenant = name, spec, f.priority, f.expires, f.keep, f.tenant
	return f.admin.with(func(s *client.Client) error {
		made, err := s.AddSchedule(c.Context(), &f.s)
		if err != nil {
			return err
		}
		if f.admin.out == "json" {
			return asJSON(os.Stdout, made)
		}
		fmt.Println(made.ID, next(made))
		return nil
	})
}

// next says when a schedule's next job comes.
func next(s *client.Schedule) string {
	if s.Next.IsZero() {
		return "watches " + s.Schedule.Watch
	}
	return "next " + s.Next.Local().Format("2006-01-02 15:04 MST")
}

func scheduleList() *cobra.Command {
	a := &admin{}
	c := &cobra.Command{Use: "list", Short: "List a server's schedules", Example: "  serval batch schedule list", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		return a.with(func(s *client.Client) error {
			list, err := s.Schedules(c.Context())
			if err != nil {
				return err
			}
			if a.out == "json" {
				return asJSON(os.Stdout, list)
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tWHEN\tNEXT\tLAST\tLAST JOB\tREASON")
			for i := range list {
				s := &list[i]
				last, when := "", s.Schedule.Cron
				if !s.Last.IsZero() {
					last = s.Last.Local().Format(time.DateTime)
				}
				if when == "" {
					when = s.Schedule.Watch
				} else if s.Schedule.Zone != "" {
					when += " " + s.Schedule.Zone
				}
				due := "when one appears"
				if !s.Next.IsZero() {
					due = s.Next.Local().Format(time.DateTime)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, when, due, last, s.LastJob, s.Reason)
			}
			return w.Flush()
		})
	}}
	a.flags(c)
	a.output(c)
	return c
}

func scheduleAbout(verb, short string, run func(context.Context, *client.Client, *admin, string) error) *cobra.Command {
	a := &admin{}
	c := &cobra.Command{Use: verb + " NAME", Short: short, Example: "  serval batch schedule " + verb + " nightly", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return a.with(func(s *client.Client) error { return run(c.Context(), s, a, args[0]) })
	}}
	a.flags(c)
	a.output(c)
	return c
}
