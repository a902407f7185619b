package stream

import (
	"context"

	"serval"
)

// Shared is a Source whose Lag is that of its own part only, as several workers share the messages by lanes.
type Shared interface {
	// Backlog asks the broker how many messages are not acked yet, of all workers' parts together.
	Backlog(ctx context.Context) (int64, error)
}

// Backlog is how much there is to do for all workers of the stream together, on this server and on others: messages that are
// not answered yet. It may ask the broker. Unavailable: that is not known now.
func (w *Worker) Backlog(ctx context.Context) (int64, error) {
	w.mu.Lock()
	r, state, reason := w.now, w.state, w.reason
	w.mu.Unlock()
	if r == nil {
		return 0, serval.Errorf(serval.Unavailable, "stream '%s' does not reach its broker; it is %s %s", w.opt.Name, state, reason)
	}
	if s, ok := r.src.(Shared); ok {
		n, err := s.Backlog(ctx)
		if err != nil {
			return 0, serval.Errorf(serval.Unavailable, "stream '%s': its broker does not say how much there is to do: %w", w.opt.Name, err)
		}
		return n, nil
	}
	s := w.Status()
	if s.Lag < 0 {
		return 0, serval.Errorf(serval.Unavailable, "stream '%s': it is not known how much there is to do", w.opt.Name)
	}
	return s.Lag + int64(s.InFlight), nil
}
