// Package feed is the brokers that tests of targets read from. Used by tests only; it imports stream, stream/kafka, stream/nats,
// streamtest and testkit.
package feed
