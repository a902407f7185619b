package protocol

import (
	"context"
	"time"

	"serval"
)

// BatchStatus is where a Batch is, by the words of OpenAI's API.
type BatchStatus string

// The statuses. The last four are ends.
const (
	Validating BatchStatus = "validating"
	InProgress BatchStatus = "in_progress"
	Finalizing BatchStatus = "finalizing"
	Cancelling BatchStatus = "cancelling"
	Completed  BatchStatus = "completed"
	Failed     BatchStatus = "failed"
	Expired    BatchStatus = "expired"
	Cancelled  BatchStatus = "cancelled"
)

// Ended says whether nothing will happen to the batch any more.
func (s BatchStatus) Ended() bool {
	return s == Completed || s == Failed || s == Expired || s == Cancelled
}

// Batch is a file of requests that the server answers in its own time, each as it would be online.
type Batch struct {
	ID       string
	Tenant   string
	Endpoint string // the path that its requests go to
	Input    string // id of the file with the requests, a line of JSON each
	Window   string // how long it may take, as the client said it
	Metadata map[string]string
	// OutputKeep is how long its output files are kept; 0: as the server is configured.
	OutputKeep time.Duration
	// Hook is the name of a webhook that is told of the end beside those that are told of every batch; "": none.
	Hook string
	// Group says that the client gave the requests in one call, and reads the answers by another one.
	Group bool

	Status BatchStatus
	// Times of OpenAI's fields of these names; zero: not yet, or never.
	Created, Expires, InProgressAt, FinalizingAt, CompletedAt, FailedAt, ExpiredAt, CancellingAt, CancelledAt time.Time
	Output                                                                                                    string // id of the file with the answers; "": there is none
	ErrorFile                                                                                                 string // id of the file with the requests that failed; "": there is none
	Errors                                                                                                    []BatchError
	// Total is how many requests there are, Completed how many were answered, Failed how many could not be.
	Total, Completed, Failed int64
	Model                    string // of its requests, where all have the same
	Usage                    serval.Usage
	// Revision counts the changes of what is stored.
	Revision int64
}

// BatchError is what is wrong with a batch as a whole.
type BatchError struct {
	Code    string
	Message string
	Param   string // "": none
	Line    int64  // of the input file, from 1; 0: none
}

// BatchFilter chooses batches of a tenant, the newest first: those that were made before one of them.
type BatchFilter struct {
	Tenant string
	After  string // an id; "": from the first one on
	Limit  int
}

// Batches has requests answered in the server's own time. What it acknowledged survives a kill; a batch that is not there, or
// another tenant's, is a NotFound. Safe for concurrent use.
type Batches interface {
	// SubmitBatch begins one, of which Tenant, Endpoint, Input, Window, Metadata, OutputKeep, Hook and Group are given, and fills in
	// the rest. With a key that the tenant has used it fills in that batch instead.
	SubmitBatch(ctx context.Context, b *Batch, key string) error
	// Batch returns one.
	Batch(ctx context.Context, tenant, id string) (*Batch, error)
	// Batches lists them.
	Batches(context.Context, BatchFilter) ([]*Batch, error)
	// CancelBatch ends one early; what was answered until then stays. One that has ended is a Conflict.
	CancelBatch(ctx context.Context, tenant, id string) (*Batch, error)
	// Group is what is known of a batch that was a group of requests, as the JSON that its client is told.
	Group(ctx context.Context, tenant, id string) ([]byte, error)
}

// Event is something that webhooks are told of.
type Event struct {
	ID       string
	Hook     string // name of the webhook
	Tenant   string
	Type     string // batch.completed, …
	Subject  string // id of what it is about
	Created  time.Time
	Attempts int // that were made, this one among them
}
