// Package table is Serval's state as rows of an SQL database: the queue of jobs (batch.Jobs, batch.Leases), stored answers
// (protocol.Responses), files and batches of requests (requests.Store), in the SQL that SQLite and PostgreSQL share. It opens nothing and makes no tables.
//
// Used by store/sqlite and store/postgres, each of which owns its driver, its migrations and what its Dialect says. It imports
// the root and the packages whose interfaces it implements.
package table
