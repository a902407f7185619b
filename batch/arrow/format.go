package arrow

import (
	"context"
	"errors"
	"strconv"

	"serval"
	"serval/batch"
)

// Format is Arrow's IPC file, or, with Stream, its stream. Either reads both. It is safe for concurrent use.
type Format struct{ Stream bool }

// Name is arrow, or arrows.
func (f Format) Name() string {
	if f.Stream {
		return "arrows"
	}
	return "arrow"
}

// Extensions are those of such files.
func (f Format) Extensions() []string {
	if f.Stream {
		return []string{".arrows"}
	}
	return []string{".arrow", ".feather", ".ipc"}
}

// Open reads a file's schema. There are no options.
func (f Format) Open(ctx context.Context, o batch.Object, given map[string]string) (batch.Reader, error) {
	for name := range given {
		return nil, serval.Errorf(serval.InvalidArgument, "reading arrow has no option %q, and no other", name).At(name)
	}
	return open(ctx, o)
}

// Create writes a file. Its options are compression (none or zstd) and rows, those of a record batch.
func (f Format) Create(path string, from batch.Mark, given map[string]string) (batch.Writer, error) {
	opt := options{stream: f.Stream, rows: 1 << 16}
	for name, value := range given {
		switch name {
		case "compression":
			if value != "none" && value != "zstd" {
				return nil, serval.Errorf(serval.InvalidArgument, "compression %q: use zstd or none", value).At(name)
			}
			opt.pack = value == "zstd"
		case "rows":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > 1<<24 {
				return nil, serval.Errorf(serval.InvalidArgument, "rows %q: give the rows of a record batch, 1 to %d", value, 1<<24).At(name)
			}
			opt.rows = n
		default:
			return nil, serval.Errorf(serval.InvalidArgument, "writing arrow has no option %q; there are compression, rows", name).At(name)
		}
	}
	return create(path, from, opt)
}

func asError(err error, e **serval.Error) bool { return errors.As(err, e) }
