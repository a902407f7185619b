package server

import (
	"context"

	"serval"
)

// Backlog is how much a stream has to do, for all servers that share it; see stream.Worker.
func (s *Streams) Backlog(ctx context.Context, name string) (int64, error) {
	e, err := s.find(name)
	if err != nil {
		return 0, err
	}
	if e.worker == nil {
		return 0, serval.Errorf(serval.Unavailable, "stream '%s' cannot run: %s", name, e.failed)
	}
	return e.worker.Backlog(ctx)
}
