// Command requests measures an LLM batch beside online calls: the same server and model answer chat requests with a shared system
// prompt, first online from so many clients at a time, then as a batch of OpenAI's API, in turns.
//
//	go build -o bin/serval ./cmd/serval && go run ./bench/requests
//
// It starts the server itself and prints requests a second of each run, and their ratio.
package main
