package requests

import (
	"context"
	"time"

	"serval/batch"
	"serval/protocol"
)

// FileRows is what is known of files; a store implements it. Tenant "" may see all; what is not there is a NotFound.
type FileRows interface {
	// PutFile adds one and fills in Created. An error that is ErrUnknown leaves open whether it did.
	PutFile(context.Context, *protocol.File) error
	// File, and Files, give those that have not expired.
	File(ctx context.Context, tenant, id string) (*protocol.File, error)
	Files(context.Context, protocol.FileFilter) ([]*protocol.File, error)
	RemoveFile(ctx context.Context, tenant, id string) error
	// ExpiredFiles are some whose time has passed.
	ExpiredFiles(context.Context) ([]*protocol.File, error)
	// FileBytes is how large a tenant's files are together.
	FileBytes(ctx context.Context, tenant string) (int64, error)
}

// Rows is what is known of batches; a store implements it. Tenant "" may see all; what is not there is a NotFound.
type Rows interface {
	// AddBatch adds a batch and its job of the same id, or neither. With a job's Key that the tenant has used it reports false, and
	// r.ID is that of the batch before. most bounds the tenant's batches that have not ended: one more is a ResourceExhausted. 0: no
	// limit. An error that is ErrUnknown leaves open whether it was added.
	AddBatch(ctx context.Context, b *protocol.Batch, r *batch.Record, most int) (added bool, err error)
	// OpenBatches are a tenant's that have not ended.
	OpenBatches(ctx context.Context, tenant string) ([]*protocol.Batch, error)
	Batch(ctx context.Context, tenant, id string) (*protocol.Batch, error)
	Batches(context.Context, protocol.BatchFilter) ([]*protocol.Batch, error)
	// ChangeBatch stores a batch that has not ended, if nobody has changed it since it was read; it reports whether.
	ChangeBatch(context.Context, *protocol.Batch) (bool, error)
	// EndBatch is ChangeBatch for the last time; with it, files and events are there.
	EndBatch(ctx context.Context, b *protocol.Batch, files []*protocol.File, events []*protocol.Event) (bool, error)
	// UnsettledBatches are some that have not ended though their jobs have.
	UnsettledBatches(context.Context) ([]*protocol.Batch, error)
	// ForgetBatches removes some that ended so long ago, and says which.
	ForgetBatches(ctx context.Context, keep time.Duration) (ids []string, err error)
}

// EventRows is what webhooks are to be told; a store implements it.
type EventRows interface {
	// ClaimEvents takes some that are due; nobody else does for so long.
	ClaimEvents(ctx context.Context, lease time.Duration) ([]*protocol.Event, error)
	// DelayEvent has one delivered again, after so long.
	DelayEvent(ctx context.Context, e *protocol.Event, after time.Duration) error
	// EndEvent forgets one.
	EndEvent(context.Context, *protocol.Event) error
}

// Store is all of them.
type Store interface {
	FileRows
	Rows
	EventRows
}
