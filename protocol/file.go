package protocol

import (
	"context"
	"io"
	"time"
)

// File is a file that a client gave the server to keep, or that a batch has made.
type File struct {
	ID      string
	Tenant  string // whose it is
	Purpose string // batch, batch_output, user_data, …
	Name    string // as the client calls it
	Size    int64
	Created time.Time
	Expires time.Time // zero: never
}

// FileFilter chooses files of a tenant: those after one of them, in the order asked for.
type FileFilter struct {
	Tenant    string
	Purpose   string // "": of any
	After     string // an id; "": from the first one on
	Ascending bool   // the oldest first; else the newest
	Limit     int
}

// Files keeps files. What it acknowledged survives a kill; a file that is not there, or another tenant's, is a NotFound. Safe for
// concurrent use.
type Files interface {
	// AddFile keeps what fill writes. fill says at its end what the file is: its Tenant, Purpose, Name and Expires. It is refused
	// with TooLarge before more than the server's limit was kept.
	AddFile(ctx context.Context, fill func(io.Writer) (*File, error)) (*File, error)
	// File describes one.
	File(ctx context.Context, tenant, id string) (*File, error)
	// Files lists them.
	Files(context.Context, FileFilter) ([]*File, error)
	// OpenFile opens one to be read.
	OpenFile(ctx context.Context, tenant, id string) (*File, io.ReadSeekCloser, error)
	// RemoveFile removes one. Batches that were made of it have what they need.
	RemoveFile(ctx context.Context, tenant, id string) error
}
