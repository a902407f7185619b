package all

import (
	"serval/batch"
	"serval/batch/arrow"
	"serval/batch/csv"
	"serval/batch/jsonl"
	"serval/batch/parquet"
	"serval/batch/postgres"
)

// Formats are all that there are.
func Formats() []batch.Format {
	return []batch.Format{csv.Format{}, csv.Format{Tab: true}, jsonl.Format{}, parquet.Format{}, arrow.Format{}, arrow.Format{Stream: true}, postgres.Format{}}
}
