// Package stream is the door of messages: a worker reads them from a bus, has the same Handler as online requests answer
// them, and writes the answers to a bus. It is the contract for brokers too: each is a folder below, which imports this
// package and never a sibling, and passes the suite in streamtest against the real broker.
//
// A message passes: Source.Read → intake.go (lanes, bounds) → call.go (Format.Decode, Handler, Format.Encode) → retry.go where
// that failed → output.go (results in the order of each lane, Target.Write, dead letters, Source.Ack). loop.go decides all of
// it on one goroutine. With delivery exactly-once, exact.go puts rounds of it into transactions.
//
// What holds, whatever happens: a message is acked only after its result, or its dead letter, was written; the results of a
// lane are written, and its messages acked, in the order in which they were read; a message that cannot be answered becomes a
// dead letter and never blocks those behind it; what is in memory is bounded by number and bytes.
//
// Called by server. It imports the root and the standard library.
package stream
