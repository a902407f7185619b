// Package sqs reads from and writes to Amazon SQS, and what speaks its protocol, with AWS's SDK: standard and FIFO queues,
// long polling, requests of ten messages.
//
// SQS forgets who has a message after its visibility time. A source says again and again that it still has it, until the message
// was deleted, which it is when its result was written. A message whose time passed all the same, because the queue could not be
// reached, is somebody else's: of a FIFO queue all that is under way of its group is dropped then, so that a group is never
// worked on twice. Times are measured with the clock that nobody sets.
//
// A lane is a message group of a FIFO queue, for as long as messages of it are here: SQS gives a group out again only when none of
// it is in flight, so that any number of workers may share a queue. Messages of a standard queue have no order.
//
// What SQS has no place for travels in attributes of the message: see content.go.
//
// Called by stream/all. It imports the root, stream and service/sqs of AWS's SDK, which it owns.
package sqs
