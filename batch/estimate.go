package batch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"serval"
)

// Forecast is what a job will take, found out by doing its first part.
type Forecast struct {
	Rows   int64         `json:"rows"`  // of the whole; 0: not known, as the input does not tell its size
	Exact  bool          `json:"exact"` // the sample was the whole
	Rate   float64       `json:"rate"`  // rows a second
	Time   time.Duration `json:"time"`  // of the whole, without the model's load; 0: not known
	Sample int64         `json:"sample"`
	Bad    int64         `json:"bad"`   // of the sample
	Usage  serval.Usage  `json:"usage"` // of the sample
}

// Estimate does the beginning of a job for about so long, into a folder that is removed again, and tells from it what the whole
// takes. Target, Dir, Restart and Progress of the options are not used; ext is the ending of the output's name, as ".csv". Text
// models take longer where not one block is done in time.
func Estimate(ctx context.Context, o Options, ext string, budget time.Duration) (*Forecast, error) {
	dir, err := os.MkdirTemp("", "serval-plan-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if o.Target, err = (Files{}).Target(ctx, filepath.Join(dir, "out"+ext)); err != nil {
		return nil, err
	}
	o.Dir, o.Restart = "", false
	if o.Model.Language != nil && o.Job.Rows == 0 {
		o.Job.Rows = 2 * max(4, o.Model.Language.Slots)
	}
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	var marks []Progress // those whose work is steady are behind the first
	o.Progress = func(p Progress) {
		marks = append(marks, p)
		if p.Elapsed > budget && len(marks) > 2 {
			enough()
		}
	}
	report, err := Run(ctx, o)
	var s *Stopped
	switch {
	case err == nil:
		return &Forecast{
			Rows: report.Rows, Exact: true, Rate: float64(report.Rows) / report.Elapsed.Seconds(), Time: report.Elapsed,
			Sample: report.Rows, Bad: report.Bad, Usage: report.Usage,
		}, nil
	case !errors.As(err, &s) || !errors.Is(err, context.Canceled) || len(marks) < 2:
		return nil, err
	}
	return forecast(marks, o.Job.Limit), nil
}

// forecast draws a line through the sample: its first tenth, in which nothing is warm, is taken as a constant.
func forecast(marks []Progress, limit int64) *Forecast {
	last := marks[len(marks)-1]
	first := marks[0]
	for _, m := range marks {
		if m.Elapsed > last.Elapsed/10 {
			break
		}
		first = m
	}
	f := &Forecast{Sample: last.Rows, Bad: last.Bad, Usage: last.Usage, Rate: float64(last.Rows-first.Rows) / (last.Elapsed - first.Elapsed).Seconds()}
	if last.Done > 0 && f.Rate > 0 {
		if f.Rows = int64(float64(last.Rows)/last.Done + 0.5); limit > 0 {
			f.Rows = min(f.Rows, limit)
		}
		f.Time = last.Elapsed + time.Duration(float64(f.Rows-last.Rows)/f.Rate*float64(time.Second))
	}
	return f
}
