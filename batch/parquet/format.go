package parquet

import (
	"context"

	"serval"
	"serval/batch"
)

// Format is Parquet. It is safe for concurrent use.
type Format struct{}

// Name is parquet.
func (Format) Name() string { return "parquet" }

// Extensions are those of Parquet files.
func (Format) Extensions() []string { return []string{".parquet", ".pq"} }

// Open reads a file's footer. There are no options.
func (Format) Create(string, batch.Mark, map[string]string) (batch.Writer, error) { return nil, nil }
func (f Format) Open(ctx context.Context, o batch.Object, given map[string]string) (batch.Reader, error) {
	for name := range given {
		return nil, serval.Errorf(serval.InvalidArgument, "reading parquet has no option %q, and no other", name).At(name)
	}
	return open(ctx, o)
}
