// Package postgres is the target that writes messages into a table of PostgreSQL: inserts, or, with a key, upserts, many rows a
// statement and one transaction a batch. A row that the table refuses (a type, a constraint) fails alone.
//
// With delivery exactly-once the transaction also notes, in the table serval_positions, up to where each lane of the source was
// written (or, where messages stand in no order, which ones were), and leaves out what was. The position's row is
// locked until the transaction ends, so a worker that does not know yet that it lost a lane writes nothing twice: it finds
// the position behind its messages, or goes on where the other one stopped.
//
// row.go makes a row of a message, table.go knows the table and writes statements, position.go keeps positions, target.go puts
// them into transactions.
//
// Called through stream/all. It imports stream and the shared parts; its driver is pgx.
package postgres
