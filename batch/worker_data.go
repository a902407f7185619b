package batch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"serval"
)

// DataKind is the Kind of jobs that a Data does; their Spec is a DataSpec.
const DataKind = "data"

// DataSpec is what a server is asked to do. Without an Output the result stays with the server, which is asked for it.
type DataSpec struct {
	Job
	// Split makes each input object a piece of its own, which other workers may take; the output is a folder with one file for
	// each. MaxErrors then holds for each of them.
	Split bool `json:"split,omitempty"`
	// Restart replaces an output that is there.
	Restart bool `json:"restart,omitempty"`
}

// DataOptions are what a Data needs.
type DataOptions struct {
	Locator Locator
	Formats []Format
	// Model describes a version; As is the chain for what a tenant asked for, at a pace that leaves online calls alone.
	Model  func(serval.Ref) (serval.ModelInfo, error)
	As     func(tenant string) serval.Handler
	Digest func(serval.ModelInfo) string
	// Dir is where unfinished and managed results lie. Workers that share a queue share it.
	Dir   string
	Queue Leases
}

// Data does jobs that turn a data set into a data set of predictions.
type Data struct{ o DataOptions }

// NewData makes one.
func NewData(o DataOptions) *Data { return &Data{o} }

// Kind is "data".
func (d *Data) Kind() string { return DataKind }

// DataResult is the Result of a job.
type DataResult struct {
	Rows   int64        `json:"rows"`
	Bad    int64        `json:"bad"`
	Usage  serval.Usage `json:"usage"`
	Output string       `json:"output,omitempty"` // where it was asked to go
	Files  []DataFile   `json:"files"`
}

// DataFile is a file of the result.
type DataFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	Errors bool   `json:"errors,omitempty"` // bad rows with their reasons
	// Held is the file's name in the server's folder; "": it lies at Output.
	Held string `json:"held,omitempty"`
}

// dataPiece is the Spec of a piece of Work, dataOutput its Output.
type dataPiece struct {
	Model string   `json:"model"` // with its version
	Input []string `json:"input"`
	Name  string   `json:"name"` // of the output
}

type dataOutput struct {
	Rows   int64        `json:"rows"`
	Bad    int64        `json:"bad"`
	Usage  serval.Usage `json:"usage"`
	Name   string       `json:"name"`
	Held   string       `json:"held"` // in the job's folder
	Errors bool         `json:"errors"`
}

// Check reads a spec and says what is wrong with it, as far as that can be told before the job runs.
func (d *Data) Check(ctx context.Context, raw json.RawMessage) error {
	s, err := readSpec(raw)
	if err == nil {
		_, err = d.plan(ctx, s)
	}
	return err
}

func readSpec(raw json.RawMessage) (*DataSpec, error) {
	s := &DataSpec{}
	r := json.NewDecoder(bytes.NewReader(raw))
	r.DisallowUnknownFields()
	if err := r.Decode(s); err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "the job cannot be read: %v", err).At("job")
	}
	if s.Model == "" {
		return nil, serval.Errorf(serval.InvalidArgument, "the job names no model").At("model")
	}
	if len(s.Input) == 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "the job names no input").At("input")
	}
	_, err := parseTolerance(s.MaxErrors)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "max_errors %w", err).At("max_errors")
	}
	return s, nil
}

// Run does a piece.
func (d *Data) Run(ctx context.Context, t *Turn) Outcome {
	s, err := readSpec(t.Job.Spec)
	if err != nil {
		return failed(err)
	}
	switch t.Piece.Stage {
	case Plan:
		next, err := d.plan(ctx, s)
		if err != nil {
			return failed(err)
		}
		t.Log("planned: model %s, %d input objects in %d pieces", next.model, next.objects, len(next.pieces))
		return Outcome{Next: next.pieces}
	case Work:
		return d.work(ctx, s, t)
	}
	return d.close(ctx, s, t)
}

// failed is an outcome by an error's class: what others may mend is tried again.
func failed(err error) Outcome {
	e := serval.AsError(err)
	out := Outcome{Err: e.Message}
	switch {
	case e.Code == serval.Internal: // a full disk, say
		out.Err, out.Again, out.After = err.Error(), true, 10*time.Second
	case e.Code == serval.Unavailable || e.Code == serval.ResourceExhausted || e.Code == serval.DeadlineExceeded || e.Code == serval.Canceled:
		out.Again, out.After = true, max(e.RetryAfter, 5*time.Second)
	case e.Code == serval.Conflict && e.Param == "output": // the worker before this one is still at its files
		out.Again, out.After = true, time.Second
	}
	return out
}

// dataPlan is what a job comes to.
type dataPlan struct {
	model   string
	objects int
	pieces  []Piece
}

// plan finds the model's version and the objects.
func (d *Data) plan(ctx context.Context, s *DataSpec) (*dataPlan, error) {
	ref, err := serval.ParseRef(s.Model)
	if err != nil {
		return nil, err
	}
	m, err := d.o.Model(ref)
	if err != nil {
		return nil, err
	}
	p := &dataPlan{model: serval.Ref{Name: m.Name, Version: m.Version}.String()}
	all := dataPiece{Model: p.model}
	weight, known := 0.0, true
	for _, location := range s.Input {
		found, err := d.o.Locator.Locate(ctx, location)
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			_, name := plain(o)
			f, err := pick(d.o.Formats, s.InputFormat, name, "input_format")
			if err != nil {
				return nil, err
			}
			if all.Name == "" {
				if all.Name, err = d.outputName(s, f); err != nil {
					return nil, err
				}
			}
			size := float64(o.Size())
			known = known && size > 0
			weight += max(0, size)
			p.objects++
			all.Input = append(all.Input, o.Name())
			if s.Split {
				one := dataPiece{Model: p.model, Input: []string{o.Name()}, Name: fmt.Sprintf("part-%05d%s", p.objects, endingOf(all.Name))}
				p.pieces = append(p.pieces, Piece{Spec: jsonOf(one), Weight: max(0, size)})
			}
		}
	}
	if !s.Split {
		p.pieces = []Piece{{Spec: jsonOf(all), Weight: weight}}
	}
	for i := range p.pieces {
		if !known {
			p.pieces[i].Weight = 0
		}
	}
	return p, d.free(ctx, s)
}

func jsonOf(v any) json.RawMessage {
	raw, _ := json.Marshal(v) // plain data
	return raw
}

// outputName is what a result is called within the job, with the ending of its format.
func (d *Data) outputName(s *DataSpec, in Format) (string, error) {
	if s.Output != "" && !s.Split {
		_, err := pick(d.o.Formats, s.OutputFormat, s.Output, "output_format")
		return filepath.Base(s.Output), err
	}
	out := in
	if s.OutputFormat != "" {
		var err error
		if out, err = pick(d.o.Formats, s.OutputFormat, "", "output_format"); err != nil {
			return "", err
		}
	}
	return "result" + out.Extensions()[0], nil
}

func endingOf(name string) string {
	if i := strings.IndexByte(name, '.'); i >= 0 {
		return name[i:]
	}
	return ""
}

// free checks that the output may be written.
func (d *Data) free(ctx context.Context, s *DataSpec) error {
	if s.Output == "" || s.Restart {
		return nil
	}
	location := s.Output
	if s.Split {
		location = filepath.Join(s.Output, "part-00001")
		if _, err := os.Stat(s.Output); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if list, err := os.ReadDir(s.Output); err == nil && len(list) > 0 {
			return serval.Errorf(serval.Conflict, "%s is not empty; use restart to replace what is in it", s.Output).At("restart")
		}
	}
	target, err := d.o.Locator.Target(ctx, location)
	if err != nil {
		return err
	}
	there, err := target.Exists(ctx)
	if err == nil && there {
		err = serval.Errorf(serval.Conflict, "%s exists; use restart to replace it", s.Output).At("restart")
	}
	return err
}

// folder is a job's.
func (d *Data) folder(job string) string { return filepath.Join(d.o.Dir, job) }

// work runs one piece up to its file in the job's folder.
func (d *Data) work(ctx context.Context, s *DataSpec, t *Turn) Outcome {
	var p dataPiece
	if err := json.Unmarshal(t.Piece.Spec, &p); err != nil {
		return failed(err)
	}
	if out := d.adopt(t, &p); out != nil { // published, and then the worker was killed
		return *out
	}
	o, err := d.options(ctx, s, t, &p)
	if err != nil {
		return failed(err)
	}
	target := &staged{dir: d.folder(t.Job.ID), name: p.Name, turn: t}
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
	out := dataOutput{Rows: report.Rows, Bad: report.Bad, Usage: report.Usage, Name: p.Name, Held: target.held(), Errors: report.Errors != ""}
	if err := writeWhole(filepath.Join(target.dir, reportName(&p, t.Fence)), jsonOf(out)); err != nil {
		return failed(err)
	}
	t.Log("piece %d: %d rows, %d bad, in %v (%d of them by attempts before)", t.Piece.Number, report.Rows, report.Bad, time.Since(began).Round(time.Millisecond), report.Resumed)
	return Outcome{Output: jsonOf(out), Measure: Measure{Rows: report.Rows, Bad: report.Bad}}
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
	for _, in := range p.Input {
		found, err := d.o.Locator.Locate(ctx, in)
		if err != nil {
			return nil, err
		}
		o.Inputs = append(o.Inputs, found...)
	}
	o.Progress = func(now Progress) {
		m := Measure{Rows: now.Rows, Bad: now.Bad, Done: now.Done}
		if secs := now.Elapsed.Seconds(); secs > 0 {
			m.Rate = float64(now.Rows-now.Resumed) / secs
		}
		t.Progress(m)
	}
	return o, os.MkdirAll(o.Dir, 0o700)
}

func reportName(p *dataPiece, fence int64) string { return fmt.Sprintf("%s.%d.json", p.Name, fence) }

// adopt takes over what an earlier worker of the piece has published and could not tell the queue any more.
func (d *Data) adopt(t *Turn, p *dataPiece) *Outcome {
	dir := d.folder(t.Job.ID)
	for f := t.Fence - 1; f > 0 && f > t.Fence-64; f-- {
		raw, err := os.ReadFile(filepath.Join(dir, reportName(p, f)))
		if err != nil {
			continue
		}
		var out dataOutput
		if json.Unmarshal(raw, &out) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, out.Held)); err == nil {
			t.Log("piece %d: done by an attempt before", t.Piece.Number)
			return &Outcome{Output: raw, Measure: Measure{Rows: out.Rows, Bad: out.Bad}}
		}
	}
	return nil
}

// Remove removes a job's folder.
func (d *Data) Remove(_ context.Context, j *Record) error {
	if j.ID == "" || filepath.Base(j.ID) != j.ID || strings.HasPrefix(j.ID, ".") {
		return nil
	}
	return os.RemoveAll(d.folder(j.ID))
}

// Open opens a file of a job's result that the server holds.
func (d *Data) Open(j *Record, name string) (*os.File, error) {
	var r DataResult
	if j.State != Succeeded || json.Unmarshal(j.Result, &r) != nil {
		return nil, serval.Errorf(serval.Conflict, "job '%s' is %s; there is no result", j.ID, j.State).At("job")
	}
	for _, f := range r.Files {
		if f.Name != name {
			continue
		}
		if f.Held == "" {
			return nil, serval.Errorf(serval.NotFound, "the result of job '%s' lies at %s", j.ID, r.Output).At("name")
		}
		file, err := os.Open(filepath.Join(d.folder(j.ID), f.Held))
		if errors.Is(err, fs.ErrNotExist) {
			err = serval.Errorf(serval.NotFound, "this server does not have %s: servers that share a store must share batch.dir, too", name).At("name")
		}
		return file, err
	}
	return nil, serval.Errorf(serval.NotFound, "job '%s' has no result '%s'", j.ID, name).At("name")
}
