// Package all lists the protocols that are built in. Adding a protocol is its folder and one line here.
//
// Called by server.
package all
