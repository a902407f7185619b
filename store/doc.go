// Package store names the folders below it, each of which keeps Serval's own state in one technology behind the narrow
// interfaces of those who need it. It has no code of its own.
package store
