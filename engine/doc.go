// Package engine is the contract of what computes. An engine loads an artefact and runs batches of calls, or steps a set
// of live sequences; it knows nothing of HTTP, tenants, queues or another protocol's templates.
//
// Called by schedule (runs models) and server (picks an engine). It imports the root and the shared parts; an engine's own
// folder imports this package and never a sibling.
package engine
