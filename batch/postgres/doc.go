// Package postgres makes the rows of a PostgreSQL query a batch job's input, and a table its output.
//
// A location is postgres://user@host/database with, beside the settings of a connection, the parameters table or query, and key:
// the column by which rows are ordered and, in a table that is written, found again. Passwords are found as PostgreSQL's own
// programs find them (PGPASSWORD, ~/.pgpass).
//
// Reading orders rows by the key, which must be unique and never null, so that a job goes on exactly where it stopped; it sees
// what was committed when a run began. Writing happens in one transaction once the job is done: rows are put into a table by
// their key, or, without a key, become all that the table has.
//
// Called through batch.Locator and batch.Format; it imports batch and the shared parts, and owns its driver, pgx.
package postgres
