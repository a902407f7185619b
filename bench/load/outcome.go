package load

import "context"

// outcome is how one call ended.
type outcome struct {
	failure  string // "" for a success, else what Result.ErrorsBy counts it under: "HTTP 503", "gRPC Unavailable", "timeout"
	detail   string // of a failure, for a person
	sent     int    // bytes
	received int    // bytes
	// reconnects counts the connections that the server closed between requests; the request went out again on a new one.
	reconnects int
	pause      bool // the server was not reached: a closed loop waits a little, lest it spins
}

// caller is one of the clients of a run; its calls never overlap.
type caller interface {
	call(ctx context.Context) outcome
	// abort ends a call in flight; it alone may run at the same time as call.
	abort()
	close()
}
