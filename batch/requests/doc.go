// Package requests has files of requests answered in the server's own time: OpenAI's Batch API for every model. It keeps the files
// (Files), is the batch.Runner of the jobs and brings what they did to an end (Service), and tells webhooks of it (Notifier).
//
// A batch is a job of the queue: its plan checks the input and finds the order in which lines are asked, its pieces ask, and its
// close makes the output. A line is asked as if it came online: Options.Call is given the path and the body.
//
// Made by server, which wires the protocol openai to it. It imports the root, batch and protocol, whose words it takes.
package requests
