// Package hurt hurts the real binary on purpose: more load than it can take, kill -9, clients that misbehave, full disks,
// crashing engines. Each group is one test and runs on the program that users get (CGO_ENABLED=0) and on the race detector's
// build. The tests are behind the build tag "hurt"; test/hurt.sh runs them.
//
// Bounds are chosen for two cores that are shared with other work: they tell a server that holds from one that does not (an
// unbounded queue, a leak, a lost request), not a fast machine from a slow one. What a bound stands for is said beside it.
//
// It imports bench/load, wire/inference, internal/testkit and the root.
package hurt
