package batch

import (
	"context"
	"errors"
	"io"
	"os"

	"serval"
)

// JoinFiles writes a new file of others, one behind another; begin says from which byte on the i-th counts. A cancelled ctx ends it
// between two pieces of a file.
func JoinFiles(ctx context.Context, path string, parts []string, begin func(i int, o Object) (int64, error)) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	for i := 0; err == nil && i < len(parts); i++ {
		err = appendFile(ctx, out, parts[i], func(o Object) (int64, error) { return begin(i, o) })
	}
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return diskError(path, err)
	}
	return nil
}

func appendFile(ctx context.Context, out io.Writer, part string, begin func(Object) (int64, error)) error {
	found, err := Files{}.Locate(ctx, part)
	if err != nil {
		return err
	}
	from, err := begin(found[0])
	if err != nil {
		return err
	}
	in, err := found[0].Open(ctx, from)
	if err != nil {
		return err
	}
	defer in.Close()
	const step = 64 << 20
	for err == nil {
		if err = ctx.Err(); err == nil {
			_, err = io.CopyN(out, in, step)
		}
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// joinRows does the same for any format, by reading all rows and writing them again.
func joinRows(ctx context.Context, f Format, path string, parts []string, columns []Column, options map[string]string) error {
	if err := remove(path); err != nil {
		return err
	}
	w, err := f.Create(path, nil, options)
	if err != nil {
		return err
	}
	for i := 0; err == nil && i < len(parts); i++ {
		err = copyRows(ctx, f, w, parts[i], columns)
	}
	if err != nil {
		return errors.Join(err, w.Abandon())
	}
	return w.Close()
}

func copyRows(ctx context.Context, f Format, w Writer, part string, columns []Column) error {
	found, err := Files{}.Locate(ctx, part)
	if err != nil {
		return err
	}
	r, err := f.Open(ctx, found[0], nil)
	if err != nil {
		return err
	}
	defer r.Close()
	if len(r.Columns()) == 0 { // no rows were written
		return nil
	}
	if err := r.Select(columns, nil); err != nil {
		return err
	}
	var b Block
	for {
		switch err := r.Read(ctx, &b, maxRows); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case len(b.Bad) > 0:
			return serval.Errorf(serval.Internal, "%s: %s", part, b.Bad[0].Reason)
		}
		for i := range b.Vectors {
			b.Vectors[i].JSON = columns[i].JSON
		}
		if err := w.Write(b.Vectors, b.Rows); err != nil {
			return err
		}
	}
}

// joinedFile makes one file of several that a format has written.
func joinedFile(ctx context.Context, f Format, path string, parts []string, columns []Column, options map[string]string) error {
	if j, ok := f.(Joiner); ok {
		return j.Join(ctx, path, parts, options)
	}
	return joinRows(ctx, f, path, parts, columns, options)
}
