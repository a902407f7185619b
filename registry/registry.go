package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"serval"
)

// Loaded is a version that answers calls. Close lets the calls inside finish first; new ones get serval.ErrRetired.
type Loaded interface {
	serval.Handler
	Info() serval.ModelInfo
	Stats() serval.Stats
	Close() error
}

// Loader loads and warms one version.
type Loader interface {
	Load(context.Context, Source) (Loaded, error)
}

// Options say where models are and how they are loaded.
type Options struct {
	Roots    []string
	Settings map[string]serval.ModelSettings // by model; they win over model.yaml
	// Read reads what a model's folder says; zero settings if it says nothing. An override that is declared whole (see
	// serval.ModelSettings.Declared) stands in the place of another server's configuration file.
	Read  func(name, modelDir string, override *serval.ModelSettings) (serval.ModelSettings, error)
	Merge func(under, over serval.ModelSettings) serval.ModelSettings // over's set fields win
	// Version adds what a version folder's own file says; nil: they have none.
	Version func(versionDir string, s serval.ModelSettings) (serval.ModelSettings, error)
	// Name is what a model's own files call it; "": as its folder. Nil: all are called as their folders.
	Name func(modelDir string) string
	// Alone says whether a root is one model's folder itself, and what that is called. Nil: none is.
	Alone    func(root string) (name string, is bool)
	Loader   Loader
	Parallel int // versions loaded at the same time
	Log      *slog.Logger
}

// Registry holds the models. It is safe for concurrent use; look-ups take no lock.
type Registry struct {
	opt     Options
	table   atomic.Pointer[table]
	unready atomic.Int64 // models that should be served and are not; and one more until the first load has begun
	changes atomic.Int64 // of what List shows
	listing atomic.Pointer[listing]
	asked   atomic.Int64  // models that LoadAll and LoadNamed were to load
	ended   atomic.Int64  // of them, those that are loaded or have failed
	slots   chan struct{} // one for each load under way
	readers chan struct{} // one for each folder that is being read
	retired sync.WaitGroup

	mu     sync.Mutex // guards models and what is in them, but for model.change and model.view
	models map[string]*model
	begun  bool // a load
	closed bool
}

// reading is how many folders are read at the same time: each takes a thread while the disk is waited for.
const reading = 8

type model struct {
	name     string
	dir      string
	change   sync.Mutex // one load or unload at a time; taken before Registry.mu
	wanted   bool       // it should be served
	reason   string     // why nothing could be loaded at all
	versions map[string]*version
	aliases  map[string]string
	files    snapshot // when the folder was read last
	view     atomic.Pointer[view]
}

type version struct {
	info    serval.ModelInfo
	loaded  Loaded // nil unless ready
	covered bool   // it failed, and one that served before serves on
	from    Source // what loaded came from
}

// New makes an empty registry.
func New(opt Options) *Registry {
	r := &Registry{opt: opt, models: map[string]*model{}, slots: make(chan struct{}, max(1, opt.Parallel)), readers: make(chan struct{}, reading)}
	r.table.Store(&table{})
	r.unready.Store(1)
	return r
}

// LoadAll loads every model below the roots, several at a time. A model that fails is kept with its reason; the errors are
// returned joined.
func (r *Registry) LoadAll(ctx context.Context) error {
	found, errs := r.list()
	return errors.Join(append(errs, r.loadEach(ctx, found))...)
}

// LoadNamed loads those models alone; the others are listed and can be loaded later. One that has no folder is an error, and
// the registry is not ready before it has one and was loaded.
func (r *Registry) LoadNamed(ctx context.Context, wanted []string) error {
	found, errs := r.list()
	chosen := map[string]string{}
	r.mu.Lock()
	for name, dir := range found {
		m := r.modelLocked(name)
		m.dir, m.reason = dir, "not loaded"
		r.show(m)
	}
	for _, name := range wanted {
		if dir, ok := found[name]; ok {
			chosen[name] = dir
			continue
		}
		err := r.noFolder(name, found)
		m := r.modelLocked(name)
		m.wanted, m.reason = true, err.Error()
		r.show(m)
		errs = append(errs, err)
	}
	r.retable()
	r.mu.Unlock()
	return errors.Join(append(errs, r.loadEach(ctx, chosen))...)
}

// loadEach loads the models of those folders, several at a time.
func (r *Registry) loadEach(ctx context.Context, folders map[string]string) error {
	r.mu.Lock()
	for name, dir := range folders { // known, and not ready, from now on
		m := r.modelLocked(name)
		m.dir, m.wanted, m.reason = dir, true, ""
		r.show(m)
	}
	r.retable()
	if !r.begun {
		r.begun = true
		r.unready.Add(-1)
	}
	r.mu.Unlock()
	r.asked.Add(int64(len(folders)))
	results := make(chan error)
	for name, dir := range folders {
		go func() {
			err := r.load(ctx, name, dir, nil, true)
			r.ended.Add(1)
			results <- err
		}()
	}
	var errs []error
	for range folders {
		if err := <-results; err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Progress says how many models LoadAll or LoadNamed is to load, and how many of them are loaded or have failed.
func (r *Registry) Progress() (done, of int) {
	done = int(r.ended.Load()) // first: it is never the larger
	return done, int(r.asked.Load())
}

func (r *Registry) noFolder(name string, found map[string]string) *serval.Error {
	there := "none"
	if len(found) > 0 {
		there = some(slices.Sorted(maps.Keys(found)), "")
	}
	return serval.Errorf(serval.NotFound, "model '%s' has no folder in %s; there are: %s", name, strings.Join(r.opt.Roots, ", "), there).At("model")
}

func (r *Registry) modelLocked(name string) *model {
	m := r.models[name]
	if m == nil {
		m = &model{name: name, versions: map[string]*version{}}
		m.view.Store(m.look()) // the table may be made anew before it is published
		r.models[name] = m
	}
	return m
}

// Load loads a model, or loads it anew, and returns when the new versions serve. What fails leaves the copy that served
// before in its place.
func (r *Registry) Load(ctx context.Context, name string, override *serval.ModelSettings) error {
	dir, err := r.locate(name)
	if err != nil {
		return err
	}
	return r.load(ctx, name, dir, override, true)
}

// load loads a model's versions; anew, also those that serve already and whose files and settings are as they were.
func (r *Registry) load(ctx context.Context, name, dir string, override *serval.ModelSettings, anew bool) error {
	r.mu.Lock()
	m := r.modelLocked(name)
	r.mu.Unlock()
	m.change.Lock()
	defer m.change.Unlock()
	r.readers <- struct{}{}
	files, _ := look(dir) // before they are read: what changes while they are is seen by the next look
	sources, settings, err := r.sources(name, dir, override)
	<-r.readers
	r.mu.Lock()
	m.files = files
	r.mu.Unlock()
	if err != nil {
		r.mu.Lock()
		m.dir, m.wanted = dir, true
		m.reason = err.Error()
		for _, v := range m.versions {
			if v.info.Reason = err.Error(); v.loaded != nil {
				v.info.Reason = "reload refused, the copy loaded before serves on: " + err.Error()
			}
		}
		r.publish(m)
		r.mu.Unlock()
		return serval.Errorf(serval.InvalidArgument, "model '%s': %v", name, err)
	}
	r.mu.Lock()
	m.dir, m.wanted, m.reason = dir, true, ""
	r.mu.Unlock()
	for i := range sources {
		sources[i].files = files.of(sources[i].Dir)
	}
	return r.change(ctx, m, sources, settings.Aliases, anew)
}

// sources reads a model's settings and picks its versions.
func (r *Registry) sources(name, dir string, override *serval.ModelSettings) ([]Source, serval.ModelSettings, error) {
	settings, err := r.opt.Read(name, dir, override)
	if err != nil {
		return nil, settings, err
	}
	if over, ok := r.opt.Settings[name]; ok {
		settings = r.opt.Merge(settings, over)
	}
	if override != nil {
		settings = r.opt.Merge(settings, *override)
	}
	versions, dirs, err := []int64{1}, map[int64]string{1: dir}, error(nil)
	if settings.Version == "" {
		versions, dirs, err = listVersions(dir)
	}
	if err != nil {
		return nil, settings, err
	}
	if len(settings.Declared) > 0 { // Triton serves those that are there
		settings.Versions.Specific = present(versions, settings.Versions.Specific)
	}
	chosen, err := choose(versions, settings.Versions)
	if err != nil {
		return nil, settings, err
	}
	for alias, v := range settings.Aliases {
		if n, err := strconv.ParseInt(v, 10, 64); err != nil || !slices.Contains(chosen, n) {
			return nil, settings, fmt.Errorf("aliases.%s points to version %q, which is not served; served are %v", alias, v, chosen)
		}
	}
	var out []Source
	for _, v := range chosen {
		abs, err := filepath.Abs(dirs[v])
		if err != nil {
			return nil, settings, err
		}
		src := Source{Name: name, Version: strconv.FormatInt(v, 10), Root: dir, Dir: abs, Settings: settings}
		if settings.Version != "" {
			src.Version = settings.Version
		} else if r.opt.Version != nil {
			if src.Settings, err = r.opt.Version(abs, settings); err != nil {
				return nil, settings, err
			}
		}
		out = append(out, src)
	}
	return out, settings, nil
}

// change loads the sources and puts them in the place of what serves now. m.change is held.
func (r *Registry) change(ctx context.Context, m *model, sources []Source, aliases map[string]string, anew bool) error {
	var errs []error
	keep := map[string]bool{}
	r.mu.Lock()
	serves := m.serves()
	for _, src := range sources { // all at once: the model is not ready before its last version is
		keep[src.Version] = true
		if m.versions[src.Version] == nil {
			m.versions[src.Version] = &version{info: serval.ModelInfo{Name: src.Name, Version: src.Version, State: serval.StateLoading, Path: src.Dir, Settings: src.Settings}, covered: serves}
		}
	}
	r.publish(m)
	r.mu.Unlock()
	for _, src := range sources {
		if !anew && r.unchanged(m, src) {
			continue
		}
		if err := r.loadVersion(ctx, m, src); err != nil {
			errs = append(errs, err)
		}
	}
	r.mu.Lock()
	old := m.settle(keep, errors.Join(errs...))
	if len(errs) == 0 || len(m.aliases) == 0 { // else they still name what serves on
		m.aliases = aliases
	}
	r.publish(m)
	r.mu.Unlock()
	for _, v := range old {
		r.retire(v)
	}
	return errors.Join(errs...)
}

// serves says whether a version is loaded. Registry.mu is held.
func (m *model) serves() bool {
	for _, v := range m.versions {
		if v.loaded != nil {
			return true
		}
	}
	return false
}

// settle takes the versions that are not wanted any more out of the model and returns them. If one that is wanted failed,
// those that served before serve on in its place, and the model stays as ready as it was. Registry.mu is held.
func (m *model) settle(wanted map[string]bool, failed error) (old []*version) {
	covered := false
	for number, v := range m.versions {
		switch {
		case wanted[number]:
		case failed != nil && v.loaded != nil:
			v.info.Reason = "serves on in the place of what failed to load: " + failed.Error()
			covered = true
		default:
			delete(m.versions, number)
			old = append(old, v)
		}
	}
	for number := range wanted {
		if v := m.versions[number]; v != nil && v.loaded == nil {
			v.covered = covered
		}
	}
	return old
}

// protect calls the Loader, a few at a time. A panic in it is an error of this version alone.
func (r *Registry) protect(ctx context.Context, src Source) (loaded Loaded, err error) {
	r.slots <- struct{}{}
	defer func() { <-r.slots }()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("loading it panicked: %v", p)
			r.opt.Log.Error("loading a model panicked", "model", src.Name, "version", src.Version, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return r.opt.Loader.Load(ctx, src)
}

// loadVersion loads one version and swaps it in.
func (r *Registry) loadVersion(ctx context.Context, m *model, src Source) error {
	start := time.Now()
	loaded, err := r.protect(ctx, src)
	r.mu.Lock()
	if err == nil && r.closed {
		err = serval.Errorf(serval.Unavailable, "the server is stopping")
		defer loaded.Close()
	}
	if err != nil {
		v := m.versions[src.Version]
		if v == nil { // Close forgot it meanwhile
			v = &version{}
		}
		if v.loaded != nil {
			v.info.Reason = "reload failed, the copy loaded before serves on: " + err.Error()
		} else {
			v.info.State, v.info.Reason = serval.StateUnavailable, err.Error()
		}
		r.publish(m)
		r.mu.Unlock()
		r.opt.Log.Error("model not loaded", "model", src.Name, "version", src.Version, "error", err)
		var known *serval.Error
		if errors.As(err, &known) {
			return serval.Errorf(known.Code, "model '%s' version %s: %v", src.Name, src.Version, err)
		}
		return serval.Errorf(serval.InvalidArgument, "model '%s' version %s: %v", src.Name, src.Version, err)
	}
	old := m.versions[src.Version]
	info := loaded.Info()
	info.State, info.Loaded, info.LoadTime = serval.StateReady, time.Now(), time.Since(start)
	m.versions[src.Version] = &version{info: info, loaded: loaded, from: src}
	r.publish(m)
	r.mu.Unlock()
	r.opt.Log.Info("model loaded", "model", src.Name, "version", src.Version, "engine", info.Engine, "took", info.LoadTime.Round(time.Millisecond).String(),
		"batching", info.Batching.On, "instances", info.Settings.Instances, "threads", info.Settings.Threads)
	if f, ok := loaded.(failing); ok {
		f.OnFail(func(err error) { r.failed(m, src.Version, loaded, err) })
	}
	r.retire(old)
	return nil
}

// retire closes a version that is no longer looked up, once the calls inside are done.
func (r *Registry) retire(v *version) {
	if v == nil || v.loaded == nil {
		return
	}
	r.retired.Add(1)
	go func() {
		defer r.retired.Done()
		if err := v.loaded.Close(); err != nil {
			r.opt.Log.Error("model not closed cleanly", "model", v.info.Name, "version", v.info.Version, "error", err)
		}
	}()
}

// Unload takes a model out of service, lets its calls finish and frees it. It stays listed as unavailable.
func (r *Registry) Unload(ctx context.Context, name string) error {
	r.mu.Lock()
	m := r.models[name]
	r.mu.Unlock()
	if m == nil {
		return serval.Errorf(serval.NotFound, "model '%s' is not known", name).At("model")
	}
	m.change.Lock()
	defer m.change.Unlock()
	r.mu.Lock()
	m.wanted, m.reason = false, "unloaded"
	var old []*version
	for number, v := range m.versions {
		if v.loaded != nil {
			old = append(old, v)
		}
		m.versions[number] = &version{info: unloaded(v.info)}
	}
	r.publish(m)
	r.mu.Unlock()
	closed := make(chan error, 1)
	r.retired.Add(1)
	go func() {
		defer r.retired.Done()
		var errs []error
		for _, v := range old {
			errs = append(errs, v.loaded.Close())
		}
		closed <- errors.Join(errs...)
	}()
	select {
	case err := <-closed:
		if err != nil {
			return fmt.Errorf("model '%s': unload: %w", name, err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func unloaded(info serval.ModelInfo) serval.ModelInfo {
	return serval.ModelInfo{Name: info.Name, Version: info.Version, Path: info.Path, State: serval.StateUnavailable, Reason: "unloaded"}
}

// Close unloads everything and waits until all is freed.
func (r *Registry) Close() {
	r.mu.Lock()
	r.closed = true
	var all []*version
	for _, m := range r.models {
		for _, v := range m.versions {
			all = append(all, v)
		}
		m.versions = map[string]*version{}
		m.wanted = false
		r.show(m)
	}
	r.mu.Unlock()
	for _, v := range all {
		r.retire(v)
	}
	r.retired.Wait()
}

// most is how many names a message lists.
const most = 20

// some lists names as far as a message has room; they are sorted.
func some(list []string, quote string) string {
	more := ""
	if n := len(list); n > most {
		list, more = list[:most], " and "+strconv.Itoa(n-most)+" more"
	}
	return quote + strings.Join(list, quote+", "+quote) + quote + more
}
