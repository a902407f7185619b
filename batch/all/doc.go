// Package all lists the formats of data sets that are built in. Adding a format is its folder and one line here.
//
// Called by server and cmd.
package all
