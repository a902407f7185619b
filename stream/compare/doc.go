// Package compare sets the answers of two streams that read the same messages against each other: a champion, whose answers
// are in use, and a challenger, a new model that a consumer group of its own lets answer the same topic. Answers are paired by
// the messages' positions; how much waits for its counterpart is bounded, and so is all else that is kept.
//
// Made by server for a stream whose configuration has a section compare. It imports the root, stream and internal/jsontensor.
package compare
