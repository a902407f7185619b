// Package kafka reads from and writes to Apache Kafka, and what speaks its protocol, with franz-go: consumer groups with
// cooperative rebalancing, offsets committed only for what was written, transactions for delivery exactly-once, SASL, TLS and
// compression.
//
// A lane is a partition. Messages with a key go to the partition that Java's producer would choose; those without one, to the
// target's partition of the same number as the source's (modulo their count), so that they keep their order too.
//
// Called by stream/all. It imports the root, stream and franz-go, which it owns.
package kafka
