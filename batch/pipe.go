package batch

import (
	"context"
	"os"
)

// Streamer is what a Format may be: one that can be written to what is open already, such as standard output.
type Streamer interface {
	Stream(to *os.File, options map[string]string) (Writer, error)
}

// Pipe is a Target that is written as the job goes: standard output. Such a job cannot be resumed.
type Pipe struct {
	To     *os.File
	Errors *os.File // where bad rows go; nil: nowhere
}

// Name is the file's.
func (p *Pipe) Name() string { return p.To.Name() }

// Path is none.
func (p *Pipe) Path() string { return "" }

// Exists is never so.
func (p *Pipe) Exists(context.Context) (bool, error) { return false, nil }

// Publish has nothing left to do.
func (p *Pipe) Publish(context.Context, string, string) error { return nil }

// Remove has nothing to take away.
func (p *Pipe) Remove(context.Context, string) error { return nil }
