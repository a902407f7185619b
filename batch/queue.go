package batch

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// State is where a job of the queue is.
type State string

// The states. The last four are ends.
const (
	Queued     State = "queued"
	Running    State = "running" // a worker has begun; after a kill, one will go on
	Paused     State = "paused"
	Cancelling State = "cancelling" // or expiring: workers are still at it
	Succeeded  State = "succeeded"
	Failed     State = "failed"
	Cancelled  State = "cancelled"
	Expired    State = "expired"
)

// Ended says whether nothing will happen to the job any more.
func (s State) Ended() bool { return s == Succeeded || s == Failed || s == Cancelled || s == Expired }

// States are all there are.
func States() []State {
	return []State{Queued, Running, Paused, Cancelling, Succeeded, Failed, Cancelled, Expired}
}

// Record is a job as the queue keeps it. Times have microseconds.
type Record struct {
	ID       string
	Tenant   string // whose it is, and as whom it asks the models
	Kind     string // which Runner does it: "data"
	Name     string // for people; may be empty
	Priority int    // among jobs: 1 is the most urgent
	// Key makes Submit idempotent: a tenant's second job of the same Key is the first one, also after that was deleted.
	Key  string
	Spec json.RawMessage // what the Runner is told: of kind data, a Job
	// Expires is when a job that has not ended is given up; zero: never.
	Expires time.Time
	Keep    time.Duration // how long it is kept after its end, results and all; 0: until it is deleted

	State   State
	Reason  string // why it failed, expired or waits
	Created time.Time
	Started time.Time       // zero: not yet
	Ended   time.Time       // zero: not yet
	Remove  time.Time       // when it goes, by Keep; zero: it stays
	Result  json.RawMessage // what the Runner's last piece said; nil: nothing yet
	Tally   Tally
}

// Tally is a job's progress, summed over its pieces.
type Tally struct {
	Rows     int64   // read, answered and written
	Bad      int64   // of them
	Done     float64 // part of the whole, 0 to 1; -1: not known
	Rate     float64 // rows a second, of the workers that are at it
	Pieces   int     // of the work itself
	Finished int     // of them
	Attempts int     // how often workers took one, all together
}

// Left is how long the rest takes at the present rate; -1: not known.
func (t *Tally) Left() time.Duration {
	if t.Done <= 0 || t.Rate <= 0 || t.Rows <= 0 {
		return -1
	}
	return time.Duration(float64(t.Rows) * (1 - t.Done) / t.Done / t.Rate * float64(time.Second))
}

// Stage orders a job's pieces: one begins when all of the stage before it have ended.
type Stage int

// The stages. A job begins with one Plan and ends with one Close, each of which runs once.
const (
	Plan  Stage = iota // finds out what is to be done: it makes the pieces of Work
	Work               // one of the parts that workers share
	Close              // puts the parts together and publishes them
)

// Piece is a part of a job that one worker does at a time.
type Piece struct {
	Number   int
	Stage    Stage
	Spec     json.RawMessage // what its Runner needs to know
	Weight   float64         // its part of the whole job, in any unit; 0: not known
	Attempts int             // how often it was taken, this time among them
	Output   json.RawMessage // what its Outcome said; nil: it has not ended
}

// Measure is how far a piece is.
type Measure struct {
	Rows, Bad int64
	Done      float64 // 0 to 1; -1: not known
	Rate      float64 // rows a second
}

// Lease is a worker's right to a piece. Whoever takes the piece later has a higher Fence, and from then on everything that is
// asked with the lower one is refused with ErrLost: what the earlier worker still does has no effect.
type Lease struct {
	Job    Record
	Piece  Piece
	Worker string
	Fence  int64
	For    time.Duration // Renew prolongs it by that much
}

// Order is what a worker is told at its renewals.
type Order string

// The orders. All but GoOn mean: keep what is done, and give the piece back.
const (
	GoOn   Order = ""
	Pause  Order = "pause"
	Cancel Order = "cancel"
	Expire Order = "expire"
)

// Outcome is how a worker leaves a piece.
type Outcome struct {
	// Err is why the piece, and so the job, failed; nil with Again false: it is done.
	Err string
	// Again gives the piece back: it is to go on, not before After has passed. Err says why, if it was no order; so often in a
	// row without a row more (Patience of the queue), and the job has failed.
	Again   bool
	After   time.Duration
	Measure Measure
	Output  json.RawMessage // of a piece that is done; of Close: the job's Result
	Next    []Piece         // of Plan: the pieces of Work
}

// Filter chooses jobs. The zero value is all of them.
type Filter struct {
	Tenant string
	States []State
	Before string // only those that were made before this one
	Limit  int    // 0: 100
	// Removable are those whose Remove has passed; the others are ignored with it.
	Removable bool
}

// Line is a line of a job's log.
type Line struct {
	Seq    int64
	Time   time.Time
	Worker string
	Text   string
}

// Jobs is the queue as those see it who submit jobs and look after them; a store implements it. What it acknowledged survives a
// kill. A job that is not there, or another tenant's, is a NotFound; tenant "" may see all. Safe for concurrent use.
type Jobs interface {
	// Submit adds a job, as Queued, and fills in what the queue adds. With a Key that the tenant has used, it fills in that job
	// instead and reports false; another Spec under that Key is a Conflict.
	Submit(context.Context, *Record) (added bool, err error)
	// Job returns one.
	Job(ctx context.Context, tenant, id string) (*Record, error)
	// Jobs lists them, the newest first.
	Jobs(context.Context, Filter) ([]*Record, error)
	// Change pauses a job, lets it go on (with GoOn) or cancels it, and returns it. What is not possible in its state is a
	// Conflict; what is so already, is not.
	Change(ctx context.Context, tenant, id string, o Order) (*Record, error)
	// Delete removes one that has ended; one that has not is a Conflict.
	Delete(ctx context.Context, tenant, id string) error
	// Lines are those of its log that came after one, at most 1000, the oldest first.
	Lines(ctx context.Context, tenant, id string, after int64) ([]Line, error)
}

// Leases is the queue as workers see it; a store implements it. Any number of processes may work on one. Safe for concurrent use.
type Leases interface {
	// Claim takes the next piece that may run, the most urgent and oldest job's first, for so long; nil: there is none. A piece
	// whose lease ran out may be taken, too.
	Claim(ctx context.Context, worker string, kinds []string, lease time.Duration) (*Lease, error)
	// Renew prolongs a lease, notes the progress and says what is asked of the worker.
	Renew(context.Context, *Lease, Measure) (Order, error)
	// Finish ends a lease.
	Finish(context.Context, *Lease, Outcome) error
	// Pieces are a job's pieces of one stage, in order: Close puts together what Work has made.
	Pieces(ctx context.Context, job string, s Stage) ([]Piece, error)
	// Log adds a line to the job's log, which keeps the last few thousand.
	Log(ctx context.Context, l *Lease, line string) error
}

// Patience is how often in a row a piece may be given back with an error, or be lost with its worker, without a row more.
const Patience = 20

// ErrLost says that somebody else has the piece now, or that its job is gone: what the worker does for it has no effect.
var ErrLost = errors.New("the lease is lost: another worker has the piece, or the job is gone")
