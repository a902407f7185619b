package parquet

import (
	"context"
	"encoding/json"

	"serval/batch"
)

// Split cuts between row groups: within one, what is before a row would be read for nothing.
func (r *reader) Split(_ context.Context, n int) (cuts []batch.Cut, rows int64, err error) {
	k := int64(1)
	for i := range r.groups {
		at := r.groups[i].first
		if at == 0 || at >= r.rows || float64(at) < float64(r.rows)/float64(n)*float64(k) {
			continue
		}
		m, _ := json.Marshal(mark{at}) // a number
		cuts = append(cuts, batch.Cut{Mark: m, Rows: at})
		for k < int64(n) && float64(at) >= float64(r.rows)/float64(n)*float64(k) {
			k++
		}
		if k == int64(n) {
			break
		}
	}
	return cuts, r.rows, nil
}

var _ batch.Splitter = (*reader)(nil)
