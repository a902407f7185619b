package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"serval"
)

// work runs one piece up to its file on the shelf.
func (d *Data) work(ctx context.Context, s *DataSpec, t *Turn) Outcome {
	var p dataPiece
	if err := json.Unmarshal(t.Piece.Spec, &p); err != nil {
		return failed(err)
	}
	if out := d.adopt(ctx, t, &p); out != nil { // put on the shelf, and then the worker was killed
		return *out
	}
	o, err := d.options(ctx, s, t, &p)
	if err != nil {
		return failed(err)
	}
	target := &staged{shelf: d.shelf, name: p.Name, turn: t}
	o.Target = target
	began := time.Now()
	if t.Piece.Attempts > 1 {
		t.Log("piece %d: attempt %d", t.Piece.Number, t.Piece.Attempts)
	}
	report, err := Run(ctx, *o)
	if err != nil {
		var st *Stopped
		if errors.As(err, &st) {
			err = st.cause
		}
		return failed(err)
	}
	out := dataOutput{
		Rows: report.Rows, Bad: report.Bad, Usage: report.Usage, Name: p.Name, Held: target.held(), Errors: report.Errors != "",
		Whole: p.Whole, Columns: report.Columns, Why: report.Why,
	}
	if out.Size, out.ErrorsSize, err = d.sizes(ctx, t.Job.ID, &out); err != nil {
		return failed(err)
	}
	note := filepath.Join(o.Dir, reportName(&p, t.Fence))
	if err := writeWhole(note, jsonOf(out)); err != nil {
		return failed(err)
	}
	if err := d.shelf.put(ctx, t.Job.ID, reportName(&p, t.Fence), note); err != nil {
		return failed(err)
	}
	t.Log("piece %d: %d rows, %d bad, in %v (%d of them by attempts before)", t.Piece.Number, report.Rows, report.Bad, time.Since(began).Round(time.Millisecond), report.Resumed)
	return Outcome{Output: jsonOf(out), Measure: Measure{Rows: report.Rows, Bad: report.Bad}}
}

// sizes are those of a piece's files.
func (d *Data) sizes(ctx context.Context, job string, out *dataOutput) (size, bad int64, err error) {
	if size, err = d.shelf.size(ctx, job, out.Held); err == nil && out.Errors {
		bad, err = d.shelf.size(ctx, job, out.Held+ErrorsSuffix)
	}
	return size, bad, err
}

func (d *Data) options(ctx context.Context, s *DataSpec, t *Turn, p *dataPiece) (*Options, error) {
	ref, err := serval.ParseRef(p.Model)
	if err != nil {
		return nil, err
	}
	o := &Options{Job: s.Job, Formats: d.o.Formats, ID: fmt.Sprintf("%s-%d", t.Job.ID, t.Piece.Number), Dir: filepath.Join(d.folder(t.Job.ID), "work"), Patience: 2 * time.Minute}
	o.Job.Model, o.Job.Input, o.Job.Output = p.Model, p.Input, p.Name
	if o.Model, err = d.o.Model(ref); err != nil {
		if serval.AsError(err).Code == serval.NotFound { // it may be loaded again, or this server lacks what another one has
			return nil, serval.Errorf(serval.Unavailable, "%s", err).At("model")
		}
		return nil, err
	}
	o.Digest, o.Handler = d.o.Digest(o.Model), d.o.As(t.Job.Tenant)
	if o.Inputs, err = p.find(ctx, d.o.Places(t.Job.Tenant)); err != nil {
		return nil, err
	}
	if p.Version != "" && o.Inputs[0].Version() != p.Version {
		return nil, serval.Errorf(serval.Conflict, "%s was changed after the job was cut into parts; submit it again", p.Input[0]).At("input")
	}
	p.fill(o, s.Split)
	o.Progress = func(now Progress) {
		m := Measure{Rows: now.Rows, Bad: now.Bad, Done: now.Done}
		if secs := now.Elapsed.Seconds(); secs > 0 {
			m.Rate = float64(now.Rows-now.Resumed) / secs
		}
		t.Progress(m)
	}
	return o, os.MkdirAll(o.Dir, 0o700)
}

// fill says what a part is of the whole.
func (p *dataPiece) fill(o *Options, apart bool) {
	if p.Part == 0 {
		return
	}
	o.Part, o.Kept, o.Asked, o.From, o.Job.Limit = p.Part, p.Kept, p.Asked, p.From, p.Rows
	if strings.HasSuffix(o.Job.MaxErrors, "%") && !apart { // of the whole, which close knows
		o.Job.MaxErrors = ""
	}
}

// find finds a piece's objects again.
func (p *dataPiece) find(ctx context.Context, places Locator) ([]Object, error) {
	var all []Object
	for i, name := range p.Input {
		var list []Object
		var err error
		switch store, ok := places.(Store); {
		case i < len(p.At) && p.At[i] != "":
			list, err = places.Locate(ctx, p.At[i])
		case ok:
			list = make([]Object, 1)
			list[0], err = store.Find(ctx, name)
		default:
			list, err = places.Locate(ctx, name)
		}
		if err != nil {
			return nil, err
		}
		found := false
		for _, o := range list {
			if !found && o.Name() == name {
				all, found = append(all, o), true
			}
		}
		if !found {
			return nil, serval.Errorf(serval.NotFound, "%s is not there any more", name).At("input")
		}
	}
	return all, nil
}

func reportName(p *dataPiece, fence int64) string { return fmt.Sprintf("%s.%d.json", p.Name, fence) }

// attempts is how many of those before one are looked at for what they have left.
const attempts = 64

// adopt takes over what an earlier worker of the piece has put on the shelf and could not tell the queue any more.
func (d *Data) adopt(ctx context.Context, t *Turn, p *dataPiece) *Outcome {
	for f := t.Fence - 1; t.Piece.Attempts > 1 && f > 0 && f > t.Fence-attempts; f-- {
		file, err := d.shelf.open(ctx, t.Job.ID, reportName(p, f))
		if err != nil {
			continue
		}
		raw, err := io.ReadAll(io.LimitReader(file, 1<<20))
		_ = file.Close() // it was read
		var out dataOutput
		if err != nil || json.Unmarshal(raw, &out) != nil {
			continue
		}
		if _, err := d.shelf.size(ctx, t.Job.ID, out.Held); err == nil {
			t.Log("piece %d: done by an attempt before", t.Piece.Number)
			return &Outcome{Output: raw, Measure: Measure{Rows: out.Rows, Bad: out.Bad}}
		}
	}
	return nil
}
