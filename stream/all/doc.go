// Package all lists the brokers that are built in. Adding a broker is its folder and one line here.
//
// Called by server and cmd.
package all
