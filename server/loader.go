package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"serval"
	"serval/engine"
	"serval/registry"
	"serval/schedule"
	"serval/task/predict"
	"serval/wire/triton"
)

// loader turns a version folder into a Handler: it picks the engine, tries an unknown artefact in a child process, opens
// it, and puts the task before it.
type loader struct {
	engines []engine.Engine
	cores   int
	probe   *prober    // nil: unknown artefacts are loaded without trying them in a child
	apart   *isolation // nil: all models run in this process
}

// Load implements registry.Loader.
func (l *loader) Load(ctx context.Context, src registry.Source) (registry.Loaded, error) {
	eng, err := l.pick(src)
	if err != nil {
		return nil, err
	}
	device, err := engine.ParseDevice(src.Settings.Device)
	if err != nil {
		return nil, err
	}
	src.Settings.Options = known(eng, &src.Settings)
	spec := engine.Spec{Name: src.Name, Version: src.Version, Dir: src.Dir, Root: src.Root, Settings: src.Settings, Device: device}
	eng, apart, err := l.apart.wrap(eng, &src.Settings)
	if err != nil {
		return nil, err
	}
	if _, native := eng.(engine.Native); native && !apart && l.probe != nil {
		if err := l.probe.try(ctx, eng.Name(), probed(spec)); err != nil {
			return nil, err
		}
	}
	opened, err := schedule.Open(ctx, eng, spec, l.cores)
	if err != nil {
		return nil, err
	}
	tasks := present
	if opened.Language != nil {
		tasks = presentText
	}
	v, err := tasks(ctx, src, eng, opened)
	if err != nil {
		_ = opened.Loaded.Close()
		return nil, err
	}
	return v, nil
}

// probed is what a probe child is told: what changes how the artefact is loaded or run, so that another queue or label does
// not make it an unknown one.
func probed(spec engine.Spec) engine.Spec {
	s, declared := &spec.Settings, spec.Settings.Declared
	spec.Settings = serval.ModelSettings{Engine: s.Engine, Device: s.Device, File: s.File, Sequence: s.Sequence, Constants: s.Constants, Dims: s.Dims, Options: s.Options, Text: s.Text}
	if len(declared) > 0 {
		spec.Settings.Text = &serval.TextSettings{Tensors: true}
	}
	return spec
}

// present puts the task before an opened version, and warms it.
func present(ctx context.Context, src registry.Source, eng engine.Engine, opened *schedule.Opened) (*loaded, error) {
	s := triton.Fill(opened.Settings, opened.Signature)
	view, err := predict.NewView(opened.Signature, s.Inputs, s.Outputs, len(s.Declared) > 0 && s.Batching.Request > 0)
	if err != nil {
		return nil, err
	}
	sig := view.Signature()
	folder, err := openFolder(src.Root)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	if err := readLabels(src, folder, &sig); err != nil {
		return nil, err
	}
	if s.Recipe != nil {
		if s.Recipe, err = s.Recipe.Inline(folder, s.Labels); err != nil {
			return nil, err
		}
	}
	batching := opened.Loaded.Batching()
	checked := func(next serval.Handler) serval.Handler {
		m := predict.New(src.Name, src.Version, sig, batching.On || s.Batching.Request > 0, view.Before(next)).Limit(int64(s.Batching.Request)).Usual(view.Usual())
		if s.Loose {
			return predict.Loose(sig, m)
		}
		return m
	}
	if len(s.Warmup) > 0 {
		w, ok := opened.Loaded.(warmer)
		if !ok {
			return nil, errors.New("warmup: the model answers in steps, which cannot be warmed; remove the section")
		}
		if err := warm(ctx, &s, sig, folder, checked(warming{w})); err != nil {
			return nil, err
		}
	}
	if why := triton.WhyAlone(s.Declared); why != "" && !batching.On {
		batching.Reason = why
	}
	return &loaded{
		Loaded: opened.Loaded,
		task:   checked(opened.Loaded),
		info: serval.ModelInfo{
			Name: src.Name, Version: src.Version, Engine: eng.Name(), Platform: cmp.Or(triton.Platform(s.Declared), eng.Platform()), Path: src.Dir,
			Signature: sig, Settings: s, Batching: batching, Memory: opened.Memory.Bytes,
		},
		limits: limits(&s.Queue),
	}, nil
}

// limits says whether requests' own timeouts are deadlines: none is ignored, and none leads to a longer wait.
func limits(q *serval.QueueSettings) bool {
	return q.ClientTimeout != "ignore" && q.OnTimeout != "delay" && !slices.ContainsFunc(q.Priorities, func(p serval.PriorityPolicy) bool {
		return p.OnTimeout == "delay" || p.ClientTimeout == "ignore"
	})
}

// known are a model's options, with those parameters of another server's configuration that the engine has an option for.
func known(eng engine.Engine, s *serval.ModelSettings) map[string]string {
	o, ok := eng.(engine.Optioned)
	if !ok {
		return s.Options
	}
	options := maps.Clone(s.Options)
	for name, v := range triton.Parameters(s.Declared) {
		if _, set := options[name]; set || !o.Knows(name) {
			continue
		}
		if options == nil {
			options = map[string]string{}
		}
		options[name] = v
	}
	return options
}

// pick finds the engine that recognises the artefact best, or the one that the settings name.
func (l *loader) pick(src registry.Source) (engine.Engine, error) {
	dir := folderOf(src)
	if f := src.Settings.File; f != "" {
		if _, err := fs.Stat(os.DirFS(src.Dir), filepath.ToSlash(f)); err != nil {
			return nil, fmt.Errorf("%s has no file %s, which the settings name", src.Dir, f)
		}
	}
	if want := src.Settings.Engine; want != "" {
		for _, e := range l.engines {
			if e.Name() == want {
				if rank, err := e.Detect(dir); rank == engine.NotMine {
					return nil, fmt.Errorf("engine %s, which the settings name, cannot load %s: %w", want, src.Dir, err)
				}
				return e, nil
			}
		}
		if len(src.Settings.Declared) > 0 {
			return nil, fmt.Errorf("backend %q: engine not built in; there are %s", triton.BackendOf(want), l.names())
		}
		return nil, fmt.Errorf("engine: %q is not built in; there are %s", want, l.names())
	}
	best, rank := []engine.Engine(nil), engine.OnlyIfAsked
	var reasons []string
	for _, e := range l.engines {
		r, err := e.Detect(dir)
		if r <= engine.OnlyIfAsked {
			if err == nil {
				err = errors.New("only if model.yaml names it")
			}
			reasons = append(reasons, fmt.Sprintf("%s: %v", e.Name(), err))
			continue
		}
		switch {
		case r > rank:
			best, rank = []engine.Engine{e}, r
		case r == rank:
			best = append(best, e)
		}
	}
	switch len(best) {
	case 0:
		return nil, fmt.Errorf("no engine loads %s (%s)", src.Dir, strings.Join(reasons, "; "))
	case 1:
		return engine.Claimed(l.engines, best[0], src.Dir, &src.Settings), nil
	}
	return nil, fmt.Errorf("%s: the engines %s and %s both accept it; name one as engine: in model.yaml", src.Dir, best[0].Name(), best[1].Name())
}

func (l *loader) names() string {
	var list []string
	for _, e := range l.engines {
		list = append(list, e.Name())
	}
	return strings.Join(list, ", ")
}

// readLabels fills in the class names that model.yaml's labels point to: one a line, in the model's folder.
func readLabels(src registry.Source, folder fs.FS, sig *serval.Signature) error {
	for output, file := range src.Settings.Labels {
		at := sig.Output(output)
		if at < 0 {
			return fmt.Errorf("labels.%s: the model has no such output", output)
		}
		if !filepath.IsLocal(file) {
			return fmt.Errorf("labels.%s: %q must be a path inside the model's folder", output, file)
		}
		raw, err := fs.ReadFile(folder, filepath.ToSlash(file))
		if err != nil {
			return fmt.Errorf("labels.%s: %w", output, err)
		}
		sig.Outputs[at].Labels = strings.Split(strings.TrimRight(strings.ReplaceAll(string(raw), "\r\n", "\n"), "\n"), "\n")
	}
	return nil
}

// loaded is one version as the registry holds it.
type loaded struct {
	schedule.Loaded
	task   serval.Handler
	info   serval.ModelInfo
	limits bool // a request's own timeout is its deadline; else the queue sees to it
}

// Handle starts with the task, which hands on to schedule.
func (l *loaded) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	if req.Timeout > 0 && l.limits {
		if at := req.Timing.Start.Add(req.Timeout); req.Deadline.IsZero() || at.Before(req.Deadline) {
			req.Deadline = at
		}
	}
	return l.task.Handle(ctx, req, sink)
}

// Info describes the version.
func (l *loaded) Info() serval.ModelInfo { return l.info }
