package columntest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"serval/batch"
)

// Split cuts an object into parts and reads each by itself: what they give, one behind another, is what the whole gives, row for row,
// the bad ones with their numbers. It returns how many parts there were; -1: the object cannot be read.
func Split(t testing.TB, f batch.Format, o batch.Object, options map[string]string, n int) int {
	t.Helper()
	whole, count, err := someRows(t, f, o, options, nil, -1)
	if err != nil {
		return -1
	}
	r, err := f.Open(t.Context(), o, options)
	if err != nil {
		t.Fatal(err)
	}
	cuts, rows, err := r.(batch.Splitter).Split(t.Context(), n)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if rows != count || len(cuts) >= n {
		t.Fatalf("%d rows in %d parts, where there are %d rows and at most %d parts were asked for", rows, len(cuts)+1, count, n)
	}
	var all []byte
	at := batch.Cut{}
	for _, c := range append(cuts, batch.Cut{Rows: rows}) {
		if c.Rows <= at.Rows && rows > 0 {
			t.Fatalf("a cut before row %d behind one before row %d", c.Rows, at.Rows)
		}
		part, _, err := someRows(t, f, o, options, at.Mark, c.Rows-at.Rows)
		if err != nil {
			t.Fatal(err)
		}
		all, at = append(all, part...), c
	}
	if !bytes.Equal(all, whole) {
		t.Fatalf("%d parts give\n%.2000s\nwhere the whole gives\n%.2000s", len(cuts)+1, all, whole)
	}
	return len(cuts) + 1
}

// someRows reads rows from a Mark on, one by one; -1: all.
func someRows(t testing.TB, f batch.Format, o batch.Object, options map[string]string, from batch.Mark, left int64) (text []byte, rows int64, err error) {
	t.Helper()
	r, err := f.Open(t.Context(), o, options)
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	if err := r.Select(r.Columns(), from); err != nil {
		return nil, 0, err
	}
	var b batch.Block
	for ; left != 0; left-- {
		if err := r.Read(t.Context(), &b, 1); err == io.EOF {
			break
		} else if err != nil {
			return nil, 0, err
		}
		text = fmt.Appendf(text, "%d", b.First)
		for _, v := range b.Vectors {
			text = fmt.Appendf(text, " %s=%q%v", v.Name, v.Data, v.Null)
		}
		text = fmt.Appendf(text, " %v\n", b.Bad)
		rows++
	}
	return text, rows, nil
}
