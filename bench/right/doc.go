// Command right measures how right engine/gguf is: beside llama.cpp, and beside how far llama.cpp is from itself where only the order
// of its sums differs (its builds for other processors, prompts computed token by token, attention in another way).
//
//	go run ./bench/right -show logits -write docs/right-text.md  # log-probabilities over real text, perplexity
//	go run ./bench/right -show greedy -write docs/right-text.md  # the texts of 100 prompts
//	go run ./bench/right -show memory -write docs/right-text.md  # 10,000 requests to the real server
//	go run ./bench/right -list                                   # which ways of computing there are
//
// Every way of computing runs in a process of its own (a library is opened once in a process), and what it answered is kept in -keep,
// so that a run that was stopped goes on: delete the folder, or the files of one way, to compute anew. bench/text/setup.sh makes the
// F32 file and llama-server's build, which some of them need.
//
// It imports the engines, native and llm: it asks engine.Decoder as schedule does.
package main
