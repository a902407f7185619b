package csv

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"serval/batch"
)

// Split goes over all rows, by the same rules as Read: where a row begins depends on every quote before it.
func (r *reader) Split(ctx context.Context, n int) (cuts []batch.Cut, rows int64, err error) {
	return r.Cuts(ctx, n, r.pass)
}

// pass goes on behind the next row.
func (r *reader) pass() error {
	if end := bytes.IndexByte(r.Window.Buf, '\n'); end >= 1 && end < r.opt.MaxRecord && bytes.IndexByte(r.Window.Buf[:end], '"') < 0 && (end > 1 || r.Window.Buf[0] != '\r') {
		r.skip(end + 1)
		r.At.Line++
		return nil
	}
	rec, err := r.record()
	if err != nil {
		return err
	}
	r.skip(rec.size)
	r.At.Line += rec.lines
	return nil
}

// Join puts files one behind another, with one header.
func (f Format) Join(ctx context.Context, path string, parts []string, given map[string]string) error {
	opt, err := f.options(given)
	if err != nil {
		return err
	}
	if opt.Delimiter == 0 {
		opt.Delimiter = ','
	}
	headed := opt.Header != "no"
	opt.Header, opt.MaxRecord = "yes", 1<<30
	var names []batch.Column
	return batch.JoinFiles(ctx, path, parts, func(i int, o batch.Object) (int64, error) {
		if !headed || o.Size() == 0 {
			return 0, nil
		}
		r, err := open(ctx, o, opt)
		if err != nil {
			return 0, err
		}
		defer r.Close()
		if names == nil {
			names = r.columns
			return 0, nil
		}
		if !slices.EqualFunc(names, r.columns, func(a, b batch.Column) bool { return a.Name == b.Name }) {
			return 0, fmt.Errorf("%s has other columns than the parts before it", parts[i])
		}
		return r.Start.Offset, nil
	})
}

var (
	_ batch.Splitter = (*reader)(nil)
	_ batch.Joiner   = Format{}
)
