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
	"serval/batch/requests"
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
	batch.Schedules
	requests.Store
	// Identity is a word that is this store's alone, for ever.
	Identity(context.Context) (string, error)
	Close() error
}

// openState opens the store that the configuration names. Without a data folder there is none: a disk that is full or read-only is
// no reason not to serve. A database that was asked for must be there.
func (s *Server) openState() (state, error) {
	if err := checkSchedules(s.cfg.Batch.Schedules); err != nil {
		return nil, err
	}
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

// closing is the state with what is closed together with it, after all jobs have stopped.
type closing struct {
	state
	places *places
}

func (c closing) Close() error { return errors.Join(c.places.close(), c.state.Close()) }

type queue = batch.Jobs // to embed it without its name, which is that of a method

// jobs is the queue, and the worker that this server is for it.
type jobs struct {
	queue
	data   *batch.Data
	worker *batch.Worker
	plans  *schedules
	keep   time.Duration
}

func (s *Server) newJobs() *jobs {
	c := &s.cfg.Batch
	reach := newPlaces(c)
	s.state = closing{s.state, reach}
	dir := filepath.Join(s.cfg.DataDir, "jobs")
	o := batch.DataOptions{Places: reach.of, Formats: formats.Formats(), Model: s.models.Model, Digest: digestOf, Dir: dir, Queue: s.state}
	if strings.Contains(c.Dir, "://") {
		o.Store, o.At = reach.shelf(c.Dir)
	} else if c.Dir != "" {
		o.Dir = c.Dir
	}
	o.As = func(tenant string) serval.Handler { return s.pace.Handler(route.Resolve(s.models, s.gate.As(tenant))) }
	data := batch.NewData(o)
	j := &jobs{queue: s.state, data: data, keep: c.Keep, worker: batch.NewWorker(batch.WorkerOptions{
		Name: workerName(), Queue: s.state, Jobs: s.state, Runners: []batch.Runner{data}, Width: c.Workers, Lease: c.Lease, Log: s.log,
	})}
	j.plans = &schedules{plans: s.state, from: c.Schedules, s: s, Scheduler: batch.NewScheduler(batch.SchedulerOptions{
		Schedules: s.state, Submit: j.Submit, Places: reach.of, Keep: c.Keep, Log: s.log,
	})}
	s.workers = append(s.workers, j.plans)
	return j
}

// Scheduling is what makes jobs by itself.
func (j *jobs) Scheduling() api.Schedules { return j.plans }

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

func (j *jobs) Check(ctx context.Context, tenant string, spec json.RawMessage) error {
	return j.data.Check(ctx, tenant, spec)
}

func (j *jobs) Open(ctx context.Context, r *batch.Record, name string) (batch.File, error) {
	return j.data.Open(ctx, r, name)
}

func (j *jobs) Forget(ctx context.Context, r *batch.Record) error { return j.worker.Remove(ctx, r) }

func (j *jobs) Keep() time.Duration { return j.keep }

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
