package server

import (
	"context"
	"errors"
	"path/filepath"

	"serval"
	"serval/config"
	"serval/stream"
	brokers "serval/stream/all"
	"serval/stream/format"
)

// StreamCheck is what a configuration's reader asks about streams.
func StreamCheck() config.StreamCheck {
	known := map[string]stream.Broker{}
	for _, b := range brokers.New() {
		known[b.Name()] = b
	}
	return func(_ string, c *config.Stream) []config.Mistake {
		list := mistakes(c, known)
		if len(list) == 0 {
			if path, err := settle(c, known); err != nil {
				list = append(list, config.Mistake{Path: path, Reason: err.Error()})
			}
		}
		return list
	}
}

// settle has brokers take note of what a stream says of what its streams share; see stream.Settler.
func settle(c *config.Stream, known map[string]stream.Broker) (path string, err error) {
	for _, p := range []struct {
		key string
		config.Plugin
	}{{"source", c.Source}, {"target", c.Target}, {"dead_letter", c.DeadLetter}} {
		b, ok := known[p.Name].(stream.Settler)
		if !ok {
			continue
		}
		if err := b.Settle(p.Options); err != nil {
			path = p.key + "." + p.Name
			if e := serval.AsError(err); e.Param != "" {
				path += "." + e.Param
			}
			return path, err
		}
	}
	return "", nil
}

// mistakes are what is wrong with a stream, as its plug-ins say, and with its delivery.
func mistakes(c *config.Stream, known map[string]stream.Broker) (list []config.Mistake) {
	note := func(path string, err error) {
		if err == nil {
			return
		}
		var e *serval.Error
		if errors.As(err, &e) && e.Param != "" {
			path += "." + e.Param
		}
		list = append(list, config.Mistake{Path: path, Reason: err.Error()})
	}
	if _, err := serval.ParseRef(c.Model); err != nil {
		list = append(list, config.Mistake{Path: "model", Reason: err.Error()})
	}
	if c.Background && c.Priority > 0 {
		list = append(list, config.Mistake{Path: "priority", Reason: "a background stream has none: its calls wait for all others; remove one of both"})
	}
	_, err := formatOf(c)
	note("format."+c.Format.Name, err)
	for _, p := range []struct {
		key string
		config.Plugin
	}{{"source", c.Source}, {"target", c.Target}, {"dead_letter", c.DeadLetter}} {
		if p.Name != "" {
			note(p.key+"."+p.Name, known[p.Name].Check(p.Options))
		}
	}
	note("compare.outcomes.from."+c.Compare.Outcomes.From.Name, canLearn(&c.Compare, known))
	if _, _, err := deliveryOf(c, known[c.Target.Name]); err != nil {
		list = append(list, config.Mistake{Path: "delivery", Reason: err.Error()})
	}
	return list
}

func formatOf(c *config.Stream) (stream.Format, error) {
	var events *format.CloudEvents
	if c.CloudEvents.On {
		events = &format.CloudEvents{On: true, Type: c.CloudEvents.Type, Source: c.CloudEvents.Source}
	}
	return format.New(c.Format.Options, events)
}

// deliveryOf says whether a stream is exactly-once by a broker's Session, or by a target that keeps positions.
func deliveryOf(c *config.Stream, to stream.Broker) (session, once bool, err error) {
	if c.Delivery != "exactly-once" {
		return false, false, nil
	}
	if c.Source.Name == c.Target.Name {
		if _, ok := to.(stream.Transactional); !ok {
			return false, false, serval.Errorf(serval.InvalidArgument, "exactly-once needs transactions, which %s does not have; remove it: results are written at least once", c.Target.Name).At("delivery")
		}
		return true, false, nil
	}
	if k, ok := to.(stream.Keeper); !ok || !k.Keeps() {
		return false, false, serval.Errorf(serval.InvalidArgument,
			"exactly-once needs source and target in one cluster, or a target that keeps positions with the results; they are %s and %s", c.Source.Name, c.Target.Name).At("delivery")
	}
	return false, true, nil
}

// options turns a stream's configuration into what a worker takes; again: one that replays it.
func (s *Streams) options(name string, c *config.Stream, instance string, again bool) (*stream.Options, error) {
	if list := mistakes(c, s.known); len(list) > 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: %s", list[0].Path, list[0].Reason).At(list[0].Path)
	}
	model, err := serval.ParseRef(c.Model)
	if err != nil {
		return nil, err
	}
	f, err := formatOf(c)
	if err != nil {
		return nil, err
	}
	from, to := s.known[c.Source.Name], s.known[c.Target.Name]
	exact, once, err := deliveryOf(c, to)
	if err != nil {
		return nil, err
	}
	tenant := c.Tenant
	if tenant == "" {
		tenant = name
	}
	env := s.envOf(name, instance, once, again)
	o := &stream.Options{
		Name: name, Model: model, Tenant: tenant, Priority: int8(c.Priority), From: from.Say(c.Source.Options), To: to.Say(c.Target.Options),
		Handler: s.as(tenant), Models: s.models, Format: s.compares.watch(name, f), OnError: c.OnError, MaxMessage: int(c.MaxMessage), MaxInFlight: c.MaxInFlight, MaxBytes: int64(c.MaxBytes),
		Calls: c.Calls, Group: c.Group, Retry: stream.Retry(c.Retry), Drain: c.Drain, Transaction: c.Transaction, Once: once, Log: s.log,
	}
	if c.Background {
		o.Priority, o.Busy = serval.Background, s.busy
	}
	together := exact && c.DeadLetter.Name == c.Target.Name // the session writes dead letters itself
	if c.DeadLetter.Name != "" && !together {
		o.Dead = func(ctx context.Context, owner stream.Owner) (stream.Target, error) {
			e := env(owner)
			e.Once = false // positions are of the results; a dead letter may be written twice, never not at all
			return s.known[c.DeadLetter.Name].Target(ctx, c.DeadLetter.Options, e)
		}
	}
	o.Open = func(ctx context.Context, owner stream.Owner) (stream.Source, stream.Target, error) {
		if exact {
			var dead any
			if together {
				dead = c.DeadLetter.Options
			}
			session, err := from.(stream.Transactional).Session(ctx, c.Source.Options, c.Target.Options, dead, env(owner))
			return session, session, err
		}
		return pair(
			func() (stream.Source, error) { return from.Source(ctx, c.Source.Options, env(owner)) },
			func() (stream.Target, error) { return to.Target(ctx, c.Target.Options, env(owner)) })
	}
	return o, nil
}

// pair opens both ends, or none. The target is first: a source that is closed may call its owner, who listens only when both are
// open.
func pair(source func() (stream.Source, error), target func() (stream.Target, error)) (stream.Source, stream.Target, error) {
	to, err := target()
	if err != nil {
		return nil, nil, err
	}
	from, err := source()
	if err != nil {
		_ = to.Close()
		return nil, nil, err
	}
	return from, to, nil
}

// envOf is what brokers may know of a stream's worker.
func (s *Streams) envOf(name, instance string, once, again bool) func(stream.Owner) stream.Env {
	if again {
		instance += "-replay" // no folder or name of the running stream is its own
	}
	return func(owner stream.Owner) stream.Env {
		return stream.Env{
			Stream: name, Instance: instance, Dir: filepath.Join(s.dir, "streams"), Once: once, Again: again, Owner: owner, Warn: s.log.With("stream", name).Warn,
		}
	}
}
