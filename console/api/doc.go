// Package api is the control API under /api/v1 of the admin listener: jobs of the queue so far. Each route is a line of a table
// with the Go types that it takes and gives; the OpenAPI document is made of the same table.
//
// Made by server. It imports the root and the packages whose state it shows.
package api
