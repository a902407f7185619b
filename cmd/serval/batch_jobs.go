package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"serval/batch"
	"serval/batch/postgres"
	"serval/client"
)

// batchJobCommands are the commands about the jobs of a server's queue.
func batchJobCommands() []*cobra.Command {
	return []*cobra.Command{batchSubmit(), batchList(), batchStatus(), batchChange("cancel", "Cancel a job"), batchChange("pause", "Pause a job; what is done stays done"),
		batchChange("resume", "Let a paused job go on"), batchLogs(), batchWait(), batchFetch(), batchDelete(), batchSchedule()}
}

// admin is where the control API of a server is.
type admin struct{ address, key, out string }

func (a *admin) flags(c *cobra.Command) {
	c.Flags().StringVar(&a.address, "admin", "", "address of the server's admin port (default: $SERVAL_ADMIN, else 127.0.0.1:8082)")
	if c.Flags().Lookup("key") == nil {
		c.Flags().StringVar(&a.key, "key", "", "API key (default: $SERVAL_KEY)")
	}
}

func (a *admin) output(c *cobra.Command) {
	c.Flags().StringVar(&a.out, "report", "text", "text or json")
}

func (a *admin) client() *client.Client {
	address, key := a.address, a.key
	if address == "" {
		if address = os.Getenv("SERVAL_ADMIN"); address == "" {
			address = "127.0.0.1:8082"
		}
	}
	if key == "" {
		key = os.Getenv("SERVAL_KEY")
	}
	return client.New(address, key)
}

// with calls f with a client.
func (a *admin) with(f func(*client.Client) error) error {
	if a.out != "" && a.out != "text" && a.out != "json" {
		return usage(fmt.Errorf("--report %q: use text or json", a.out))
	}
	c := a.client()
	defer c.Close()
	return f(c)
}

func asJSON(to io.Writer, v any) error {
	e := json.NewEncoder(to)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

type submitFlags struct {
	jobFlags
	admin
	name, expires, keep, key, tenant string
	priority                         int
	split, restart, wait             bool
	parts                            int
}

func batchSubmit() *cobra.Command {
	f := &submitFlags{}
	c := &cobra.Command{
		Use:   "submit MODEL -i IN [-o OUT]",
		Short: "Queue a job on a server, which runs it with what online calls leave over",
		Long: `Queue a job on a server. It reads and writes the files itself, so they must be there where the server is. Without -o the server
keeps the result, and 'serval batch fetch' gets it.

Other places than files are those of batch.places in the server's configuration, which has their addresses and keys, too: a job says
s3://bucket/key, gs://bucket/key, azblob://container/key, https://host/path, or
postgres://NAME?table=rows with the name that the configuration gives a database.`,
		Example: `  serval batch submit credit -i applicants.csv -o scored.csv
  serval batch submit credit -i 's3://rows/in/*.parquet' -o 'postgres://warehouse?table=scores&key=applicant'
  serval batch submit credit -i 'days/*.csv' -o scored --split --wait`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[0]) },
	}
	f.flags(c)
	c.Flags().BoolVar(&f.wait, "wait", false, "wait for its end")
	return c
}

func (f *submitFlags) flags(c *cobra.Command) {
	f.jobFlags.flags(c)
	for _, name := range []string{"config", "models", "data", "cache", "library", "offline", "local", "server"} {
		_ = c.Flags().MarkHidden(name) // they mean nothing here; an error: there is none
	}
	f.admin.flags(c)
	f.admin.output(c)
	l := c.Flags()
	l.Lookup("input").Usage = "what the server reads: a file, folder or glob of its machine, or one of its batch.places; may be given several times"
	l.StringVarP(&f.job.Output, "output", "o", "", "file or place to write, or the folder with --split (default: the server keeps the result)")
	l.StringVar(&f.job.OutputFormat, "output-format", "", "format of the output (default: by its name, or the input's)")
	l.StringArrayVar(&f.outOpts, "output-option", nil, "option of the output's format, as in delimiter=;")
	l.StringVar(&f.passthrough, "passthrough", "", "columns to keep beside the answer: all, none, or names (default: those that no input takes)")
	l.StringVar(&f.job.MaxErrors, "max-errors", "", "fail when more rows than that are bad: 100, or 1% (default: never)")
	l.StringVar(&f.name, "name", "", "what the job is called in lists")
	l.StringVar(&f.expires, "expires", "", "give the job up when it has not ended after that: 24h (default: never)")
	l.StringVar(&f.keep, "keep", "", "how long the job and its result are kept: 168h (default: as the server is configured)")
	l.StringVar(&f.key, "once", "", "a word of your own: a second job with it is the first one")
	l.StringVar(&f.tenant, "tenant", "", "as whom the model is asked (default: the key's owner)")
	l.IntVar(&f.priority, "priority", 0, "among jobs: 1 is the most urgent, 9 the least (default: 5)")
	l.BoolVar(&f.split, "split", false, "let several workers share the job, by input files; the output is a folder with a file for each")
	l.IntVar(&f.parts, "parts", 0, "let several workers share the job, also within one large file: cut it into about so many parts; the output is the same as without")
	l.BoolVar(&f.restart, "restart", false, "replace an output that is there")
}

// place makes the job of the flags, with paths as the server knows them.
func (f *submitFlags) place(model string) error {
	if err := f.finish(model); err != nil {
		return usage(err)
	}
	f.admin.key = f.remote.key
	for _, path := range append([]*string{&f.job.Output}, pointers(f.job.Input)...) {
		if *path == "-" {
			return usage(fmt.Errorf("a server does not read standard input; name a file"))
		}
		if *path != "" && !strings.Contains(*path, "://") {
			abs, err := filepath.Abs(*path)
			if err != nil {
				return err
			}
			*path = abs
		}
	}
	return nil
}

func (f *submitFlags) run(c *cobra.Command, model string) error {
	if err := f.place(model); err != nil {
		return err
	}
	spec, err := json.Marshal(batch.DataSpec{Job: f.job, Split: f.split, Parts: f.parts, Restart: f.restart})
	if err != nil {
		return err
	}
	return f.admin.with(func(s *client.Client) error {
		j, err := s.Submit(c.Context(), &client.Submission{Name: f.name, Job: spec, Priority: f.priority, Key: f.key, ExpiresIn: f.expires, Keep: f.keep, Tenant: f.tenant})
		if err != nil {
			return err
		}
		if f.wait {
			fmt.Fprintln(os.Stderr, "serval:", j.ID)
			return waitFor(c.Context(), s, j.ID, &f.admin)
		}
		return f.admin.show(j)
	})
}

func pointers(list []string) (out []*string) {
	for i := range list {
		out = append(out, &list[i])
	}
	return out
}

// show prints one job.
func (a *admin) show(j *client.Job) error {
	if a.out == "json" {
		return asJSON(os.Stdout, j)
	}
	fmt.Println(line(j))
	if j.Reason != "" {
		fmt.Println(" ", j.Reason)
	}
	if j.Result == nil {
		return nil
	}
	for i := range j.Result.Files {
		f := &j.Result.Files[i]
		fmt.Printf("  %s bytes: %s\n", grouped(f.Size), whereabouts(j, f))
	}
	return nil
}

// whereabouts says where a file of a result lies, or how to get it.
func whereabouts(j *client.Job, f *client.JobFile) string {
	out, name := j.Result.Output, strings.TrimSuffix(f.Name, batch.ErrorsSuffix)
	suffix := f.Name[len(name):]
	switch {
	case f.Held != "":
		return "serval batch fetch " + j.ID + " " + f.Name
	case postgres.Is(out) && suffix != "":
		return out + ", in the table with _errors behind its name"
	case postgres.Is(out):
		return out
	case path.Base(out) == name:
		return out + suffix
	case strings.Contains(out, "://"):
		return strings.TrimSuffix(out, "/") + "/" + f.Name
	}
	return filepath.Join(out, f.Name)
}

// line is a job in one line.
func line(j *client.Job) string {
	p := &j.Progress
	text := fmt.Sprintf("%s  %s  %s rows", j.ID, j.State, grouped(p.Rows))
	if p.Bad > 0 {
		text += fmt.Sprintf(", %s bad", grouped(p.Bad))
	}
	if j.Over() {
		if !j.Started.IsZero() {
			text += fmt.Sprintf("  in %v", j.Ended.Sub(j.Started).Round(10*time.Millisecond))
		}
		return text
	}
	if p.Done >= 0 && p.Pieces > 0 {
		text += fmt.Sprintf("  %.0f %%", 100*p.Done)
	}
	if p.Rate > 0 {
		text += fmt.Sprintf("  %s rows/s", grouped(int64(p.Rate)))
	}
	if p.Left > 0 {
		text += fmt.Sprintf("  %v left", time.Duration(p.Left*float64(time.Second)).Round(time.Second))
	}
	return text
}

func batchList() *cobra.Command {
	a, limit, states := &admin{}, 0, []string{}
	c := &cobra.Command{Use: "list", Short: "List a server's jobs, the newest first", Example: "  serval batch list\n  serval batch list --state running -o json", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		return a.with(func(s *client.Client) error {
			jobs, err := s.Jobs(c.Context(), limit, states...)
			if err != nil {
				return err
			}
			if a.out == "json" {
				return asJSON(os.Stdout, jobs)
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSTATE\tROWS\tBAD\tDONE\tCREATED\tNAME")
			for i := range jobs {
				j := &jobs[i]
				done := "?"
				if j.Progress.Done >= 0 {
					done = fmt.Sprintf("%.0f %%", 100*j.Progress.Done)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", j.ID, j.State, grouped(j.Progress.Rows), grouped(j.Progress.Bad), done, j.Created.Local().Format(time.DateTime), j.Name)
			}
			return w.Flush()
		})
	}}
	a.flags(c)
	a.output(c)
	c.Flags().IntVar(&limit, "limit", 0, "most jobs (default: 100)")
	c.Flags().StringSliceVar(&states, "state", nil, "only jobs in these states")
	return c
}

// about makes a command about one job.
func about(use, short string, a *admin, run func(context.Context, *client.Client, string) error) *cobra.Command {
	c := &cobra.Command{Use: use + " JOB", Short: short, Example: "  serval batch " + use + " JOB", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return a.with(func(s *client.Client) error { return run(c.Context(), s, args[0]) })
	}}
	a.flags(c)
	return c
}

func batchStatus() *cobra.Command {
	a := &admin{}
	c := about("status", "Show a job", a, func(ctx context.Context, s *client.Client, id string) error {
		j, err := s.Job(ctx, id)
		if err != nil {
			return err
		}
		return a.show(j)
	})
	a.output(c)
	return c
}

func batchChange(verb, short string) *cobra.Command {
	a := &admin{}
	c := about(verb, short, a, func(ctx context.Context, s *client.Client, id string) error {
		j, err := s.ChangeJob(ctx, id, verb)
		if err != nil {
			return err
		}
		return a.show(j)
	})
	a.output(c)
	return c
}

func batchDelete() *cobra.Command {
	a := &admin{}
	return about("delete", "Delete a job that has ended, and the result that the server keeps", a, func(ctx context.Context, s *client.Client, id string) error {
		return s.DeleteJob(ctx, id)
	})
}

func batchLogs() *cobra.Command {
	a := &admin{}
	return about("logs", "Show what workers said about a job", a, func(ctx context.Context, s *client.Client, id string) error {
		for after := int64(0); ; {
			lines, err := s.JobLog(ctx, id, after)
			if err != nil || len(lines) == 0 {
				return err
			}
			for _, l := range lines {
				fmt.Printf("%s  %s  %s\n", l.Time.Local().Format("2006-01-02 15:04:05.000"), l.Worker, l.Text)
				after = l.Seq
			}
		}
	})
}

func batchWait() *cobra.Command {
	a := &admin{}
	c := about("wait", "Wait until a job has ended; the exit code is 0 if it succeeded", a, func(ctx context.Context, s *client.Client, id string) error {
		return waitFor(ctx, s, id, a)
	})
	a.output(c)
	return c
}

const waitEvery = 500 * time.Millisecond

// waitFor waits for a job's end and shows its progress.
func waitFor(ctx context.Context, s *client.Client, id string, a *admin) error {
	said := time.Now()
	for {
		j, err := s.Job(ctx, id)
		if err != nil {
			return err
		}
		if j.Over() {
			if err := a.show(j); err != nil || j.State == "succeeded" {
				return err
			}
			return &exitError{code: 1, err: errors.New("the job is " + j.State)}
		}
		if time.Since(said) > logEvery {
			said = time.Now()
			fmt.Fprintln(os.Stderr, "serval:", line(j))
		}
		select {
		case <-time.After(waitEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func batchFetch() *cobra.Command {
	a, out := &admin{}, ""
	c := &cobra.Command{Use: "fetch JOB [FILE]", Short: "Get a result that the server keeps", Example: "  serval batch fetch JOB > result.csv", Args: cobra.RangeArgs(1, 2), RunE: func(c *cobra.Command, args []string) error {
		return a.with(func(s *client.Client) error {
			name := ""
			if len(args) == 2 {
				name = args[1]
			} else {
				j, err := s.Job(c.Context(), args[0])
				if err != nil {
					return err
				}
				if j.Result == nil {
					return fmt.Errorf("job %s is %s; there is no result", j.ID, j.State)
				}
				for _, f := range j.Result.Files {
					if !f.Errors && name != "" {
						return usage(fmt.Errorf("the result has several files; name one, as 'serval batch status %s' lists them", j.ID))
					} else if !f.Errors {
						name = f.Name
					}
				}
			}
			to := io.Writer(os.Stdout)
			if out != "" && out != "-" {
				f, err := os.Create(out)
				if err != nil {
					return err
				}
				return errors.Join(s.JobResult(c.Context(), args[0], name, f), f.Close())
			}
			return s.JobResult(c.Context(), args[0], name, to)
		})
	}}
	a.flags(c)
	c.Flags().StringVarP(&out, "output", "o", "", "file to write (default: standard output)")
	return c
}
