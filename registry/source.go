package registry

import (
	"strings"

	"serval"
)

// Newest finds what the highest version that would be served of a model is loaded from, without loading it.
func (r *Registry) Newest(name string) (Source, error) {
	found, _ := listModels(r.opt.Roots)
	dir, ok := found[name]
	if !ok {
		return Source{}, serval.Errorf(serval.NotFound, "model '%s' has no folder in %s; there are: %s", name, strings.Join(r.opt.Roots, ", "), names(found)).At("model")
	}
	sources, _, err := r.sources(name, dir, nil)
	if err != nil {
		return Source{}, err
	}
	return sources[len(sources)-1], nil
}
