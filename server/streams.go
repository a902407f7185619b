package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"serval"
	"serval/config"
	"serval/stream"
	brokers "serval/stream/all"
	"serval/stream/format"
)

// StreamPlugins are what a configuration's streams may name, with the defaults of their options.
func StreamPlugins() config.Plugins {
	p := config.Plugins{"source": {}, "target": {}, "format": format.Options()}
	for _, b := range brokers.New() {
		if o := b.SourceOptions(); o != nil {
			p["source"][b.Name()] = o
		}
		if o := b.TargetOptions(); o != nil {
			p["target"][b.Name()] = o
		}
	}
	return p
}

// Streams are the server's streams: those of the configuration, which only its file changes, and those that were made through
// the control API. Safe for concurrent use.
type Streams struct {
	log     *slog.Logger
	models  stream.Models
	as      func(tenant string) serval.Handler // the chain for a tenant, without a key
	busy    func() bool                        // whether online calls come
	dir     string                             // of the data
	env     config.Lookup
	plugins config.Plugins
	known   map[string]stream.Broker
	kept    kept
	life    context.Context // of the server: ends when it stops

	compares compares // of streams with each other

	changing sync.Mutex // held by whoever makes, replaces or deletes a stream, for as long as that takes
	pausing  sync.Mutex // held by whoever pauses one, or puts one in another's place: an operator's pause must not wait for more

	mu      sync.Mutex // guards what follows
	all     map[string]*streamed
	running bool // streams that are made run at once
	over    bool // the server stops: nothing begins any more
	looks   int  // that are open; see streams_tail.go and streams_replay.go
	replays map[string]bool

	working sync.WaitGroup // workers and looks
}

// streamed is one stream.
type streamed struct {
	name       string
	conf       config.Stream
	configured bool           // it stands in the configuration file
	text       string         // else its section; guarded by mu
	worker     *stream.Worker // nil: it cannot run
	failed     string         // why
	cancel     context.CancelFunc
	done       chan struct{} // closed when the worker has ended; nil: it was not started
}

// streamsOf makes the streams of the configuration, and those that were made through the API before; none runs yet. as is the
// chain for a tenant, without a key.
func (s *Server) streamsOf(as func(tenant string) serval.Handler, env config.Lookup) (*Streams, error) {
	all := &Streams{
		log: s.log, models: s.models, as: as, busy: s.pace.StandsAside, dir: s.cfg.DataDir, env: env, plugins: StreamPlugins(), known: map[string]stream.Broker{},
		kept: kept{filepath.Join(s.cfg.DataDir, "control", "streams")}, life: s.life, all: map[string]*streamed{}, replays: map[string]bool{},
	}
	for _, b := range brokers.New() {
		all.known[b.Name()] = b
	}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Streams)) {
		e, err := all.build(name, s.cfg.Streams[name], "")
		if err != nil {
			return nil, fmt.Errorf("streams.%s: %w", name, err)
		}
		if path, err := settle(&e.conf, all.known); err != nil {
			return nil, fmt.Errorf("streams.%s.%s: %w", name, path, err)
		}
		all.all[name] = e
	}
	if env == nil {
		return all, nil
	}
	texts, err := all.kept.texts()
	if err != nil {
		s.log.Error("stream: those that were made through the control API cannot be read, and do not run", "error", err)
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if all.all[name] != nil {
			s.log.Warn("stream: the configuration file has one of that name, which is used; that of the control API lies idle in "+all.kept.dir, "stream", name)
			continue
		}
		all.all[name] = all.again(name, texts[name])
	}
	return all, nil
}

// again makes a stream that was made through the API before the server was started. One that cannot run any more is shown with
// the reason: its messages wait at the broker.
func (s *Streams) again(name, text string) *streamed {
	read, err := s.read(name, text)
	if err == nil {
		var e *streamed
		if e, err = s.build(name, read.Stream, text); err == nil {
			if _, err = settle(&e.conf, s.known); err == nil {
				return e
			}
		}
	}
	s.log.Error("stream: its definition cannot be used any more", "stream", name, "error", err)
	return &streamed{name: name, text: text, failed: "its definition cannot be used any more: " + err.Error()}
}

// build makes a stream that does not run yet.
func (s *Streams) build(name string, conf config.Stream, text string) (*streamed, error) {
	instance, err := instanceOf(s.dir)
	if err != nil {
		return nil, err
	}
	o, err := s.options(name, &conf, instance, false)
	if err != nil {
		return nil, err
	}
	e := &streamed{name: name, conf: conf, configured: text == "", text: text, worker: stream.New(*o)}
	if s.kept.paused(name, conf.Paused) {
		e.worker.Pause()
	}
	return e, nil
}

// run starts every stream; they stop, drained, when ctx, which is the server's life, ends.
func (s *Streams) run() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = true
	for _, e := range s.all {
		s.start(e)
	}
}

// start has a stream work, where streams do; the caller holds mu.
func (s *Streams) start(e *streamed) {
	if !s.running || s.over || e.worker == nil {
		return
	}
	ctx, cancel := context.WithCancel(s.life)
	e.cancel, e.done = cancel, make(chan struct{})
	s.compares.challenge(e.name, &e.conf.Compare)
	s.working.Go(func() {
		defer close(e.done)
		var learning sync.WaitGroup
		learning.Go(func() { s.learn(ctx, e.name) })
		e.worker.Run(ctx)
		learning.Wait()
	})
}

// stop has a stream finish what is under way, and returns when it has.
func (s *Streams) stop(e *streamed) {
	s.mu.Lock()
	cancel, done := e.cancel, e.done
	s.mu.Unlock()
	if done != nil {
		cancel()
		<-done
	}
}

// wait returns when, after the server's life has ended, all have stopped, and closes the brokers.
func (s *Streams) wait() {
	<-s.life.Done()
	s.changing.Lock() // whoever changes one has done so
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.changing.Unlock()
	s.working.Wait()
	for _, b := range s.known {
		if c, ok := b.(io.Closer); ok {
			_ = c.Close()
		}
	}
}

// List says of every stream where it stands.
func (s *Streams) List() []serval.StreamStatus {
	s.mu.Lock()
	all := slices.SortedFunc(maps.Values(s.all), func(a, b *streamed) int { return strings.Compare(a.name, b.name) })
	s.mu.Unlock()
	list := make([]serval.StreamStatus, len(all))
	for i, e := range all {
		list[i] = s.statusOf(e)
	}
	return list
}

func (s *Streams) statusOf(e *streamed) serval.StreamStatus {
	st := e.status()
	s.mu.Lock()
	st.Replaying = s.replays[e.name]
	s.mu.Unlock()
	return st
}

func (e *streamed) status() (st serval.StreamStatus) {
	if e.worker != nil {
		st = e.worker.Status()
	} else {
		st = serval.StreamStatus{Name: e.name, Tenant: e.name, State: serval.StreamStopped, Reason: e.failed, Lag: -1, Delivery: "at-least-once"}
	}
	st.Configured = e.configured
	return st
}

func (s *Streams) find(name string) (*streamed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.all[name]; e != nil {
		return e, nil
	}
	// Which there are is not said: they may be others' than the caller's. GET /api/v1/streams says it.
	return nil, serval.Errorf(serval.NotFound, "there is no stream '%s'; 'serval stream list' shows those that your key may see", name).At("stream")
}

// able is find for what needs a stream whose definition can be used.
func (s *Streams) able(name string) (*streamed, error) {
	e, err := s.find(name)
	if err == nil && e.worker == nil {
		err = serval.Errorf(serval.Conflict, "stream '%s': %s", name, e.failed)
	}
	return e, err
}

// Status says where one stream stands.
func (s *Streams) Status(name string) (serval.StreamStatus, error) {
	e, err := s.find(name)
	if err != nil {
		return serval.StreamStatus{}, err
	}
	return s.statusOf(e), nil
}

// Pause has a stream read no more, or read on; what is under way is finished. It holds over restarts of the server, until what
// its definition says of paused is another word.
func (s *Streams) Pause(name string, on bool) error {
	s.pausing.Lock()
	defer s.pausing.Unlock()
	e, err := s.able(name)
	if err != nil {
		return err
	}
	e.pause(on)
	if err := s.kept.pause(name, on, e.conf.Paused); err != nil {
		return serval.Errorf(serval.Unavailable, "the stream does so now, but a restart of the server will forget it: %w", err)
	}
	return nil
}

func (e *streamed) pause(on bool) {
	if on {
		e.worker.Pause()
	} else {
		e.worker.Resume()
	}
}

// Streams are the server's streams of messages.
func (s *Server) Streams() *Streams { return s.streams }

// errStopping refuses what begins while the server stops.
var errStopping = errors.New("the server is stopping")
