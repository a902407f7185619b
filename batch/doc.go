// Package batch turns a data set into a data set of predictions: data set → Handler → data set, by the same chain as requests
// that come online. A job reads blocks of rows (Format and Reader), lays columns out as a model's inputs, asks the Handler,
// and writes (Writer). It goes on from its last checkpoint after a kill as if nothing had happened.
//
// Formats are folders below; batch/all lists them. Called by cmd for jobs without a server, and by server for those of its
// queue. It imports the root; what a job stores, and where its data lies, are interfaces that store implements.
package batch
