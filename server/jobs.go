package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"serval"
	"serval/batch"
	formats "serval/batch/all"
	"serval/console/api"
	"serval/gateway"
	"serval/protocol"
	"serval/route"
	"serval/store/postgres"
	"serval/store/sqlite"
)

// state is what the server keeps of its own, in whichever database.
type state interface {
	protocol.Responses
	batch.Jobs
	batch.Leases
	Close() error
}

// openState opens the store that the configuration names. Without a data folder there is none: a disk that is full or read-only is
// no reason not to serve. A database that was asked for must be there.
func (s *Server) openState() (state, error) {
	if s.cfg.Store != "sqlite" {
		db, err := postgres.Open(s.life, s.cfg.Store)
		if err != nil {
			return nil, err
		}
		return db, nil
	}
	db, err := sqlite.Open(s.life, filepath.Join(s.cfg.DataDir, "state.db"))
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, sqlite.ErrNewer):
		return nil, err
	}
	s.log.Warn("the data folder cannot be used: jobs and answers of the Responses API are not stored", "error", err)
	return nil, nil
}

type queue = batch.Jobs // to embed it without its name, which is that of a method

// jobs is the queue, and the worker that this server is for it.
type jobs struct {
	queue
	data   *batch.Data
	worker *batch.Worker
	keep   time.Duration
}

func (s *Server) newJobs() *jobs {
	c := &s.cfg.Batch
	dir := c.Dir
	if dir == "" {
		dir = filepath.Join(s.cfg.DataDir, "jobs")
	}
	pace := &batch.Pace{Quiet: s.gate.Quiet, Online: s.gate.Online}
	data := batch.NewData(batch.DataOptions{
		Locator: within{batch.Files{}, c.Files}, Formats: formats.Formats(), Model: s.models.Model, Digest: digestOf, Dir: dir, Queue: s.state,
		As: func(tenant string) serval.Handler { return pace.Handler(route.Resolve(s.models, s.gate.As(tenant))) },
	})
	return &jobs{queue: s.state, data: data, keep: c.Keep, worker: batch.NewWorker(batch.WorkerOptions{
		Name: workerName(), Queue: s.state, Jobs: s.state, Runners: []batch.Runner{data}, Width: c.Workers, Lease: c.Lease, Log: s.log,
	})}
}

// workerName tells this process from all others that share its store, also from the one before it.
func workerName() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // it never fails
	host, err := os.Hostname()
	if err != nil {
		host = "serval"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), hex.EncodeToString(b[:]))
}

// Submit queues a job and has the worker look at once.
func (j *jobs) Submit(ctx context.Context, r *batch.Record) (bool, error) {
	added, err := j.queue.Submit(ctx, r)
	j.worker.Wake()
	return added, err
}

func (j *jobs) Change(ctx context.Context, tenant, id string, o batch.Order) (*batch.Record, error) {
	r, err := j.queue.Change(ctx, tenant, id, o)
	j.worker.Wake()
	return r, err
}

func (j *jobs) Check(ctx context.Context, spec json.RawMessage) error { return j.data.Check(ctx, spec) }

func (j *jobs) Open(r *batch.Record, name string) (*os.File, error) { return j.data.Open(r, name) }

func (j *jobs) Forget(ctx context.Context, r *batch.Record) error { return j.worker.Remove(ctx, r) }

func (j *jobs) Keep() time.Duration { return j.keep }

// within is a Locator of what lies in some folders; none: of everything.
type within struct {
	batch.Locator
	folders []string
}

func (w within) Locate(ctx context.Context, location string) ([]batch.Object, error) {
	if !filepath.IsAbs(location) {
		return nil, relative(location, "input")
	}
	found, err := w.Locator.Locate(ctx, location)
	for i := 0; err == nil && i < len(found); i++ {
		err = w.check(found[i].Name(), "input")
	}
	return found, err
}

func (w within) Target(ctx context.Context, location string) (batch.Target, error) {
	if err := w.check(location, "output"); err != nil {
		return nil, err
	}
	return w.Locator.Target(ctx, location)
}

func relative(path, param string) *serval.Error {
	if strings.Contains(path, "://") {
		return serval.Errorf(serval.InvalidArgument, "%s: a server's job reads and writes files of the server's own machine; 'serval batch run' takes other places", path).At(param)
	}
	return serval.Errorf(serval.InvalidArgument, "%s: a server's job needs an absolute path", path).At(param)
}

// check refuses a path outside the folders, links followed.
func (w within) check(path, param string) error {
	if !filepath.IsAbs(path) {
		return relative(path, param)
	}
	if len(w.folders) == 0 {
		return nil
	}
	real, err := filepath.EvalSymlinks(path)
	for dir := path; errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir; {
		dir = filepath.Dir(dir)
		if real, err = filepath.EvalSymlinks(dir); err == nil {
			real = filepath.Join(real, strings.TrimPrefix(filepath.Clean(path), dir))
		}
	}
	for _, folder := range w.folders {
		if at, e := filepath.EvalSymlinks(folder); err == nil && e == nil && (real == at || strings.HasPrefix(real, strings.TrimSuffix(at, "/")+"/")) {
			return nil
		}
	}
	return serval.Errorf(serval.PermissionDenied, "%s is not in one of the folders that jobs may use (batch.files: %s)", path, strings.Join(w.folders, ", ")).At(param)
}

// digestOf tells a model's files from others by their names and sizes: machines that share a queue have times of their own.
func digestOf(m serval.ModelInfo) string {
	h := sha256.New()
	err := filepath.WalkDir(m.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err == nil {
			fmt.Fprintln(h, strings.TrimPrefix(path, m.Path), info.Size())
		}
		return err
	})
	if err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// control is the control API. As all of the admin listener it is for this machine, and no web page reaches it; with keys
// configured, it asks for one that may do what is asked.
func (s *Server) control() http.Handler {
	if s.jobs == nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			api.Fail(w, serval.Errorf(serval.Unavailable, "there are no jobs: the data folder %s cannot be used; the server's log says why", s.cfg.DataDir))
		})
	}
	a := api.New(api.Options{Version: s.version, Access: access{s.gate}, Jobs: s.jobs, Streams: s.streams})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.crossOrigin.Check(r); err != nil {
			api.Fail(w, serval.Errorf(serval.PermissionDenied, "this request comes from a web page of another site"))
			return
		}
		a.ServeHTTP(w, r)
	})
}

// access is what a key may do with the control API: one that may control sees and changes everything, others see their own.
type access struct{ gate *gateway.Gateway }

func (a access) May(credential string, change bool) (own, scope string, err *serval.Error) {
	if own, err = a.gate.Caller(credential); err != nil {
		return "", "", err
	}
	err = a.gate.Authorize(credential, gateway.Control)
	switch {
	case err == nil:
		return own, "", nil
	case change:
		return "", "", err
	}
	return own, own, nil
}
