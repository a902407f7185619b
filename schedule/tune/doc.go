// Package tune measures a model in this process under different settings: Profile runs the engine alone by batch size,
// threads and instances; Search looks for the settings with the highest throughput whose p99 stays under a target, and
// Exhaustive tries them all.
//
// Called by server for `serval model profile` and `serval model tune`. It imports the root, engine and schedule.
package tune
