package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"serval/config"
	"serval/console/api"
	"serval/stream"
)

// source has messages of the source answered once more, by a worker of its own that reads beside the stream's group.
func (r *replay) source(ctx context.Context) (err error) {
	finished := false
	defer func() { err = errors.Join(err, r.marks.close(finished && !r.ask.DryRun)) }()
	if r.ask.DryRun {
		return r.countSource(ctx)
	}
	o, err := r.worker()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	src := &rerun{r: r, end: cancel, lanes: map[string]*given{}}
	open := o.Open
	o.Open = func(ctx context.Context, owner stream.Owner) (stream.Source, stream.Target, error) {
		_, to, err := open(ctx, owner)
		if err != nil {
			return nil, nil, err
		}
		src.renew()
		return src, to, nil
	}
	w := stream.New(*o)
	var working sync.WaitGroup
	over := make(chan struct{})
	working.Go(func() { defer close(over); w.Run(ctx) })
	defer working.Wait()
	defer cancel()
	tick := time.NewTicker(replayTold)
	defer tick.Stop()
	for {
		ended := false
		select {
		case <-tick.C:
		case <-over:
			ended = true
		}
		src.tell(&r.told)
		st := w.Status()
		r.told.Replayed, r.told.Dead, r.told.Reason, r.told.Failed = int64(st.Written), st.Dead, st.Reason, int64(st.Dropped)
		if err := r.marks.flush(); err != nil {
			return err
		}
		if ended {
			if finished = src.finished(); !finished {
				return ctx.Err()
			}
			r.told.Ended = true
			return r.said(&r.told)
		}
		if err := r.said(&r.told); err != nil {
			return err
		}
	}
}

// countSource only counts what would be replayed.
func (r *replay) countSource(ctx context.Context) error {
	src := &rerun{r: r, end: func() {}, lanes: map[string]*given{}}
	for {
		list, err := src.next(ctx, replayBatch)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		src.tell(&r.told)
		r.told.Replayed += int64(len(list))
		r.told.Ended = err != nil
		if said := r.said(&r.told); said != nil || err != nil {
			return said
		}
	}
}

// worker is the stream's, with the target alone, or another one.
func (r *replay) worker() (*stream.Options, error) {
	c := r.e.conf
	if len(r.ask.Target) > 0 {
		text := string(r.ask.Target)
		var yaml string
		if json.Unmarshal(r.ask.Target, &yaml) == nil {
			text = yaml
		}
		src, hint := r.s.source(text, "target")
		p, err := config.ReadPlugin("target", "target", src)
		if err != nil {
			return nil, mistaken(err, hint())
		}
		c.Target = p
	}
	c.Delivery, c.Drain = "", 0
	instance, err := instanceOf(r.s.dir)
	if err != nil {
		return nil, err
	}
	o, err := r.s.options(r.e.name, &c, instance, true)
	if err != nil {
		return nil, err
	}
	if o.Format, err = formatOf(&c); err != nil { // without what compares streams: these answers were given before
		return nil, err
	}
	to, env := r.s.known[c.Target.Name], r.s.envOf(r.e.name, instance, false, true)
	o.Open = func(ctx context.Context, owner stream.Owner) (stream.Source, stream.Target, error) {
		target, err := to.Target(ctx, c.Target.Options, env(owner))
		if err != nil {
			return nil, nil, fmt.Errorf("target: %w", err)
		}
		return nil, target, nil
	}
	return o, nil
}

// given is what a lane's messages are that were given to the worker and not yet acked.
type given struct {
	lane *stream.Lane
	list []stream.Message
}

// rerun is a stretch of a place as a source. What is acked is marked as replayed. When all was, it has the worker end.
type rerun struct {
	r   *replay
	end context.CancelFunc

	mu     sync.Mutex // guards what follows
	lanes  map[string]*given
	again  []stream.Message // to be given again: the worker began anew
	ended  bool             // there is nothing behind
	open   int              // given and not acked
	taken  int64
	read   int64
	others int64
	before int64
}

// renew has what was not acked given again, as lanes of a new worker.
func (s *rerun) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again = s.again[:0]
	for name, g := range s.lanes {
		g.lane = stream.NewLane(name, nil)
		for i := range g.list {
			g.list[i].Lane = g.lane
		}
		s.again = append(s.again, g.list...)
	}
}

// Read implements stream.Source.
func (s *rerun) Read(ctx context.Context, most int) ([]stream.Message, error) {
	s.mu.Lock()
	if n := min(most, len(s.again)); n > 0 {
		list := s.again[:n]
		s.again = s.again[n:]
		s.mu.Unlock()
		return list, nil
	}
	ended := s.ended
	s.mu.Unlock()
	for !ended {
		list, err := s.next(ctx, min(most, replayBatch))
		ended = errors.Is(err, io.EOF)
		if err != nil && !ended {
			return nil, err
		}
		if len(list) > 0 {
			return list, nil
		}
	}
	s.mu.Lock()
	if s.ended = true; s.open == 0 {
		s.end()
	}
	s.mu.Unlock()
	<-ctx.Done()
	return nil, ctx.Err()
}

// next reads on; it returns what was asked for, and io.EOF behind the last.
func (s *rerun) next(ctx context.Context, most int) ([]stream.Message, error) {
	ask := s.r.ask
	if ask.Limit > 0 {
		s.mu.Lock()
		most = int(min(int64(most), ask.Limit-s.taken))
		s.mu.Unlock()
		if most == 0 {
			return nil, io.EOF
		}
	}
	list, err := s.r.peek.Read(ctx, most)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := list[:0]
	for _, m := range list {
		s.read++
		switch {
		case !s.r.wanted(&m):
			s.others++
		case !ask.Again && s.r.marks.has(m.Position):
			s.before++
		default:
			s.taken++
			if !ask.DryRun {
				s.give(&m)
			}
			kept = append(kept, m)
		}
	}
	return kept, nil
}

// give puts a message into its lane.
func (s *rerun) give(m *stream.Message) {
	name := ""
	if m.Lane != nil {
		name = m.Lane.Name
	}
	g := s.lanes[name]
	if g == nil {
		g = &given{lane: stream.NewLane(name, nil)}
		s.lanes[name] = g
	}
	m.Lane = g.lane
	g.list = append(g.list, *m)
	s.open++
}

// Ack implements stream.Source.
func (s *rerun) Ack(_ context.Context, done []*stream.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range done {
		g := s.lanes[m.Lane.Name]
		if g.lane != m.Lane || len(g.list) == 0 { // of a worker before
			continue
		}
		g.list[0] = stream.Message{}
		g.list = g.list[1:]
		s.open--
		s.r.marks.add(m.Position)
	}
	if s.ended && s.open == 0 {
		s.end()
	}
	return nil
}

// Lag implements stream.Source.
func (s *rerun) Lag() int64 { return -1 }

// Close does nothing: the place is closed by who opened it.
func (s *rerun) Close() error { return nil }

// tell notes how far it is.
func (s *rerun) tell(t *api.StreamReplayed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Read, t.Others, t.Before = s.read, s.others, s.before
}

func (s *rerun) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended && s.open == 0
}
