// Package testkit builds and runs the real program for tests: it starts servers on free ports, collects what they say, and
// stops or kills them. Used by tests only; it imports the standard library and the root at most.
package testkit
