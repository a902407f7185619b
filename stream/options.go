package stream

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"serval"
)

// gatherMost is MaxInFlight where nothing else was said and a target gathers messages.
const gatherMost = 1 << 17

// Models is what a worker asks of the models.
type Models interface {
	Model(serval.Ref) (serval.ModelInfo, error)
}

// Options are a stream. Zero numbers mean their defaults.
type Options struct {
	Name     string
	Model    serval.Ref
	Tenant   string // for Requests; the Handler decides what it means
	Priority int8
	// Busy says whether calls come that this stream stands aside for; nil: it never does. See aside.go.
	Busy     func() bool
	From, To string // for people

	Handler serval.Handler // the chain, without keys: see gateway.As
	Models  Models
	Format  Format

	// Open opens the source and the target, or with exactly-once a Session that is both. Dead opens the place for dead letters;
	// nil: see OnError. They are called again, after a while, where they fail.
	Open func(context.Context, Owner) (Source, Target, error)
	Dead func(context.Context, Owner) (Target, error)
	// OnError says what becomes of a message that cannot be answered where there is no place for dead letters: "wait" (the
	// default: its lane waits, the stream says why, and it is tried again and again) or "drop".
	OnError string

	MaxMessage  int   // bytes of a message; larger ones are dead letters; 1 MiB
	MaxInFlight int   // messages; 8192, and 131072 where the target is Deferred
	MaxBytes    int64 // of them together, but one message is always taken; 64 MiB
	Calls       int   // of the model at the same time; 32
	Group       int   // most messages whose rows share a call, where the model puts rows of requests together; 256
	Retry       Retry
	Drain       time.Duration // how long a stop waits for what is under way; 20 s
	Transaction time.Duration // of exactly-once: how long one takes messages; 100 ms
	Once        bool          // the target keeps positions, so each result counts once without transactions of a broker
	Log         *slog.Logger
}

// Retry is how often and when something is done again.
type Retry struct {
	Attempts int           // calls for one message, where the fault may be the message's; 5
	Min, Max time.Duration // wait before the second attempt, doubled for each further one; 100 ms and 10 s
}

func (o Options) filled() Options {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	duration := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&o.MaxMessage, 1<<20)
	set(&o.MaxInFlight, 8192)
	set(&o.Calls, max(32, 2*runtime.NumCPU()))
	set(&o.Group, 256)
	set(&o.Retry.Attempts, 5)
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 20
	}
	duration(&o.Retry.Min, 100*time.Millisecond)
	duration(&o.Retry.Max, 10*time.Second)
	o.Retry.Max = max(o.Retry.Max, o.Retry.Min)
	duration(&o.Drain, 20*time.Second)
	duration(&o.Transaction, 100*time.Millisecond)
	if o.OnError == "" {
		o.OnError = "wait"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}
