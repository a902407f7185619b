package schedule

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"serval"
	"serval/engine"
)

// Defaults of model.yaml's batching and queue.
const (
	DefaultMaxBatch   = 64
	DefaultQueueLimit = 1024
	DefaultMaxWait    = time.Second
	DefaultLevels     = 2
)

// Loaded is a version that is ready for calls.
type Loaded interface {
	serval.Handler
	Batching() serval.Batching
	Stats() serval.Stats
	Close() error
}

// Opened is what Open returns: the version and what was found out about it.
type Opened struct {
	Loaded    Loaded
	Signature serval.Signature
	Language  *serval.Language // nil: the model takes tensors
	Memory    engine.Memory
	Settings  serval.ModelSettings // every default filled in
}

// slowRow is the time of one row above which a model is better served by one instance with all cores than by one
// instance a core, if the engine gets faster by it.
const slowRow = 2 * time.Millisecond

// Open loads an artefact with an engine, warms it, finds out whether its rows may share batches, and starts its instances.
// cores is how many threads all instances together may use.
func Open(ctx context.Context, eng engine.Engine, spec engine.Spec, cores int) (*Opened, error) {
	what := fmt.Sprintf("model '%s' version %s", spec.Name, spec.Version)
	asked := spec.Settings
	s := withDefaults(asked)
	if len(asked.Declared) > 0 { // clients give what the declaration names; a process of its own is not told that
		spec.Settings.Text = &serval.TextSettings{Tensors: true}
	}
	spec.Threads, spec.Cores = max(s.Threads, 1), cores
	eng = texts(fit(eng, s), &spec, asked.Batching.Max)
	first, err := eng.Open(ctx, spec)
	if err != nil {
		return nil, err
	}
	sig := first.Signature()
	if h, ok := first.(Handling); ok { // it has done all of this where it runs
		return &Opened{Loaded: newPassage(what, s, h), Signature: sig, Language: languageOf(first), Memory: first.Memory(), Settings: h.Settings()}, nil
	}
	if err := checkDims(sig, s.Dims); err != nil {
		_ = first.Close()
		return nil, err
	}
	switch model := first.(type) {
	case engine.Batcher:
		if _, ok := model.(*ragged); ok {
			s = withTextDefaults(s, asked)
		}
		found := probe(ctx, model, s)
		if s.Threads == 0 && s.Instances <= 1 && cores > 1 && found.row > slowRow {
			model, found, spec.Threads = tryThreads(ctx, eng, spec, model, found, cores)
		}
		if s.Instances == 0 {
			s.Instances = max(1, cores/spec.Threads)
		}
		s.Threads = spec.Threads
		if r, ok := model.(*ragged); ok {
			s.Batching.Max = r.plan.budget
		}
		copies, err := share(ctx, eng, spec, model, s.Instances)
		if err != nil {
			return nil, err
		}
		m := newModel(what, s, sig, found)
		m.start(copies)
		if r, ok := model.(*ragged); ok {
			return &Opened{Loaded: newEncoder(m, r), Signature: sig, Language: languageOf(r), Memory: model.Memory(), Settings: s}, nil
		}
		opened := &Opened{Loaded: m, Signature: sig, Memory: model.Memory(), Settings: s}
		if s.Sequence != nil {
			if err := opened.sequences(m, cmp.Or(spec.Root, spec.Dir)); err != nil {
				_ = m.Close()
				return nil, err
			}
		}
		return opened, nil
	case engine.Decoder:
		if s.Sequence != nil {
			_ = first.Close()
			return nil, fmt.Errorf("sequence: the model answers in steps and keeps its own state; remove the section")
		}
		s.Instances, s.Threads = 1, cmp.Or(s.Threads, cores, 1)
		return &Opened{Loaded: newStreams(what, s, model), Signature: sig, Language: languageOf(first), Memory: model.Memory(), Settings: s}, nil
	}
	_ = first.Close()
	return nil, fmt.Errorf("engine %s opened a model that is neither a Batcher, a Decoder nor a Handler", eng.Name())
}

// languageOf is what is known of a model of text; nil for any other.
func languageOf(m engine.Model) *serval.Language {
	l, ok := m.(engine.Language)
	if !ok {
		return nil
	}
	lang := l.Language()
	return &lang
}

// sequences puts what keeps state before the queue.
func (o *Opened) sequences(queue *Model, dir string) error {
	plan, err := planSequences(o.Signature, o.Settings.Sequence, dir)
	if err != nil {
		return err
	}
	filled := *o.Settings.Sequence
	if filled.Strategy == "" {
		filled.Strategy = "oldest"
	}
	if filled.MaxSequences == 0 {
		filled.MaxSequences = DefaultSequences
		if filled.Strategy == "direct" {
			filled.MaxSequences = o.Settings.Instances
			if queue.batching.On {
				filled.MaxSequences *= o.Settings.Batching.Max
			}
		}
	}
	if filled.IdleTimeout == 0 {
		filled.IdleTimeout = DefaultIdle
	}
	o.Settings.Sequence, o.Signature = &filled, plan.outer
	o.Loaded = newSequences(&filled, plan, queue)
	return nil
}

func withDefaults(s serval.ModelSettings) serval.ModelSettings {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&s.Batching.Max, DefaultMaxBatch)
	def(&s.Queue.Limit, DefaultQueueLimit)
	def(&s.Queue.PriorityLevels, DefaultLevels)
	if s.Queue.MaxWait == 0 {
		s.Queue.MaxWait = DefaultMaxWait
	}
	if s.Batching.Mode == "" {
		s.Batching.Mode = "auto"
	}
	return s
}

// withTextDefaults changes the defaults to those of an encoder.
func withTextDefaults(s, asked serval.ModelSettings) serval.ModelSettings {
	if asked.Queue.MaxWait == 0 {
		s.Queue.MaxWait = DefaultTextWait
	}
	return s
}

func newModel(what string, s serval.ModelSettings, sig serval.Signature, found probed) *Model {
	r := rules{batch: found.batching.On, max: int64(s.Batching.Max), delay: s.Batching.MaxDelay}
	for _, p := range s.Batching.Preferred {
		if int64(p) <= r.max {
			r.preferred = append(r.preferred, int64(p))
		}
	}
	levels := s.Queue.PriorityLevels
	own, delays := policies(s.Queue)
	m := &Model{
		what: what, levels: levels, limit: s.Queue.Limit, maxWait: s.Queue.MaxWait, timeout: s.Queue.Timeout,
		policies: own, usual: levels / 2, strict: s.Queue.DefaultPriority > 0,
		batching: found.batching, batchDim: found.leads,
	}
	if m.strict {
		m.usual = min(s.Queue.DefaultPriority, levels) - 1
	}
	if delays {
		levels++ // for those that have waited too long
	}
	m.q = newQueue(levels, r)
	m.q.background()
	for len(m.policies) <= m.q.back {
		m.policies = append(m.policies, policy{})
	}
	if found.row > 0 {
		m.cost.seen(1, found.row)
	}
	return m
}

// tryThreads opens the model anew with all cores for one call, and keeps the faster of the two.
func tryThreads(ctx context.Context, eng engine.Engine, spec engine.Spec, one engine.Batcher, found probed, cores int) (engine.Batcher, probed, int) {
	spec.Threads = cores
	m, err := eng.Open(ctx, spec)
	if err != nil {
		return one, found, 1
	}
	all, ok := m.(engine.Batcher)
	if !ok {
		_ = m.Close()
		return one, found, 1
	}
	again := probe(ctx, all, spec.Settings)
	if again.row > 0 && float64(again.row) < float64(found.row)/1.3 {
		_ = one.Close()
		return all, again, cores
	}
	_ = all.Close()
	return one, found, 1
}

// share makes the instances; they share weights where the engine can.
func share(ctx context.Context, eng engine.Engine, spec engine.Spec, first engine.Batcher, n int) ([]engine.Batcher, error) {
	copies := []engine.Batcher{first}
	for len(copies) < n {
		next, err := another(ctx, eng, spec, first)
		if err != nil {
			for i := len(copies) - 1; i >= 0; i-- {
				_ = copies[i].Close()
			}
			return nil, fmt.Errorf("instance %d of %d: %w", len(copies)+1, n, err)
		}
		copies = append(copies, next)
	}
	return copies, nil
}

func another(ctx context.Context, eng engine.Engine, spec engine.Spec, first engine.Batcher) (engine.Batcher, error) {
	if s, ok := first.(engine.Sharer); ok {
		return s.Share(ctx)
	}
	m, err := eng.Open(ctx, spec)
	if err != nil {
		return nil, err
	}
	b, ok := m.(engine.Batcher)
	if !ok {
		_ = m.Close()
		return nil, fmt.Errorf("engine %s opened another kind of model the second time", eng.Name())
	}
	return b, nil
}
