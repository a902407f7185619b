package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"serval/batch"
)

const exitInterrupted = 130 // as shells have it for a Ctrl-C

type batchFlags struct {
	jobFlags
	restart bool
	report  string
	work    string
	every   time.Duration
}

func batchRun() *cobra.Command {
	f := &batchFlags{}
	c := &cobra.Command{
		Use:   "run MODEL -i IN -o OUT",
		Short: "Ask a model about every row of a data set, without a server",
		Long: `Ask a model about every row of a data set. The model is loaded here, unless --server is given.

Each column is the input of its name; a model with one matrix input takes all columns in order; --map says otherwise. Columns that
no input takes are kept beside the answer. Rows that cannot be read, or that the model refuses, go to OUT.errors.jsonl with their
number and the reason, and the job goes on, unless there are more than --max-errors.

OUT appears when all is done. Until then OUT.part grows, and a checkpoint beside it is at most a few seconds old: the same command
goes on from there after a kill, a crash or a full disk.`,
		Example: `  serval batch run credit -i applicants.csv -o scored.csv
  serval batch run fraud -i 'days/*.csv.gz' -o scored.jsonl --map x=amount,age,country --passthrough id --max-errors 1%
  serval batch run chat -i tickets.jsonl -o answers.jsonl --prompt 'Classify as bug or wish: {text}' --max-tokens 8
  zcat rows.csv.gz | serval batch run credit -i - -o - > scored.csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[0]) },
	}
	f.flags(c)
	l := c.Flags()
	l.StringVarP(&f.job.Output, "output", "o", "", "what to write: a file, s3://bucket/key, gs://bucket/key, azblob://container/key, postgres://…?table=, or - for standard output")
	l.StringVar(&f.job.OutputFormat, "output-format", "", "format of the output (default: by its name)")
	l.StringArrayVar(&f.outOpts, "output-option", nil, "option of the output's format, as in delimiter=; or crlf=true")
	l.StringVar(&f.passthrough, "passthrough", "", "columns to keep beside the answer: all, none, or names (default: those that no input takes)")
	l.StringVar(&f.job.MaxErrors, "max-errors", "", "fail when more rows than that are bad: 100, or 1% (default: never)")
	l.BoolVar(&f.restart, "restart", false, "begin anew, whatever an earlier run left, and replace the output")
	l.StringVar(&f.report, "report", "text", "what to print at the end: text or json")
	l.DurationVar(&f.every, "checkpoint", 0, "how often the work is brought to the disk (default: 2s)")
	l.StringVar(&f.work, "work", "", "folder for the unfinished output (default: the output's own; of one that is elsewhere, serval/batch in the user's cache)")
	return c
}

func (f *batchFlags) run(c *cobra.Command, model string) error {
	if err := f.finish(model); err != nil {
		return usage(err)
	}
	switch {
	case f.job.Output == "":
		return usage(fmt.Errorf("no output; name it with -o"))
	case f.report != "text" && f.report != "json":
		return usage(fmt.Errorf("--report %q: use text or json", f.report))
	}
	defer f.closePlaces()
	target, err := f.target(c.Context())
	if err != nil {
		return err
	}
	if f.work == "" && target.Path() == "" && f.job.Output != "-" {
		if f.work, err = workFolder(); err != nil {
			return err
		}
	}
	o, end, err := f.options(c.Context())
	if err != nil {
		return err
	}
	defer end()
	show := newBar(os.Stderr)
	o.Target, o.Restart, o.Dir, o.Checkpoint, o.Progress = target, f.restart, f.work, f.every, show.progress
	report, err := batch.Run(c.Context(), o)
	show.clear()
	if err != nil {
		return stopped(c.Context(), err)
	}
	return f.emit(report)
}

// workFolder is where outputs that go elsewhere are until they are complete: it stays the same, so that a job is found again.
func workFolder() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for the unfinished output (%w); name one with --work", err)
	}
	dir := filepath.Join(cache, "serval", "batch")
	return dir, os.MkdirAll(dir, 0o700)
}

func (f *batchFlags) target(ctx context.Context) (batch.Target, error) {
	if f.job.Output == "-" {
		return &batch.Pipe{To: os.Stdout, Errors: os.Stderr}, nil
	}
	return f.locator(f.job.Output).Target(ctx, f.job.Output)
}

// stopped says how an unfinished job goes on.
func stopped(ctx context.Context, err error) error {
	var s *batch.Stopped
	if !errors.As(err, &s) {
		return err
	}
	again := "it begins anew the next time"
	if s.Checkpoint != "" {
		again = fmt.Sprintf("%d rows are done; the same command goes on from there:\n  %s", s.Rows, shellLine(os.Args))
	}
	if ctx.Err() != nil {
		fmt.Fprintf(os.Stderr, "serval: interrupted; %s\n", again)
		return &exitError{code: exitInterrupted}
	}
	if s.Checkpoint == "" {
		return err
	}
	return fmt.Errorf("%w\n%s", err, again)
}

// shellLine writes a command for a shell, without --restart.
func shellLine(args []string) string {
	out := []string{"serval"}
	for _, a := range args[1:] {
		if a == "--restart" {
			continue
		}
		if strings.ContainsAny(a, " \t\n\"'\\$`*?[]{}()<>|&;#~!") || a == "" {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out = append(out, a)
	}
	return strings.Join(out, " ")
}

func (f *batchFlags) emit(r *batch.Report) error {
	to := io.Writer(os.Stdout)
	if f.job.Output == "-" {
		to = os.Stderr
	}
	if f.report == "json" {
		e := json.NewEncoder(to)
		e.SetIndent("", "  ")
		return e.Encode(ran{
			Output: r.Output, Errors: r.Errors, Rows: r.Rows, Bad: r.Bad, Resumed: r.Resumed, Retries: r.Retries, Seconds: r.Elapsed.Seconds(),
			Prompt: r.Usage.Prompt, Cached: r.Usage.Cached, Completion: r.Usage.Completion,
		})
	}
	mine := r.Rows - r.Resumed
	fmt.Fprintf(to, "%s: %s rows in %v (%s rows/s)", r.Output, grouped(r.Rows), r.Elapsed.Round(10*time.Millisecond), grouped(rate(mine, r.Elapsed)))
	if r.Resumed > 0 {
		fmt.Fprintf(to, ", of which %s were done before", grouped(r.Resumed))
	}
	if r.Bad > 0 {
		where := "left out"
		if r.Errors != "" {
			where = "see " + r.Errors
		}
		fmt.Fprintf(to, "; %s bad: %s", grouped(r.Bad), where)
	}
	fmt.Fprintln(to)
	return nil
}

// ran is the report as JSON.
type ran struct {
	Output     string  `json:"output"`
	Errors     string  `json:"errors,omitempty"` // the side file's name
	Rows       int64   `json:"rows"`
	Bad        int64   `json:"bad"`
	Resumed    int64   `json:"resumed"` // rows that were done by earlier runs
	Retries    int64   `json:"retries"`
	Seconds    float64 `json:"seconds"` // of this run, without the model's load
	Prompt     int64   `json:"prompt_tokens,omitempty"`
	Cached     int64   `json:"cached_tokens,omitempty"`
	Completion int64   `json:"completion_tokens,omitempty"`
}

func rate(rows int64, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(float64(rows) / d.Seconds())
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// bar shows a job's progress: a bar on a terminal, lines elsewhere.
type bar struct {
	to       *os.File
	terminal bool
	last     time.Time
	resumed  bool
	drawn    bool
}

func newBar(to *os.File) *bar {
	b := &bar{to: to, last: time.Now()}
	if info, err := to.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		b.terminal = true
	}
	return b
}

func (b *bar) progress(p batch.Progress) {
	if p.Resumed > 0 && !b.resumed {
		b.resumed = true
		b.clear()
		fmt.Fprintf(b.to, "serval: going on behind row %s, where an earlier run stopped\n", grouped(p.Resumed))
	}
	every := logEvery
	if b.terminal {
		every = barEvery
	}
	if time.Since(b.last) < every {
		return
	}
	b.last = time.Now()
	line := fmt.Sprintf("%s rows  %s rows/s", grouped(p.Rows), grouped(rate(p.Rows-p.Resumed, p.Elapsed)))
	if p.Bad > 0 {
		line += fmt.Sprintf("  %s bad", grouped(p.Bad))
	}
	if p.Done >= 0 {
		line = fmt.Sprintf("%3.0f %%  %s", 100*p.Done, line)
	}
	if p.Left > 0 {
		line += fmt.Sprintf("  %v left", p.Left.Round(time.Second))
	}
	if !b.terminal {
		fmt.Fprintln(b.to, "serval:", line)
		return
	}
	b.drawn = true
	full := int(max(0, min(1, p.Done)) * barWidth)
	fmt.Fprintf(b.to, "\r\x1b[K[%s%s] %s\r", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), line)
}

func (b *bar) clear() {
	if b.drawn {
		fmt.Fprint(b.to, "\r\x1b[K")
		b.drawn = false
	}
}
