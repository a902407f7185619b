package jsonl

import (
	"bytes"
	"context"

	"serval/batch"
)

// Split goes over all lines.
func (r *reader) Split(ctx context.Context, n int) (cuts []batch.Cut, rows int64, err error) {
	return r.Cuts(ctx, n, r.pass)
}

// pass goes on behind the next line that is a row.
func (r *reader) pass() error {
	for {
		line, cut, err := r.Window.Line(r.most)
		if err != nil {
			return err
		}
		r.At.Offset = r.Window.Offset
		r.At.Line++
		if cut || len(bytes.TrimSpace(line)) > 0 {
			return nil
		}
	}
}

// Join puts files one behind another.
func (Format) Join(ctx context.Context, path string, parts []string, _ map[string]string) error {
	return batch.JoinFiles(ctx, path, parts, func(int, batch.Object) (int64, error) { return 0, nil })
}

var (
	_ batch.Splitter = (*reader)(nil)
	_ batch.Joiner   = Format{}
)
