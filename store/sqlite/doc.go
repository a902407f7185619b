// Package sqlite keeps Serval's own state in one SQLite file, without cgo: answers of the Responses API so far. What it
// acknowledged is on the disk: it writes ahead and synchronises each commit.
//
// Opened by server, which hands it to those whose narrow interfaces it implements (protocol.Responses). It imports the root
// and those packages.
package sqlite
