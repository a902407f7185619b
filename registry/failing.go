package registry

import "serval"

// failing is a Loaded that may end by itself, as one in another process does when that keeps dying.
type failing interface {
	// OnFail has f called, once, when no more calls will be answered; f does not wait for the version's end.
	OnFail(f func(error))
}

// failed takes a version that ended by itself out of service; it is listed with its reason until it is loaded again.
func (r *Registry) failed(m *model, number string, loaded Loaded, err error) {
	r.mu.Lock()
	v := m.versions[number]
	if v == nil || v.loaded != loaded {
		r.mu.Unlock()
		return // another has its place by now
	}
	info := v.info
	info.State, info.Reason = serval.StateUnavailable, err.Error()
	m.versions[number] = &version{info: info}
	r.publish(m)
	r.mu.Unlock()
	r.retire(v)
}
