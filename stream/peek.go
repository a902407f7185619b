package stream

import (
	"context"
	"time"
)

// Peeker is a Broker that shows what stands at a place without anybody noticing: no group is joined, nothing is acked, moved or
// kept from others. Looking at places and replaying them needs it.
type Peeker interface {
	Broker
	// Peek opens a look at the place that options, of a source or of a target, name. Env.Owner is nil.
	Peek(ctx context.Context, options any, v View, env Env) (Peek, error)
}

// Peek is an open look. Its methods are called by one goroutine.
type Peek interface {
	// Read waits for messages and returns at most max of them, those of a lane in order; it returns with ctx's error when that
	// ends first. io.EOF: all that was in the view at its opening was read; of a view that follows, the next Read waits for what
	// came later. After another error it may be called again.
	Read(ctx context.Context, max int) ([]Message, error)
	// Size is how many messages the view had at its opening, or a few more; -1: not known.
	Size() int64
	Close() error
}

// View is a stretch of a place's messages: those within all bounds that are given. A zero bound is none.
type View struct {
	Last int // of each lane no more than its newest so many
	// Since and Until are times as the broker keeps them for its messages: from Since on, and before Until.
	Since, Until time.Time
	// From names the lanes that are looked at, each with the first message; empty: all lanes. To names, for some of them, the
	// message before which it ends. Position.ID is where the broker has no offsets.
	From, To []Position
	Follow   bool // what comes later too
}

// Returner is a Broker that puts messages back where a source reads them.
type Returner interface {
	Broker
	// Return opens a target to the places that a source's options name. Position.Topic of a message says to which of them it
	// goes, and the rest of its Position with which others it stood in order there; one of another topic is refused for good.
	// Env.Owner is nil.
	Return(ctx context.Context, source any, env Env) (Target, error)
}
