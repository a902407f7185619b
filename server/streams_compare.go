package server

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"serval"
	"serval/config"
	"serval/console/api"
	"serval/stream"
	"serval/stream/compare"
)

// compares are the comparisons of streams: of each challenger one, for as long as its definition stays. Safe for concurrent use.
type compares struct {
	mu  sync.Mutex // guards what follows
	all map[string]*compared
	by  atomic.Pointer[map[string][]watcher] // by stream; of all; replaced, never changed
}

// compared is one comparison.
type compared struct {
	*compare.Comparison
	champion, challenger string
	conf                 config.StreamCompare
	asked                bool // through the API, not by the challenger's definition
}

// watcher is where a stream's answers go.
type watcher struct {
	to   *compare.Comparison
	side compare.Side
}

// watched is a stream's format, behind which somebody looks at the answers.
type watched struct {
	stream.Format
	name string
	all  *compares
}

var _ stream.Gatherer = (*watched)(nil)

// Encode implements stream.Format.
func (f *watched) Encode(m *stream.Message, call *stream.Call, a *stream.Answer, out *stream.Message) error {
	err := f.Format.Encode(m, call, a, out)
	if by := f.all.by.Load(); err == nil && by != nil {
		for _, w := range (*by)[f.name] {
			w.to.See(w.side, m, a)
		}
	}
	return err
}

// Gather implements stream.Gatherer.
func (f *watched) Gather(n int) stream.Decode { return stream.Gather(f.Format, n) }

// watch is a stream's format with those who look on.
func (c *compares) watch(name string, f stream.Format) stream.Format { return &watched{f, name, c} }

// challenge begins, anew, the comparing that the definition of a stream which starts asks for, and ends what it does not ask for
// any more. A nil conf ends all comparing of that challenger.
func (c *compares) challenge(name string, conf *config.StreamCompare) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.all[name]
	if conf != nil && conf.Champion != "" {
		c.begin(name, conf, false)
	} else if old != nil && (conf == nil || !old.asked) {
		delete(c.all, name)
		c.route()
	}
}

// begin makes a challenger's comparison; the caller holds mu.
func (c *compares) begin(name string, conf *config.StreamCompare, asked bool) {
	o := compare.Options{
		Champion: conf.Champion, Challenger: name, Output: conf.Output, Threshold: conf.Threshold, Window: conf.Window,
		Outcomes: conf.Outcomes.From.Name != "", Key: conf.Outcomes.Key,
	}
	if c.all == nil {
		c.all = map[string]*compared{}
	}
	c.all[name] = &compared{compare.New(o), conf.Champion, name, *conf, asked}
	c.route()
}

// route has streams' answers go to all; the caller holds mu.
func (c *compares) route() {
	by := map[string][]watcher{}
	for _, e := range c.all {
		by[e.champion] = append(by[e.champion], watcher{e.Comparison, compare.Champion})
		by[e.challenger] = append(by[e.challenger], watcher{e.Comparison, compare.Challenger})
	}
	c.by.Store(&by)
}

// list are the comparisons, by challenger.
func (c *compares) list() []*compared {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedFunc(maps.Values(c.all), func(a, b *compared) int { return strings.Compare(a.challenger, b.challenger) })
}

// Comparisons says of every comparison how it stands.
func (s *Streams) Comparisons() []serval.StreamComparison {
	list := []serval.StreamComparison{}
	for _, e := range s.compares.list() {
		list = append(list, s.report(e))
	}
	return list
}

// Compare says how a challenger stands against its champion.
func (s *Streams) Compare(champion, challenger string) (*serval.StreamComparison, error) {
	for _, name := range []string{champion, challenger} {
		if _, err := s.find(name); err != nil {
			return nil, err
		}
	}
	for _, e := range s.compares.list() {
		if e.challenger == challenger && e.champion == champion {
			r := s.report(e)
			return &r, nil
		}
	}
	return nil, serval.Errorf(serval.NotFound, "streams '%s' and '%s' are not being compared; begin with 'serval stream compare %s %s --begin', or write 'compare: {champion: %s}' into the definition of '%s'", champion, challenger, champion, challenger, champion, challenger).At("challenger")
}

// Challenge implements api.StreamComparer.
func (s *Streams) Challenge(champion, challenger string, o api.StreamComparing) (*serval.StreamComparison, error) {
	for _, name := range []string{champion, challenger} {
		if _, err := s.find(name); err != nil {
			return nil, err
		}
	}
	switch {
	case champion == challenger:
		return nil, serval.Errorf(serval.InvalidArgument, "a stream cannot be its own challenger; name two").At("challenger")
	case o.Window < 0 || o.Window > 10_000_000:
		return nil, serval.Errorf(serval.InvalidArgument, "window must be from 0 to 10000000, is %d", o.Window).At("window")
	}
	s.compares.mu.Lock()
	if old := s.compares.all[challenger]; old != nil {
		s.compares.mu.Unlock()
		return nil, serval.Errorf(serval.Conflict, "stream '%s' is being compared with '%s' already; end that first", challenger, old.champion).At("challenger")
	}
	s.compares.begin(challenger, &config.StreamCompare{Champion: champion, Output: o.Output, Threshold: o.Threshold, Window: o.Window}, true)
	s.compares.mu.Unlock()
	return s.Compare(champion, challenger)
}

// Unchallenge implements api.StreamComparer.
func (s *Streams) Unchallenge(champion, challenger string) (*serval.StreamComparison, error) {
	last, err := s.Compare(champion, challenger)
	if err != nil {
		return nil, err
	}
	s.compares.mu.Lock()
	defer s.compares.mu.Unlock()
	if old := s.compares.all[challenger]; old != nil && !old.asked {
		return nil, serval.Errorf(serval.Conflict, "the definition of stream '%s' has it compared; remove its section compare", challenger).At("challenger")
	}
	delete(s.compares.all, challenger)
	s.compares.route()
	return last, nil
}

func (s *Streams) report(e *compared) serval.StreamComparison {
	r := e.Report()
	for _, side := range []*serval.StreamSide{&r.Champion, &r.Challenger} {
		st, err := s.Status(side.Stream)
		if err != nil {
			continue
		}
		side.Lag = st.Lag
		for _, n := range st.Dead {
			side.Dead += n
		}
		if side.Model == "" {
			side.Model = st.Model
		}
	}
	return r
}

// learn reads the outcomes of a challenger's comparison until ctx, the stream's life, ends.
func (s *Streams) learn(ctx context.Context, name string) {
	s.compares.mu.Lock()
	e := s.compares.all[name]
	s.compares.mu.Unlock()
	if e == nil || e.conf.Outcomes.From.Name == "" {
		return
	}
	for wait := time.Second; ctx.Err() == nil; wait = min(2*wait, time.Minute) {
		err := s.outcomes(ctx, e)
		if ctx.Err() != nil {
			return
		}
		e.Silent(err.Error())
		s.log.Warn("stream: outcomes cannot be read", "stream", name, "error", err, "after", wait.String())
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// outcomes reads them once, to an error.
func (s *Streams) outcomes(ctx context.Context, e *compared) error {
	o := &e.conf.Outcomes
	broker, ok := s.known[o.From.Name].(stream.Peeker)
	if !ok {
		return serval.Errorf(serval.Unimplemented, "what stands at %s cannot be looked at, so that no outcomes can be read there", o.From.Name)
	}
	back := o.Since
	if back == 0 {
		back = 24 * time.Hour
	}
	instance, err := instanceOf(s.dir)
	if err != nil {
		return err
	}
	look, err := broker.Peek(ctx, o.From.Options, stream.View{Since: time.Now().Add(-back), Follow: true}, s.envOf(e.challenger, instance, false, false)(nil))
	if err != nil {
		return err
	}
	defer func() { _ = look.Close() }()
	for {
		list, err := look.Read(ctx, 500)
		for i := range list {
			e.Outcome(list[i].Key, list[i].Value, o.Value)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
}

// canLearn says whether outcomes can be read from where a definition has them.
func canLearn(c *config.StreamCompare, known map[string]stream.Broker) error {
	if c.Outcomes.From.Name == "" {
		return nil
	}
	b := known[c.Outcomes.From.Name]
	if _, ok := b.(stream.Peeker); !ok {
		return serval.Errorf(serval.InvalidArgument, "what stands at %s cannot be looked at, so that no outcomes can be read there", c.Outcomes.From.Name)
	}
	return b.Check(c.Outcomes.From.Options)
}
