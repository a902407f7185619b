package batch

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"serval"
)

// run is one run of a job. Three kinds of goroutines work in it: one reads blocks, one for each block asks the model, and the one
// that called Run writes, in the order of the input, and keeps the checkpoint.
type run struct {
	o       *Options
	in      []Format // of each input
	plain   []Object // the inputs without their compression
	out     Format
	files   places
	unlock  func()
	limit   tolerance
	resumes bool // a checkpoint is kept
	point   checkpoint
	begun   counts // of the checkpoint that it goes on from
	started time.Time
	saved   time.Time
	told    time.Time
	front   *front
	layout  layout
	asked   []string // columns that prompts are made of
	writer  Writer
	why     string // the last bad row is bad
	useless bool   // there is nothing to go on from
	torn    bool   // the files hold a part of a flight that point does not know of
	side    sideFile
	free    sync.Pool // of *flight
	part    float64   // of the whole, as Progress.Done
	from    float64   // the same at the beginning of this run
}

// Stopped is the error of a job that did not come to its end.
type Stopped struct {
	Rows       int64  // that are done
	Checkpoint string // the file that the same job goes on from; "": it begins anew
	cause      error
}

func (s *Stopped) Error() string { return s.cause.Error() }

// Unwrap is why it stopped.
func (s *Stopped) Unwrap() error { return s.cause }

const (
	saveEvery = 2 * time.Second
	tellEvery = 100 * time.Millisecond
	// blockBytes is about how much a block of tensors takes, where the job does not say.
	blockBytes = 1 << 20
	minRows    = 256
	maxRows    = 8192
)

func newRun(ctx context.Context, o *Options) (*run, error) {
	r := &run{o: o, started: time.Now(), part: -1, from: -1}
	r.free.New = func() any { return &flight{} }
	if o.Patience <= 0 {
		o.Patience = 10 * time.Minute
	}
	if o.Checkpoint <= 0 {
		o.Checkpoint = saveEvery
	}
	if o.Priority == 0 {
		o.Priority = 127 // the least urgent there is
	}
	if o.ID == "" {
		o.ID = "batch"
	}
	var err error
	if r.limit, err = parseTolerance(o.Job.MaxErrors); err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "max_errors %w", err).At("max_errors")
	}
	switch j := &o.Job; {
	case len(o.Inputs) == 0:
		return nil, serval.Errorf(serval.InvalidArgument, "there is no input").At("input")
	case j.Rows < 0 || j.Parallel < 0 || j.Limit < 0:
		return nil, serval.Errorf(serval.InvalidArgument, "rows, parallel and limit must not be negative").At("rows")
	case o.Model.Settings.Sequence != nil:
		return nil, serval.Errorf(serval.Unimplemented, "model '%s' keeps state between requests; batch jobs ask about each row by itself", o.Model.Name).At("model")
	}
	if err := r.wants(); err != nil {
		return nil, err
	}
	if err := r.formats(); err != nil {
		return nil, err
	}
	return r, r.open(ctx)
}

// wants checks the names of outputs: a wrong one would make every row a bad one.
func (r *run) wants() error {
	m := &r.o.Model
	for _, name := range r.o.Job.Want {
		if m.Language != nil || m.Signature.Output(name) >= 0 {
			continue
		}
		var there []string
		for i := range m.Signature.Outputs {
			there = append(there, "'"+m.Signature.Outputs[i].Name+"'")
		}
		return serval.Errorf(serval.InvalidArgument, "want: model '%s' has no output '%s'; it gives %s", m.Name, name, strings.Join(there, ", ")).At("want")
	}
	return nil
}

// formats finds the format of each object.
func (r *run) formats() (err error) {
	j := &r.o.Job
	r.resumes = true
	for _, o := range r.o.Inputs {
		p, name := plain(o)
		f, err := pick(r.o.Formats, formatOf(j.InputFormat, o), name, "input_format")
		if err != nil {
			return err
		}
		r.in, r.plain = append(r.in, f), append(r.plain, p)
		r.resumes = r.resumes && o.Version() != ""
	}
	if _, pipe := r.o.Target.(*Pipe); pipe {
		r.resumes = false
		if j.OutputFormat == "" {
			r.out = r.in[0]
			return nil
		}
	}
	r.out, err = pick(r.o.Formats, formatOf(j.OutputFormat, r.o.Target), r.o.Target.Name(), "output_format")
	return err
}

// formatOf is the name of the format that a job gives, or that an Object or a Target has; "": its name tells.
func formatOf(given string, place any) string {
	if f, ok := place.(Formatted); ok && given == "" {
		return f.Format()
	}
	return given
}

// pick finds a format by its name or by an object's.
func pick(all []Format, format, object, param string) (Format, error) {
	var names []string
	for _, f := range all {
		names = append(names, f.Name())
		if format == f.Name() {
			return f, nil
		}
		if format != "" {
			continue
		}
		for _, ext := range f.Extensions() {
			if strings.HasSuffix(strings.ToLower(object), ext) {
				return f, nil
			}
		}
	}
	if format != "" {
		return nil, serval.Errorf(serval.InvalidArgument, "%s %q is not known; use %s", param, format, strings.Join(names, ", ")).At(param)
	}
	return nil, serval.Errorf(serval.InvalidArgument, "%s: the name does not say what format it has; use %s (one of %s)", object, "--"+strings.ReplaceAll(param, "_", "-"), strings.Join(names, ", ")).At(param)
}

// close gives the lock back.
func (r *run) close() {
	if r.unlock != nil {
		r.unlock()
	}
}

// run does the job.
func (r *run) run(ctx context.Context) (*Report, error) {
	if !r.point.Complete {
		err := r.work(ctx)
		if err == nil {
			err = r.complete()
		}
		if err != nil {
			return nil, r.stop(err)
		}
	}
	r.part = 1
	if err := r.publish(ctx); err != nil {
		return nil, &Stopped{Rows: r.point.Count.Rows, Checkpoint: r.files.checkpoint, cause: err}
	}
	r.tell(true)
	report := &Report{Progress: r.progress(), Output: r.o.Target.Name(), Columns: r.point.Columns, Why: r.why}
	if r.point.Count.Bad > 0 {
		report.Errors = r.o.Target.Name() + ErrorsSuffix
	}
	return report, nil
}

// complete closes the files.
func (r *run) complete() error {
	if r.limit.exceeded(r.point.Count.Bad, r.point.Count.Rows, true) {
		return r.tooMany()
	}
	if c := &r.point.Count; c.Bad == c.Rows && c.Rows > 0 && r.o.Part == 0 {
		return r.hopeless()
	}
	err := r.writer.Close()
	r.writer = nil
	if r.side.f != nil {
		err = errors.Join(err, r.side.f.Close())
		r.side.f = nil
	}
	if err == nil && r.resumes {
		r.point.Complete = true
		err = r.point.save(r.files.checkpoint)
	}
	return err
}

// hopeless is the error of a job whose every row is bad: the command is, rather than the rows.
func (r *run) hopeless() error {
	r.useless = true
	return serval.Errorf(serval.InvalidArgument, "each of the first %d rows is bad, the last one for: %s", r.point.Count.Rows, r.why).At("input")
}

func (r *run) tooMany() error {
	c := &r.point.Count
	return serval.Errorf(serval.InvalidArgument, "%d of %d rows are bad, over the limit of %s; see %s", c.Bad, c.Rows, r.limit.given, r.files.errors).At("max_errors")
}

// publish puts the files where they belong. A kill may come at any point: then it is done again.
func (r *run) publish(ctx context.Context) error {
	if _, pipe := r.o.Target.(*Pipe); pipe {
		return nil
	}
	for _, f := range []struct{ path, suffix string }{{r.files.errors, ErrorsSuffix}, {r.files.part, ""}} {
		_, err := os.Stat(f.path)
		switch {
		case f.suffix != "" && r.point.Count.Bad == 0:
			err = errors.Join(r.o.Target.Remove(ctx, f.suffix), remove(f.path))
		case errors.Is(err, os.ErrNotExist): // published before the kill
			err = nil
		case err == nil:
			err = r.o.Target.Publish(ctx, f.path, f.suffix)
		}
		if err != nil {
			return err
		}
	}
	return remove(r.files.checkpoint, r.files.part, r.files.errors)
}

// stop keeps what was done, as far as that is possible, and says how the job goes on.
func (r *run) stop(err error) error {
	s := &Stopped{cause: err}
	if r.writer != nil && r.side.f != nil && r.resumes && !r.torn && !r.useless && r.point.Count.Rows > 0 {
		_ = r.checkpoint() // if it fails, the last one stands
	}
	if r.writer != nil {
		_ = r.writer.Abandon() // the reason to stop is already known
	}
	if r.side.f != nil {
		_ = r.side.f.Abandon()
	}
	switch {
	case r.files.part == "": // a pipe
		return s
	case !r.resumes || r.useless || r.point.Count.Rows == 0: // nothing to go on from
		_ = remove(r.files.checkpoint, r.files.part, r.files.errors)
		return s
	}
	if saved, _ := readCheckpoint(r.files.checkpoint); saved != nil {
		s.Rows, s.Checkpoint = saved.Count.Rows, r.files.checkpoint
	}
	return s
}

// checkpoint brings all that was written to the disk, and then the note of it.
func (r *run) checkpoint() error {
	mark, err := r.writer.Sync()
	if err != nil {
		return err
	}
	r.point.Writer = slices.Clone(mark)
	if r.point.Errors, err = r.side.f.Sync(); err != nil {
		return err
	}
	r.saved = time.Now()
	if r.point.Rows == 0 { // no block was read: there is nothing to go on from
		return nil
	}
	return r.point.save(r.files.checkpoint)
}

// tell reports progress.
func (r *run) tell(now bool) {
	if r.o.Progress == nil || !now && time.Since(r.told) < tellEvery {
		return
	}
	r.told = time.Now()
	r.o.Progress(r.progress())
}

func (r *run) progress() Progress {
	c := &r.point.Count
	p := Progress{Rows: c.Rows, Bad: c.Bad, Resumed: r.begun.Rows, Done: r.part, Elapsed: time.Since(r.started), Left: -1, Usage: c.Usage}
	if r.front != nil {
		r.front.mu.Lock()
		p.Retries = r.front.retries
		r.front.mu.Unlock()
	}
	switch {
	case r.part >= 1:
		p.Left = 0
	case r.part > r.from && r.from >= 0:
		p.Left = time.Duration(float64(p.Elapsed) * (1 - r.part) / (r.part - r.from))
	}
	return p
}

// write puts a flight that was asked into the files.
func (r *run) write(f *flight) error {
	vectors, rows, err := r.layout.lay(f)
	if err != nil {
		return err
	}
	r.torn = true
	if rows > 0 {
		if err := r.writer.Write(vectors, rows); err != nil {
			return err
		}
		r.settle(vectors)
	}
	if len(f.bad) > 0 && r.side.f != nil {
		slices.SortFunc(f.bad, func(a, b Bad) int { return int(a.Row - b.Row) })
		if err := r.side.write(r.o.Inputs[f.object].Name(), f.bad); err != nil {
			return err
		}
	}
	c := &r.point.Count
	c.Rows += f.rows
	c.Bad += int64(len(f.bad))
	c.Usage.Add(f.usage)
	r.point.Input, r.point.Reader = f.object, f.mark
	r.torn = false
	if r.from < 0 && f.done >= 0 {
		r.from = f.begin
	}
	r.part = f.done
	if limit := r.o.Job.Limit; limit > 0 {
		r.part = max(r.part, float64(c.Rows)/float64(limit))
	}
	if len(f.bad) > 0 {
		r.why = f.bad[len(f.bad)-1].Reason
	}
	if r.limit.exceeded(c.Bad, c.Rows, false) {
		return r.tooMany()
	} else if c.Bad == c.Rows && c.Rows >= fewRows && r.o.Part <= 1 {
		return r.hopeless()
	}
	r.tell(false)
	if r.resumes && time.Since(r.saved) >= r.o.Checkpoint {
		return r.checkpoint()
	}
	return nil
}

// settle notes the output's columns.
func (r *run) settle(vectors []Vector) {
	if r.point.Columns != nil {
		return
	}
	for i := range vectors {
		v := &vectors[i]
		r.point.Columns = append(r.point.Columns, Column{Name: v.Name, Type: v.DType, Shape: slices.Clone(v.Shape), JSON: v.JSON})
	}
}
