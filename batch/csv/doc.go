// Package csv reads and writes comma-separated values (RFC 4180): a batch.Format. Numbers go from the text straight into a
// column's bytes. Any delimiter; quotes, line ends of either kind and a byte order mark are understood; a row that is malformed
// is a Bad row, and reading goes on with the next line.
//
// Called through batch/all; imports the root, batch and what it stands on.
package csv
