// Package schedule decides when a call runs and with whom. Each model version has its own queue; whatever waits while the
// instances are busy becomes the next batch, so batches grow with load and nobody waits for company.
//
// The decisions are in queue.go: plain data, no locks, no clock, no goroutines, so tests drive them directly. model.go
// holds the lock and has the effects. Called by server, as the innermost serval.Handler of a version. It imports the root
// and engine.
package schedule
