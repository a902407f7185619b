package batch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	// Parts cuts the input into so many pieces, about, which other workers may take, also within one large object; the output is
	// the one that a single worker would have written. 0: one. With Split each piece is a file of its own.
	Parts int `json:"parts,omitempty"`
	// Restart replaces an output that is there.
	Restart bool `json:"restart,omitempty"`
}

// Guard is what a Locator may be beside: it says whether a job may read, or write, at a location, before anything is done there.
type Guard interface {
	May(location string, write bool) error
}

// DataOptions are what a Data needs.
type DataOptions struct {
	// Places is what a tenant's jobs may reach.
	Places  func(tenant string) Locator
	Formats []Format
	// Model describes a version; As is the chain for what a tenant asked for, at a pace that leaves online calls alone.
	Model  func(serval.Ref) (serval.ModelInfo, error)
	As     func(tenant string) serval.Handler
	Digest func(serval.ModelInfo) string
	// Dir is where unfinished results lie, and finished ones, unless Store is there for them, at At. Workers that share a queue
	// share either.
	Dir   string
	Store Store
	At    string
	Queue Leases
}

// Data does jobs that turn a data set into a data set of predictions.
type Data struct {
	o     DataOptions
	shelf shelf
	local bool // the shelf is Dir
}

// NewData makes one.
func NewData(o DataOptions) *Data {
	d := &Data{o: o, shelf: folders(o.Dir), local: true}
	if o.Store != nil {
		d.shelf, d.local = elsewhere{o.Store, strings.TrimSuffix(o.At, "/")}, false
	}
	return d
}

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
	// Held is the file's name where the server keeps it; "": it lies at Output.
	Held string `json:"held,omitempty"`
}

// dataPiece is the Spec of a piece of Work, dataOutput its Output.
type dataPiece struct {
	Model string   `json:"model"`        // with its version
	Input []string `json:"input"`        // the objects' names
	At    []string `json:"at,omitempty"` // their locations, where a name is none; "" where it is
	Name  string   `json:"name"`         // of the output
	// Of a piece that is a part of the whole: its number, and what the first object settles.
	Part  int      `json:"part,omitempty"`
	Whole string   `json:"whole,omitempty"` // the name of the output that the parts are put together to
	Kept  []Column `json:"kept,omitempty"`
	Asked []string `json:"asked,omitempty"`
	// Of a piece that is a part of one object: where it begins, how many rows it has, and which version of the object was cut.
	From    Mark   `json:"from,omitempty"`
	Rows    int64  `json:"rows,omitempty"`
	Version string `json:"version,omitempty"`
}

type dataOutput struct {
	Rows       int64        `json:"rows"`
	Bad        int64        `json:"bad"`
	Usage      serval.Usage `json:"usage"`
	Name       string       `json:"name"`
	Held       string       `json:"held"` // on the shelf
	Errors     bool         `json:"errors"`
	Size       int64        `json:"size"`
	ErrorsSize int64        `json:"errors_size,omitempty"`
	Whole      string       `json:"whole,omitempty"`
	Columns    []Column     `json:"columns,omitempty"` // of the output
	Why        string       `json:"why,omitempty"`     // the last bad row is bad
}

// Check reads a tenant's spec and says what is wrong with it, as far as that can be told before the job runs.
func (d *Data) Check(ctx context.Context, tenant string, raw json.RawMessage) error {
	s, err := readSpec(raw)
	if err == nil {
		_, err = d.plan(ctx, d.o.Places(tenant), s, false)
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
	if s.Parts < 0 || s.Parts > maxParts {
		return nil, serval.Errorf(serval.InvalidArgument, "parts must be 0 to %d, not %d", maxParts, s.Parts).At("parts")
	}
	if s.Parts > 1 && s.Limit > 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "parts and limit exclude each other: a job of few rows needs no parts").At("parts")
	}
	_, err := parseTolerance(s.MaxErrors)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "max_errors %w", err).At("max_errors")
	}
	return s, nil
}

// Shown is a spec as it may be shown: a web address may be signed, so what follows its question mark is left out.
func Shown(raw json.RawMessage) json.RawMessage {
	var s DataSpec
	if json.Unmarshal(raw, &s) != nil {
		return nil
	}
	hidden := false
	for i, location := range s.Input {
		if !onWeb(location) {
			continue
		}
		if plain, _, ok := strings.Cut(location, "?"); ok {
			s.Input[i], hidden = plain+"?…", true
		}
	}
	if !hidden {
		return raw
	}
	return jsonOf(s)
}

func onWeb(location string) bool {
	s, _, _ := strings.Cut(location, "://")
	return strings.EqualFold(s, "http") || strings.EqualFold(s, "https")
}

// Run does a piece.
func (d *Data) Run(ctx context.Context, t *Turn) Outcome {
	s, err := readSpec(t.Job.Spec)
	if err != nil {
		return failed(err)
	}
	switch t.Piece.Stage {
	case Plan:
		next, err := d.plan(ctx, d.o.Places(t.Job.Tenant), s, true)
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

// folder is a job's, on this machine.
func (d *Data) folder(job string) string { return filepath.Join(d.o.Dir, job) }

// named says whether a job's id is a name of a folder.
func named(id string) bool {
	return id != "" && filepath.Base(id) == id && !strings.HasPrefix(id, ".")
}

// Remove removes a job's files.
func (d *Data) Remove(ctx context.Context, j *Record) error {
	if !named(j.ID) {
		return nil
	}
	return errors.Join(os.RemoveAll(d.folder(j.ID)), d.shelf.clear(ctx, j.ID))
}

// Sweep removes what this machine still has of jobs that others have ended: where the shelf is elsewhere, nobody else can.
func (d *Data) Sweep(ctx context.Context, jobs Jobs) error {
	if d.local {
		return nil
	}
	list, err := os.ReadDir(d.o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for i := 0; err == nil && i < len(list); i++ {
		id := list[i].Name()
		j, e := jobs.Job(ctx, "", id)
		switch gone := e != nil && serval.AsError(e).Code == serval.NotFound; {
		case e != nil && !gone:
			err = e
		case strings.HasPrefix(id, "job_") && (gone || j.State.Ended()):
			err = os.RemoveAll(d.folder(id))
		}
	}
	return err
}

// Open opens a file of a job's result that the server holds.
func (d *Data) Open(ctx context.Context, j *Record, name string) (File, error) {
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
		file, err := d.shelf.open(ctx, j.ID, f.Held)
		if errors.Is(err, fs.ErrNotExist) {
			err = serval.Errorf(serval.NotFound, "this server does not have %s: servers that share a store must share batch.dir, too", name).At("name")
		}
		return file, err
	}
	return nil, serval.Errorf(serval.NotFound, "job '%s' has no result '%s'", j.ID, name).At("name")
}
