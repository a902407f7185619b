package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
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

// Streams are the server's streams. Safe for concurrent use.
type Streams struct {
	workers []*stream.Worker // by name
	brokers map[string]stream.Broker
	running sync.WaitGroup
}

// streamsOf makes the streams of the configuration; none runs yet. as is the chain for a tenant, without a key.
func (s *Server) streamsOf(as func(tenant string) serval.Handler) (*Streams, error) {
	all := &Streams{}
	if len(s.cfg.Streams) == 0 {
		return all, nil
	}
	instance, err := instanceOf(s.cfg.DataDir)
	if err != nil {
		return nil, err
	}
	all.brokers = map[string]stream.Broker{}
	for _, b := range brokers.New() {
		all.brokers[b.Name()] = b
	}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Streams)) {
		o, err := s.streamOptions(name, instance, all.brokers, as)
		if err != nil {
			return nil, fmt.Errorf("streams.%s: %w", name, err)
		}
		w := stream.New(*o)
		if s.cfg.Streams[name].Paused {
			w.Pause()
		}
		all.workers = append(all.workers, w)
	}
	return all, nil
}

// streamOptions turns one stream's configuration into what a worker takes.
func (s *Server) streamOptions(name, instance string, known map[string]stream.Broker, as func(string) serval.Handler) (*stream.Options, error) {
	c := s.cfg.Streams[name]
	model, err := serval.ParseRef(c.Model)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	var events *format.CloudEvents
	if c.CloudEvents.On {
		events = &format.CloudEvents{On: true, Type: c.CloudEvents.Type, Source: c.CloudEvents.Source}
	}
	f, err := format.New(c.Format.Options, events)
	if err != nil {
		return nil, err
	}
	from, to := known[c.Source.Name], known[c.Target.Name]
	for _, p := range []struct {
		key string
		config.Plugin
	}{{"source", c.Source}, {"target", c.Target}, {"dead_letter", c.DeadLetter}} {
		if p.Name == "" {
			continue
		}
		if err := known[p.Name].Check(p.Options); err != nil {
			return nil, fmt.Errorf("%s: %w", p.key, err)
		}
	}
	tenant := c.Tenant
	if tenant == "" {
		tenant = name
	}
	exact, once := c.Delivery == "exactly-once", false
	if exact && c.Source.Name != c.Target.Name {
		if k, ok := to.(stream.Keeper); !ok || !k.Keeps() {
			return nil, serval.Errorf(serval.InvalidArgument,
				"exactly-once needs source and target in one cluster, or a target that keeps positions with the results; they are %s and %s", c.Source.Name, c.Target.Name).At("delivery")
		}
		exact, once = false, true
	}
	env := func(owner stream.Owner) stream.Env {
		return stream.Env{
			Stream: name, Instance: instance, Dir: filepath.Join(s.cfg.DataDir, "streams"), Once: once, Owner: owner, Warn: s.log.With("stream", name).Warn,
		}
	}
	o := &stream.Options{
		Name: name, Model: model, Tenant: tenant, Priority: int8(c.Priority), From: from.Say(c.Source.Options), To: to.Say(c.Target.Options),
		Handler: as(tenant), Models: s.models, Format: f, OnError: c.OnError, MaxMessage: int(c.MaxMessage), MaxInFlight: c.MaxInFlight, MaxBytes: int64(c.MaxBytes),
		Calls: c.Calls, Group: c.Group, Retry: stream.Retry(c.Retry), Drain: c.Drain, Transaction: c.Transaction, Log: s.log,
	}
	together := exact && c.DeadLetter.Name == c.Target.Name // the session writes dead letters itself
	if c.DeadLetter.Name != "" && !together {
		o.Dead = func(ctx context.Context, owner stream.Owner) (stream.Target, error) {
			return known[c.DeadLetter.Name].Target(ctx, c.DeadLetter.Options, env(owner))
		}
	}
	o.Open = func(ctx context.Context, owner stream.Owner) (stream.Source, stream.Target, error) {
		if exact {
			var dead any
			if together {
				dead = c.DeadLetter.Options
			}
			session, err := from.Session(ctx, c.Source.Options, c.Target.Options, dead, env(owner))
			return session, session, err
		}
		source, err := from.Source(ctx, c.Source.Options, env(owner))
		if err != nil {
			return nil, nil, err
		}
		target, err := to.Target(ctx, c.Target.Options, env(owner))
		if err != nil {
			_ = source.Close()
			return nil, nil, err
		}
		return source, target, nil
	}
	return o, nil
}

// instanceOf is a word that is this server's alone, kept in its data folder: brokers know it by that after a restart.
func instanceOf(dir string) (string, error) {
	file := filepath.Join(dir, "instance")
	raw, err := os.ReadFile(file)
	if word := strings.TrimSpace(string(raw)); err == nil && word != "" {
		return word, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("streams: %w", err)
	}
	random := make([]byte, 6)
	_, _ = rand.Read(random) // never fails
	word := hex.EncodeToString(random)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("streams: the data folder is needed to keep this server's name: %w", err)
	}
	fresh := file + ".new"
	if err := os.WriteFile(fresh, []byte(word+"\n"), 0o644); err != nil {
		return "", fmt.Errorf("streams: the data folder is needed to keep this server's name: %w", err)
	}
	return word, os.Rename(fresh, file)
}

// run starts every stream; they stop, drained, when ctx ends.
func (s *Streams) run(ctx context.Context) {
	for _, w := range s.workers {
		s.running.Go(func() { w.Run(ctx) })
	}
}

// wait returns when all have stopped, and closes the brokers.
func (s *Streams) wait() {
	s.running.Wait()
	for _, b := range s.brokers {
		if c, ok := b.(io.Closer); ok {
			_ = c.Close()
		}
	}
}

// List says of every stream where it stands.
func (s *Streams) List() []serval.StreamStatus {
	list := make([]serval.StreamStatus, len(s.workers))
	for i, w := range s.workers {
		list[i] = w.Status()
	}
	return list
}

func (s *Streams) find(name string) (*stream.Worker, error) {
	var names []string
	for _, w := range s.workers {
		if w.Name() == name {
			return w, nil
		}
		names = append(names, w.Name())
	}
	return nil, serval.Errorf(serval.NotFound, "there is no stream '%s'; there are: %s", name, strings.Join(names, ", ")).At("stream")
}

// Status says where one stream stands.
func (s *Streams) Status(name string) (serval.StreamStatus, error) {
	w, err := s.find(name)
	if err != nil {
		return serval.StreamStatus{}, err
	}
	return w.Status(), nil
}

// Pause has a stream read no more, or read on; what is under way is finished.
func (s *Streams) Pause(name string, on bool) error {
	w, err := s.find(name)
	if err != nil {
		return err
	}
	if on {
		w.Pause()
	} else {
		w.Resume()
	}
	return nil
}

// Streams are the server's streams of messages.
func (s *Server) Streams() *Streams { return s.streams }
