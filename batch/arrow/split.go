package arrow

import (
	"context"
	"encoding/json"
	"io"

	"serval/batch"
)

// Split cuts between record batches, whose heads it reads.
func (r *reader) Split(ctx context.Context, n int) (cuts []batch.Cut, rows int64, err error) {
	var ends []int64
	for {
		m, err := r.msgs.next(ctx, func(*message) bool { return true })
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, 0, broken(r.name, "%v", err).Because(err)
		}
		if m.kind != headBatch {
			continue
		}
		size := m.head.int(0, 8, 0)
		if m.flat.bad || size < 0 || rows+size < rows {
			return nil, 0, broken(r.name, "a record batch of %d rows", size)
		}
		rows += size
		ends = append(ends, rows)
	}
	k := int64(1)
	for _, at := range ends {
		if k == int64(n) || at >= rows {
			break
		}
		if float64(at) < float64(rows)/float64(n)*float64(k) || at == 0 {
			continue
		}
		m, _ := json.Marshal(mark{at}) // a number
		cuts = append(cuts, batch.Cut{Mark: m, Rows: at})
		for k < int64(n) && float64(at) >= float64(rows)/float64(n)*float64(k) {
			k++
		}
	}
	return cuts, rows, nil
}

var _ batch.Splitter = (*reader)(nil)
