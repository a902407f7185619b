// Package storetest is what every store must pass: the queue's contract (batch.Jobs, batch.Leases) and that of stored answers
// (protocol.Responses), by many connections at once and after a restart.
//
// Called by the tests of store/sqlite and store/postgres.
package storetest
