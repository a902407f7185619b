package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"serval"
	"serval/client/dialog"
	"serval/config"
	engines "serval/engine/all"
	"serval/registry/source"
	"serval/server"
)

// voice is a model that answers.
type voice struct {
	handler serval.Handler
	model   serval.Ref
	where   string // who answers, for people
	context int    // most tokens of a conversation; 0: not known
	log     string // the file with the local server's log; "": there is none
	close   func()
}

// schemes are those of sources; see registry/source.
var schemes = []string{"hf", "http", "https", "s3", "file", "pypi"}

// isSource says whether a model is named by where it is to be had.
func isSource(model string) bool {
	scheme, _, found := strings.Cut(model, ":")
	for _, s := range schemes {
		if found && strings.EqualFold(scheme, s) {
			return true
		}
	}
	return false
}

// isFile says whether a model is named by the path of its file.
func isFile(model string) bool {
	if !strings.EqualFold(filepath.Ext(model), ".gguf") {
		return false
	}
	info, err := os.Stat(model)
	return err == nil && info.Mode().IsRegular() || strings.ContainsRune(model, filepath.Separator)
}

// voice finds the model and who answers with it.
func (f *runFlags) voice(ctx context.Context, model string) (*voice, error) {
	switch {
	case isSource(model) || isFile(model):
		if f.server != "" {
			return nil, usage(fmt.Errorf("%s is loaded here, not by a server; leave --server out, or name one of the server's models", model))
		}
		if isSource(model) {
			return f.pulled(ctx, model)
		}
		return f.file(ctx, model)
	case f.as != "":
		return nil, usage(errors.New("--as names a model that is pulled; leave it out"))
	}
	ref, err := serval.ParseRef(model)
	if err != nil {
		return nil, usage(err)
	}
	if !f.local && len(f.models) == 0 {
		if v, err := f.online(ctx, ref); v != nil || err != nil {
			return v, err
		}
	}
	return f.loaded(ctx, ref, nil)
}

// online is a running server's model; nil where there is no server, or it does not have what the models folder has.
func (f *runFlags) online(ctx context.Context, ref serval.Ref) (*voice, error) {
	c := f.client()
	asked := f.server != "" || os.Getenv("SERVAL_SERVER") != ""
	quick, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := c.Ready(quick)
	if e := serval.AsError(err); err != nil && !asked && (e.Code != serval.Unavailable || strings.Contains(e.Message, "refused")) {
		c.Close()
		return nil, ctx.Err() // nobody, or somebody else
	}
	said, err := c.Spoken(ctx, ref)
	switch e := serval.AsError(err); {
	case err == nil:
		err = speaks(ref, &serval.Language{Generate: said.Generate, Embed: said.Embed})
	case e.Code == serval.NotFound && !asked && f.here(ref.Name):
		fmt.Fprintf(os.Stderr, "serval: the server at %s does not have %s; it is loaded here\n", f.base(), ref.Name)
		c.Close()
		return nil, nil
	case e.Code == serval.InvalidArgument && strings.Contains(e.Message, "no model of text"):
		err = speaks(ref, nil)
	case e.Code == serval.Unimplemented, e.Code == serval.PermissionDenied, e.Code == serval.Unauthenticated:
		err = nil // it answers, or says why not
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return &voice{handler: serval.HandlerFunc(c.Chat), model: ref, where: "answered by " + f.base(), context: said.Context, close: c.Close}, nil
}

// speaks refuses a model that does not answer with text, and says what it is for.
func speaks(ref serval.Ref, l *serval.Language) error {
	switch {
	case l == nil:
		return serval.Errorf(serval.InvalidArgument, "model '%s' takes tensors, not text; ask it about files: serval predict %s FILE", ref.Name, ref).At("model")
	case l.Generate:
		return nil
	case l.Embed:
		return serval.Errorf(serval.InvalidArgument, "model '%s' makes vectors of texts and does not answer them; ask for them with POST /v1/embeddings", ref.Name).At("model")
	}
	return serval.Errorf(serval.InvalidArgument, "model '%s' does not answer with text", ref.Name).At("model")
}

// here says whether the models folder has a model.
func (f *runFlags) here(name string) bool {
	cfg, err := f.read(nil)
	if err != nil || name != filepath.Base(name) {
		return false
	}
	for _, dir := range cfg.ModelDirs {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// pulled pulls a source, unless it is there, and loads it.
func (f *runFlags) pulled(ctx context.Context, from string) (*voice, error) {
	cfg, err := f.read(nil)
	if err != nil {
		return nil, err
	}
	store, err := f.store(os.Stderr)
	if err != nil {
		return nil, err
	}
	p, req := puller(store, os.Stderr), source.Request{Source: from, Name: f.as, Models: cfg.ModelDirs[0]}
	got, there := p.There(req)
	if !there {
		if got, err = p.Pull(ctx, req); err != nil {
			if e := serval.AsError(err); e.Code == serval.InvalidArgument {
				return nil, usage(err)
			}
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "serval: %s: %s in %s\n", got.Name, mebibytes(got.Bytes), got.Dir)
	}
	return f.loaded(ctx, serval.Ref{Name: got.Name}, nil)
}

// file loads a file as it stands, with the parts beside it.
func (f *runFlags) file(ctx context.Context, path string) (*voice, error) {
	temp, err := os.MkdirTemp("", "serval-run-")
	if err != nil {
		return nil, err
	}
	got, err := source.New(source.Options{}).Pull(ctx, source.Request{Source: "file:" + path, Models: temp, Link: true})
	if err != nil {
		_ = os.RemoveAll(temp)
		return nil, err
	}
	v, err := f.loaded(ctx, serval.Ref{Name: got.Name}, func(c *config.Config) {
		c.ModelDirs = []string{temp}
		c.Models = map[string]serval.ModelSettings{got.Name: {Text: &serval.TextSettings{Slots: 1}}} // nobody else asks
	})
	if err != nil {
		_ = os.RemoveAll(temp)
		return nil, err
	}
	end := v.close
	v.close = func() { end(); _ = os.RemoveAll(temp) }
	return v, nil
}

// loaded loads a model of the models folder. It runs as a server would run it, a language model in a process of its own.
func (f *runFlags) loaded(ctx context.Context, ref serval.Ref, override func(*config.Config)) (*voice, error) {
	temp, err := os.MkdirTemp("", "serval-run-") // nothing is kept of a conversation
	if err != nil {
		return nil, err
	}
	v := &voice{model: ref, where: "loaded here", log: filepath.Join(temp, "log"), close: func() { _ = os.RemoveAll(temp) }}
	cfg, err := f.read(func(c *config.Config) {
		c.Log.Access, c.Log.Level, c.Log.File = false, "error", v.log
		c.DataDir = temp
		if override != nil {
			override(c)
		}
	})
	if err == nil {
		err = f.start(ctx, v, cfg)
	}
	if err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

// start makes the chain for v's model, and adds its end to v.close.
func (f *runFlags) start(ctx context.Context, v *voice, cfg *config.Config) error {
	wait := newWaiting("loading " + v.model.String())
	defer wait.end()
	store, err := f.store(wait)
	if err != nil {
		return err
	}
	exe, err := self()
	if err != nil {
		return err
	}
	out, err := server.OpenLog(cfg.Log)
	if err != nil {
		return err
	}
	s, err := server.New(server.Options{
		Config: cfg, Engines: engines.New(&libraries{ctx, store}, cfg.Engines), Cores: tuneRuntime(), Version: version, Log: out, ProbeExe: exe, ProbeFlags: f.pass(),
	})
	if err != nil {
		_ = out.Close()
		return err
	}
	end := v.close
	v.close = func() { _ = s.Stop(); _ = out.Close(); end() } // nothing is under way
	if err := s.LoadModel(ctx, v.model.Name); err != nil {
		if serval.AsError(err).Code == serval.NotFound {
			return fmt.Errorf("%w; a source fetches one, as in: serval run hf:unsloth/gemma-3-270m-it-GGUF", err)
		}
		return err
	}
	info, err := s.Models().Model(v.model)
	if err != nil {
		return err
	}
	if err := speaks(v.model, info.Language); err != nil {
		return err
	}
	v.handler, v.context = s.Handler(), info.Language.Context
	return nil
}

// explain gives an error without a cause, whose cause is in the local server's log, that cause.
func (v *voice) explain(err error) error {
	if e := serval.AsError(err); e.Code != serval.Internal || v.log == "" {
		return err
	}
	raw, readErr := os.ReadFile(v.log)
	if readErr != nil || len(raw) == 0 {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return fmt.Errorf("%w\n%s", err, lines[len(lines)-1])
}

// waiting shows on a terminal that something takes its time. What is written to it is written to standard error, in the place
// of that.
type waiting struct {
	what    string
	start   time.Time
	mu      sync.Mutex
	shown   bool
	stop    chan struct{}
	running sync.WaitGroup
}

func newWaiting(what string) *waiting {
	w := &waiting{what: what, start: time.Now(), stop: make(chan struct{})}
	if !dialog.IsTerminal(os.Stderr) {
		return w
	}
	w.running.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-tick.C:
				w.mu.Lock()
				fmt.Fprintf(os.Stderr, "\r\x1b[K%s … %.0f s\r", w.what, time.Since(w.start).Seconds())
				w.shown = true
				w.mu.Unlock()
			}
		}
	})
	return w
}

// Write writes to standard error.
func (w *waiting) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wipe()
	return os.Stderr.Write(p)
}

func (w *waiting) wipe() {
	if w.shown {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
		w.shown = false
	}
}

// end takes it off the screen.
func (w *waiting) end() {
	close(w.stop)
	w.running.Wait()
	w.wipe()
}
