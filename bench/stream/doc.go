// Package stream measures messages through Kafka, a tree model and back, side by side in one run: a passthrough, a program
// written by hand with franz-go that calls the same engine in batches, and `serval serve` with both deliveries.
//
//	go test -tags bench -run Throughput -v ./bench/stream -args -model ~/.cache/serval-bench/trees/flights-xgboost -n 300000
//
// Without -model the tree is a tiny one, so that all that is measured is what stands around it. Kafka is the real one of
// internal/testkit, on the same cores. The program by hand has the advantages that it has in the field: it keeps no order
// within a partition, and bounds nothing. A rate is that of the messages in the target topic, from the first to the last.
package stream
