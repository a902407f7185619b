package jsonl

import (
	"context"
	"os"
	"strconv"

	"serval"
	"serval/batch"
)

// Format is JSON lines. It is safe for concurrent use.
type Format struct{}

// Name is jsonl.
func (Format) Name() string { return "jsonl" }

// Extensions are those of such files.
func (Format) Extensions() []string { return []string{".jsonl", ".ndjson"} }

// options gives the most bytes of a line.
func options(given map[string]string) (maxRecord int, err error) {
	maxRecord = batch.MaxBlock
	for name, value := range given {
		if name != "max_record" {
			return 0, serval.Errorf(serval.InvalidArgument, "jsonl has no option %q; there is max_record", name).At(name)
		}
		if maxRecord, err = strconv.Atoi(value); err != nil || maxRecord < 1 || maxRecord > 1<<30 {
			return 0, serval.Errorf(serval.InvalidArgument, "max_record %q: give the most bytes of a row, 1 to %d", value, 1<<30).At(name)
		}
	}
	return maxRecord, nil
}

// Open looks at the first rows.
func (Format) Open(ctx context.Context, o batch.Object, given map[string]string) (batch.Reader, error) {
	most, err := options(given)
	if err != nil {
		return nil, err
	}
	return open(ctx, o, most)
}

// Create writes a file.
func (Format) Create(path string, from batch.Mark, given map[string]string) (batch.Writer, error) {
	if _, err := options(given); err != nil {
		return nil, err
	}
	return create(path, from)
}

// Stream writes to a file that is open, such as standard output.
func (Format) Stream(to *os.File, given map[string]string) (batch.Writer, error) {
	if _, err := options(given); err != nil {
		return nil, err
	}
	return &writer{f: batch.AppendTo(to)}, nil
}
