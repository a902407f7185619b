package registry

// Newest finds what the highest version that would be served of a model is loaded from, without loading it.
func (r *Registry) Newest(name string) (Source, error) {
	found, _ := r.list()
	dir, ok := found[name]
	if !ok {
		return Source{}, r.noFolder(name, found)
	}
	sources, _, err := r.sources(name, dir, nil)
	if err != nil {
		return Source{}, err
	}
	return sources[len(sources)-1], nil
}
