// Package beside measures what online callers notice of a job and of a stream that take all they can get, on one model of one
// server: p50 and p99 of an open loop with Poisson arrivals, alone, beside a job, beside a stream, beside one that stands aside
// (`background: true`), and beside threads of other processes that only spin in the kernel's idle class, round after round in one run.
//
//	go test -tags bench -run Beside -v -timeout 30m ./bench/beside -args -rounds 5 -time 6s
//
// Without -model (a folder of bench/trees with a model and rows.f32) the tree is a tiny one. A ratio is the median over the rounds
// of the p99 beside, divided by the p99 alone of the same round; latencies count from the time at which a request was due. Load
// generator, Kafka and server share the machine, so what the stream's broker takes is in its ratio.
package beside
