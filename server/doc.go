// Package server puts Serval together: from a config.Config it builds the chain, mounts the protocols, listens, reloads and
// drains. chain.go is the one list of what a request passes.
//
// Called by cmd/serval. It may import everything but cmd.
package server
