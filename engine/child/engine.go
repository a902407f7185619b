package child

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"serval"
	"serval/engine"
	"serval/wire/worker"
)

// Options say how processes are started and watched.
type Options struct {
	Exe   string                     // this program
	Flags []string                   // of Command, so that the child finds the same libraries
	Env   []string                   // the child's environment; nil: this process's
	Told  map[string]json.RawMessage // the engines' options, by name: the child reads no configuration of its own
	Cores int                        // threads that the model's instances together may use
	// Memory is how much of it a process may take, in bytes; 0: no limit.
	Memory int64
	Pace   Pace
	Health Health
	Log    *slog.Logger
}

// Engine opens the models of another engine in processes of their own.
type Engine struct {
	inner engine.Engine
	opt   Options
}

// Wrap makes an Engine. The inner one only says what it can load; its models are opened by the one of that name in the host.
func Wrap(inner engine.Engine, o Options) *Engine { return &Engine{inner: inner, opt: o} }

// Name is the inner engine's.
func (e *Engine) Name() string { return e.inner.Name() }

// Platform is the inner engine's.
func (e *Engine) Platform() string { return e.inner.Platform() }

// Detect is the inner engine's.
func (e *Engine) Detect(dir fs.FS) (engine.Rank, error) { return e.inner.Detect(dir) }

// Open starts a process and loads the model in it. An error of the load is returned as it is; the end of the process is one
// that says how it ended, and its last words. The Model is a *Model, or, for a model of text, one that is an engine.Language.
func (e *Engine) Open(ctx context.Context, spec engine.Spec) (engine.Model, error) {
	settings, err := json.Marshal(inside(spec.Settings))
	if err != nil {
		return nil, err
	}
	m := &Model{
		name: e.Name(), what: fmt.Sprintf("model '%s' version %s", spec.Name, spec.Version), opt: e.opt, change: make(chan struct{}),
		log: e.opt.Log.With("model", spec.Name, "version", spec.Version),
		order: &worker.OpenRequest{
			Engine: e.Name(), Name: spec.Name, Version: spec.Version, Dir: spec.Dir, Root: spec.Root, Settings: settings, Device: spec.Device.String(),
			Cores: int64(e.opt.Cores), Options: map[string][]byte{},
		},
	}
	for name, raw := range e.opt.Told {
		m.order.Options[name] = raw
	}
	p, answer, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	text, err := m.learn(answer, spec.Settings, p)
	if err != nil {
		_ = p.close()
		return nil, err
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.now = p
	m.loop.Add(1)
	go m.run(p)
	if text != nil {
		return &textModel{m, *text}, nil
	}
	return m, nil
}

// inside are the settings that matter in the process. What stands between clients and the queue is not among them.
func inside(s serval.ModelSettings) serval.ModelSettings {
	s.Labels, s.Aliases, s.Inputs, s.Outputs, s.Warmup, s.Recipe, s.Declared, s.Notes = nil, nil, nil, nil, nil, nil, nil, nil
	return s
}

// learn takes in what the process found out about the model.
func (m *Model) learn(a *worker.OpenAnswer, asked serval.ModelSettings, p *process) (text *serval.Language, err error) {
	if err := json.Unmarshal(a.Signature, &m.sig); err != nil {
		return nil, fmt.Errorf("the model's process: signature: %w", err)
	}
	if err := json.Unmarshal(a.Settings, &m.settings); err != nil {
		return nil, fmt.Errorf("the model's process: settings: %w", err)
	}
	if len(a.Language) > 0 {
		text = new(serval.Language)
		if err := json.Unmarshal(a.Language, text); err != nil {
			return nil, fmt.Errorf("the model's process: language: %w", err)
		}
	}
	s := &m.settings
	s.Labels, s.Aliases, s.Inputs, s.Outputs = asked.Labels, asked.Aliases, asked.Inputs, asked.Outputs
	s.Warmup, s.Recipe, s.Declared, s.Notes = asked.Warmup, asked.Recipe, asked.Declared, asked.Notes
	s.Isolation = "process"
	m.batching = serval.Batching{On: a.Batching, Reason: a.Reason}
	m.memory = engine.Memory{Bytes: a.Memory, Estimated: a.Estimated}
	if a.Memory == 0 {
		m.memory.Bytes = resident(p.cmd.Process.Pid)
	}
	return text, nil
}

// begin starts a process and opens the model in it; warm-up requests that were made before are made again.
func (m *Model) begin(ctx context.Context) (*process, *worker.OpenAnswer, error) {
	p, err := m.opt.start(m.order.Name+":"+m.order.Version, m.log)
	if err != nil {
		return nil, nil, err
	}
	limit := m.opt.Health.filled().Open
	inner, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer, err := p.client.Open(inner, m.order, grpc.WaitForReady(true))
	if err == nil {
		err = decodeFailure(answer.Failure)
	} else {
		err = m.unopened(ctx, inner, p, err)
	}
	if err == nil {
		p.streams = answer.Streams
		err = m.rewarm(inner, p)
	}
	if err != nil {
		p.kill("killed since the model could not be opened")
		<-p.done
		return nil, nil, err
	}
	p.served = time.Now()
	return p, answer, nil
}

// unopened says why a process did not come to open the model.
func (m *Model) unopened(ctx, inner context.Context, p *process, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("its load was given up: %w", ctx.Err())
	case inner.Err() != nil:
		return fmt.Errorf("loading it took more than %v", m.opt.Health.filled().Open)
	case !lost(err):
		return fmt.Errorf("the model's process: %w", err)
	}
	p.gone()
	return fmt.Errorf("loading it ended its process (%s), so it is not served; the process's last words: %s", p.how, p.words.String())
}
