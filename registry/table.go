package registry

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"serval"
	"serval/internal/spell"
)

// table is which models there are: never changed, replaced whole when one comes or goes.
type table struct {
	models map[string]*model
	names  []string // sorted
}

// view is what look-ups see of one model: never changed, replaced whole.
type view struct {
	def      *served // the highest version that is ready
	versions map[string]*served
	aliases  map[string]*served
	reason   string             // why def is nil
	list     []serval.ModelInfo // every version, by number
	missing  bool               // it should be served and is not
}

type served struct {
	loaded  Loaded
	version string
	info    serval.ModelInfo
}

// listing is every model's list, as it was after so many changes.
type listing struct {
	changes int64
	list    []serval.ModelInfo
}

// publish lets look-ups see what a model is now. r.mu is held. It costs the same however many other models there are, but for
// one that is new.
func (r *Registry) publish(m *model) {
	r.show(m)
	if r.models[m.name] == m && r.table.Load().models[m.name] != m {
		r.retable()
	}
}

// show makes a model's view anew, unless it was dropped. r.mu is held.
func (r *Registry) show(m *model) {
	if r.models[m.name] != m {
		return
	}
	v := m.look()
	was := m.view.Load()
	before := was != nil && was.missing
	if v.missing && !before {
		r.unready.Add(1)
	}
	m.view.Store(v)
	if before && !v.missing { // nobody is told that all are ready before this one is found
		r.unready.Add(-1)
	}
	r.changes.Add(1)
}

// retable makes the table anew. r.mu is held.
func (r *Registry) retable() {
	t := &table{models: maps.Clone(r.models), names: slices.Sorted(maps.Keys(r.models))}
	r.table.Store(t)
	r.changes.Add(1)
}

// drop takes a model off the list. r.mu is held.
func (r *Registry) drop(name string) {
	m := r.models[name]
	if m == nil {
		return
	}
	delete(r.models, name)
	r.retable()
	if v := m.view.Load(); v != nil && v.missing {
		r.unready.Add(-1)
	}
}

// look makes the view of a model. Registry.mu is held.
func (m *model) look() *view {
	e := &view{versions: make(map[string]*served, len(m.versions)), reason: m.reason}
	var ready []string
	for number, v := range m.versions {
		if v.loaded != nil {
			ready = append(ready, number)
		}
	}
	slices.SortFunc(ready, byNumber)
	for _, number := range slices.SortedFunc(maps.Keys(m.versions), byNumber) {
		v := m.versions[number]
		info := v.info
		info.Versions = ready
		if v.loaded != nil {
			e.versions[number] = &served{loaded: v.loaded, version: number, info: info}
		} else if m.wanted {
			e.missing = e.missing || !v.covered
			e.reason = string(info.State)
			if info.Reason != "" {
				e.reason = info.Reason
			}
		}
		e.list = append(e.list, info)
	}
	if len(m.versions) == 0 {
		state := serval.StateUnavailable
		if m.wanted && m.reason == "" {
			state, e.reason = serval.StateLoading, "it is still loading"
		}
		e.list = []serval.ModelInfo{{Name: m.name, State: state, Reason: m.reason, Path: m.dir}}
		e.missing = m.wanted
	}
	if len(ready) > 0 {
		e.def = e.versions[ready[len(ready)-1]]
	}
	for alias, number := range m.aliases {
		if s := e.versions[number]; s != nil {
			if e.aliases == nil {
				e.aliases = map[string]*served{}
			}
			e.aliases[alias] = s
		}
	}
	return e
}

func byNumber(a, b string) int {
	x, _ := strconv.ParseInt(a, 10, 64)
	y, _ := strconv.ParseInt(b, 10, 64)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// Find returns the handler of the version that ref names; see route.Models.
func (r *Registry) Find(ref serval.Ref) (serval.Handler, string, error) {
	s, err := r.find(ref)
	if err != nil {
		return nil, "", err
	}
	return s.loaded, s.version, nil
}

func (r *Registry) find(ref serval.Ref) (*served, error) {
	t := r.table.Load()
	m := t.models[ref.Name]
	if m == nil {
		there, near := "no models", ""
		if len(t.names) > 0 {
			there = some(t.names, "'")
		}
		if word := spell.Nearest(ref.Name, t.names); word != "" {
			near = " did you mean '" + word + "'?"
		}
		return nil, serval.Errorf(serval.NotFound, "model '%s' is not found;%s the server has %s", ref.Name, near, there).At("model")
	}
	e := m.view.Load()
	s := e.def
	switch {
	case ref.Version != "":
		s = e.versions[ref.Version]
	case ref.Alias != "":
		s = e.aliases[ref.Alias]
	}
	if s != nil {
		return s, nil
	}
	if e.def == nil {
		return nil, serval.Errorf(serval.Unavailable, "model '%s' is not ready: %s", ref.Name, e.reason).At("model")
	}
	for i := range e.list {
		if v := &e.list[i]; v.Version == ref.Version && ref.Version != "" {
			return nil, serval.Errorf(serval.Unavailable, "model '%s' is not ready: %s; ready are the versions %s", ref.String(), stateOf(v), strings.Join(e.def.info.Versions, ", ")).At("model")
		}
	}
	return nil, serval.Errorf(serval.NotFound, "model '%s' is not found: it has no %s; ready are the versions %s", ref.String(), what(ref), strings.Join(e.def.info.Versions, ", ")).At("model")
}

// stateOf says why a version is not ready.
func stateOf(v *serval.ModelInfo) string {
	if v.Reason != "" {
		return v.Reason
	}
	return string(v.State)
}

func what(ref serval.Ref) string {
	if ref.Alias != "" {
		return "alias '" + ref.Alias + "'"
	}
	return "version '" + ref.Version + "'"
}

// Model describes a version; without one named, the default version.
func (r *Registry) Model(ref serval.Ref) (serval.ModelInfo, error) {
	s, err := r.find(ref)
	if err != nil {
		return serval.ModelInfo{}, err
	}
	return s.info, nil
}

// List describes every version of every model, also those that failed, by name and version. Callers must not change it.
func (r *Registry) List() []serval.ModelInfo {
	changes := r.changes.Load() // before the views are read: what changes meanwhile makes the next list anew
	if l := r.listing.Load(); l != nil && l.changes == changes {
		return l.list
	}
	t := r.table.Load()
	list := make([]serval.ModelInfo, 0, len(t.names))
	for _, name := range t.names {
		list = append(list, t.models[name].view.Load().list...)
	}
	r.listing.Store(&listing{changes, list})
	return list
}

// Stats of a version.
func (r *Registry) Stats(ref serval.Ref) (serval.Stats, error) {
	s, err := r.find(ref)
	if err != nil {
		return serval.Stats{}, err
	}
	return s.loaded.Stats(), nil
}

// Ready says whether every model that should be served is.
func (r *Registry) Ready() bool { return r.unready.Load() == 0 }
