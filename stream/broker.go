package stream

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Source gives messages. The worker calls Read from one goroutine and Ack from another one; Close comes last, when neither
// runs. What was given and not acked when it closes, or when the process dies, is given again, to this worker or another one.
// A source whose broker forgets who has a message after a while keeps telling it that it is still worked on, until Ack.
type Source interface {
	// Read waits for messages and returns those that there are, at most max of them. It returns with ctx's error when that ends
	// first, without losing any. The worker bounds what it holds by not calling Read; a source must bear that for hours without
	// losing its place. An error is shown and Read is called again after a while, but ErrBroken has the source opened anew.
	Read(ctx context.Context, max int) ([]Message, error)
	// Ack says that these messages are done with. Those of one lane come in order, with none left out. It may return before
	// the broker knows; Close and the end of Owner.Revoke see to that.
	Ack(ctx context.Context, done []*Message) error
	// Lag is how many messages wait at the broker behind those that were read; -1: not known. For any goroutine.
	Lag() int64
	Close() error
}

// Owner is what a Source tells of lanes that it loses, and of its broker. All of it is for any goroutine.
type Owner interface {
	// Revoke returns when nothing of these lanes is under way any more: what was computed has been written and acked, the rest
	// dropped. Where ctx ends first, all of it is dropped.
	Revoke(ctx context.Context, lanes []*Lane)
	// Lost drops all that is under way of these lanes: somebody else may have them already.
	Lost(lanes []*Lane)
	// Trouble says why nothing moves, for people; "" that it does again.
	Trouble(reason string)
}

// Target takes messages. Calls to Write do not overlap.
type Target interface {
	// Write returns nil when every message is where it can no longer be lost, in the given order for equal keys, or messages
	// without a key of one lane. A *WriteError says which ones failed, the others being written. After any other error it is
	// not known what was written. See Permanent for what is not tried again.
	Write(ctx context.Context, messages []*Message) error
	Close() error
}

// Deferred is a Target that would rather gather messages for a while before it puts them where they cannot be lost: as one file.
// The worker uses Take and Flush instead of Write, from the same goroutine, and acks after Flush.
type Deferred interface {
	Target
	// Take is Write, but what it returns nil for may wait in the target until Flush, and is lost with the process.
	Take(ctx context.Context, messages []*Message) error
	// Flush returns nil when all that was taken is where it can no longer be lost. After an error it is called again.
	Flush(ctx context.Context) error
	// Due is when Flush is to be called: zero while nothing waits, a time that has passed when enough does. The worker calls
	// sooner where it holds as much as it may, gives lanes away, pauses or stops.
	Due() time.Time
}

// Session is a Source and a Target whose messages and results count together or not at all: delivery exactly-once. Read
// and Write may overlap; nothing else runs beside Begin, Commit and Abort.
type Session interface {
	Source
	Target
	// Begin opens a transaction. What is read and written until its end belongs to it; there is no Ack.
	Begin(ctx context.Context) error
	// Commit makes what was written visible and what was read done with. False: it could not, nothing was written, and what
	// was read since Begin is given again, to this worker or another one.
	Commit(ctx context.Context) (bool, error)
	// Abort undoes what was written since Begin; what was read is given again.
	Abort(ctx context.Context) error
}

// Lettered is a Session that writes dead letters in its transactions too, so that each is there once.
type Lettered interface {
	// Letters is the place for them; nil: the session was opened without one.
	Letters() Target
}

// ErrBroken in an error says that the source or session is of no more use and must be opened anew.
var ErrBroken = errors.New("stream: the connection to the broker is of no more use")

// ErrBehind is, in a WriteError, why a message was not written that nothing is wrong with: one before it in its lane failed for
// good, and the target wants to be asked again once that one is settled.
var ErrBehind = errors.New("a message before it in its lane was not written")

// WriteError says of each message that was not written why. Its key is the index in what Write was given.
type WriteError struct{ Failed map[int]error }

func (e *WriteError) Error() string {
	for i, err := range e.Failed {
		if len(e.Failed) == 1 {
			return fmt.Sprintf("message %d could not be written: %v", i, err)
		}
		return fmt.Sprintf("%d messages could not be written, one of them because: %v", len(e.Failed), err)
	}
	return "no message failed"
}

// Permanent marks an error that comes again whenever the same message is written: it is too large, or not what the target
// takes. Everything else is tried again until it works.
func Permanent(err error) error { return &permanent{err} }

type permanent struct{ error }

func (p *permanent) Unwrap() error { return p.error }

// IsPermanent says whether err was marked.
func IsPermanent(err error) bool {
	var p *permanent
	return errors.As(err, &p)
}

// Broker is a plug-in: what it can open, from its own typed options (see each package's SourceOptions and TargetOptions). One that
// is an io.Closer too is closed after the last stream has stopped.
type Broker interface {
	// Name is the word in the configuration: "kafka".
	Name() string
	// SourceOptions and TargetOptions point to structs with the defaults filled in; configuration is read into copies. nil: the
	// broker is no source, or no target, and is never asked for one.
	SourceOptions() any
	TargetOptions() any
	// Check says what is wrong with such a struct, as an InvalidArgument, without reaching the broker.
	Check(options any) error
	// Source and Target get such structs back. Their errors are tried again.
	Source(ctx context.Context, options any, env Env) (Source, error)
	Target(ctx context.Context, options any, env Env) (Target, error)
	// Say is what people call the place that options name: "kafka topic 'applicants'".
	Say(options any) string
}

// Transactional is a Broker that has Sessions.
type Transactional interface {
	Broker
	// Session opens both ends of an exactly-once stream. dead is the options of the place for dead letters, where that is this broker
	// too; else nil. See Lettered.
	Session(ctx context.Context, source, target, dead any, env Env) (Session, error)
}

// Keeper is a Broker whose targets, where Env.Once is set, note in one transaction with the results which messages these answer,
// and leave out what was written before: of a lane, everything up to the last one written. So they write nothing behind a message
// that fails, but fail it too (see ErrBehind). With such a target delivery exactly-once needs no Session; the source may be of any
// broker that gives a message the same Position whenever it gives it.
type Keeper interface {
	Broker
	Keeps() bool
}

// Settler is a Broker whose streams share what each of them may set. What Check was asked leaves no trace; what streams that are made say
// is settled, before the first of them is opened. An InvalidArgument says where it differs from what others said.
type Settler interface {
	Broker
	Settle(options any) error
}

// Env is what a broker may know of the worker that opens it.
type Env struct {
	Stream   string // its name
	Instance string // of the server, the same after a restart and different from every other server's
	Dir      string // of the server's data folder, for brokers that keep something there; shared by all of its streams
	Once     bool   // for targets: delivery is exactly-once and no Session sees to it; see Keeper
	Again    bool   // for targets: it answers on purpose what was answered before, so nothing is left out as known
	Owner    Owner
	Warn     func(text string, args ...any) // as slog's
}
