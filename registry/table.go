package registry

import (
	"slices"
	"strconv"
	"strings"

	"serval"
)

// table is what look-ups see: never changed, replaced whole.
type table struct {
	models map[string]*entry
	list   []serval.ModelInfo // every version, by name and version
	ready  bool
}

type entry struct {
	def      *served // the highest version that is ready
	versions map[string]*served
	aliases  map[string]*served
	reason   string // why def is nil
}

type served struct {
	loaded  Loaded
	version string
	info    serval.ModelInfo
}

// publish makes the table anew. r.mu is held.
func (r *Registry) publish() {
	t := &table{models: make(map[string]*entry, len(r.models)), ready: true}
	for name, m := range r.models {
		e := &entry{versions: map[string]*served{}, aliases: map[string]*served{}, reason: m.reason}
		t.models[name] = e
		var ready []string
		for number, v := range m.versions {
			if v.loaded != nil {
				ready = append(ready, number)
			}
		}
		slices.SortFunc(ready, byNumber)
		for number, v := range m.versions {
			info := v.info
			info.Versions = ready
			if v.loaded != nil {
				e.versions[number] = &served{loaded: v.loaded, version: number, info: info}
			} else if m.wanted {
				t.ready = t.ready && v.covered
				e.reason = string(info.State)
				if info.Reason != "" {
					e.reason = info.Reason
				}
			}
			t.list = append(t.list, info)
		}
		if len(m.versions) == 0 {
			state := serval.StateUnavailable
			if m.wanted && m.reason == "" {
				state, e.reason = serval.StateLoading, "it is still loading"
			}
			t.list = append(t.list, serval.ModelInfo{Name: name, State: state, Reason: m.reason, Path: m.dir})
			t.ready = t.ready && !m.wanted
		}
		if len(ready) > 0 {
			e.def = e.versions[ready[len(ready)-1]]
		}
		for alias, number := range m.aliases {
			if s := e.versions[number]; s != nil {
				e.aliases[alias] = s
			}
		}
	}
	slices.SortFunc(t.list, func(a, b serval.ModelInfo) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return byNumber(a.Version, b.Version)
	})
	r.table.Store(t)
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
	e := t.models[ref.Name]
	if e == nil {
		return nil, serval.Errorf(serval.NotFound, "model '%s' is not found; the server has %s", ref.Name, t.names()).At("model")
	}
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
	for i := range t.list {
		if v := &t.list[i]; v.Name == ref.Name && v.Version == ref.Version && ref.Version != "" {
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

func (t *table) names() string {
	var list []string
	for name := range t.models {
		list = append(list, "'"+name+"'")
	}
	slices.Sort(list)
	switch {
	case len(list) == 0:
		return "no models"
	case len(list) > 20:
		return strings.Join(list[:20], ", ") + " and " + strconv.Itoa(len(list)-20) + " more"
	}
	return strings.Join(list, ", ")
}

// Model describes a version; without one named, the default version.
func (r *Registry) Model(ref serval.Ref) (serval.ModelInfo, error) {
	s, err := r.find(ref)
	if err != nil {
		return serval.ModelInfo{}, err
	}
	return s.info, nil
}

// List describes every version of every model, also those that failed, by name and version.
func (r *Registry) List() []serval.ModelInfo { return r.table.Load().list }

// Stats of a version.
func (r *Registry) Stats(ref serval.Ref) (serval.Stats, error) {
	s, err := r.find(ref)
	if err != nil {
		return serval.Stats{}, err
	}
	return s.loaded.Stats(), nil
}

// Ready says whether every model that should be served is.
func (r *Registry) Ready() bool { return r.table.Load().ready }
