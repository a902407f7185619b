// Package all lists the formats of data sets.
package all

import (
	"serval/batch"
	"serval/batch/csv"
	"serval/batch/jsonl"
)

// Formats are all that there are.
func Formats() []batch.Format {
	return []batch.Format{csv.Format{}, csv.Format{Tab: true}, jsonl.Format{}}
}
