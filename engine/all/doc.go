// Package all lists the engines that are built in. Adding an engine is its folder and one line in each function here.
//
// Called by server and cmd.
package all
