// Package child runs an engine's models in processes of their own. Wrap makes an engine of an engine: each model that it
// opens is a child process, started from this very program, in which queue, decode loop and memory of that model are; the
// Model that stands for it here is a serval.Handler. Serve is the other side, the host.
//
// A child that dies takes one model's calls along and nothing else: it is started again with growing pauses, a call of which
// nothing was sent yet is tried once more, and one that keeps dying is given up with its last words. A child ends when its
// standard input does, so it never outlives its server.
//
// Called by server, on both sides. It imports the root, engine and wire/worker; it knows no engine and not schedule: what the
// host runs is given to it.
package child
