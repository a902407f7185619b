package parquet

import (
	"context"
	"strconv"

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
func (f Format) Open(ctx context.Context, o batch.Object, given map[string]string) (batch.Reader, error) {
	for name := range given {
		return nil, serval.Errorf(serval.InvalidArgument, "reading parquet has no option %q, and no other", name).At(name)
	}
	return open(ctx, o)
}

// Create writes a file. Its options are compression (zstd, snappy, gzip or none) and row_group, the rows of one.
func (f Format) Create(path string, from batch.Mark, given map[string]string) (batch.Writer, error) {
	opt := options{codec: codecZstd, rows: 1 << 17}
	for name, value := range given {
		switch name {
		case "compression":
			codec, ok := map[string]int{"zstd": codecZstd, "snappy": codecSnappy, "gzip": codecGzip, "none": codecNone}[value]
			if !ok {
				return nil, serval.Errorf(serval.InvalidArgument, "compression %q: use zstd, snappy, gzip or none", value).At(name)
			}
			opt.codec = codec
		case "row_group":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > 1<<24 {
				return nil, serval.Errorf(serval.InvalidArgument, "row_group %q: give the rows of a row group, 1 to %d", value, 1<<24).At(name)
			}
			opt.rows = n
		default:
			return nil, serval.Errorf(serval.InvalidArgument, "writing parquet has no option %q; there are compression, row_group", name).At(name)
		}
	}
	return create(path, from, opt)
}
