// Package sqlite keeps Serval's own state in one SQLite file, without cgo. What it acknowledged is on the disk: it writes ahead
// and synchronises each commit. What is in the tables is store/table's.
//
// Opened by server, which hands it to those whose narrow interfaces it implements. It imports store/table.
package sqlite
