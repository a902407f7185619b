// Package columntest compares what a format reads with what another program wrote, and reads what ours wrote. Used by the tests
// of the formats below batch.
package columntest
