// Command text measures Serval beside llama-server: the same GGUF file, the same threads, slots and context, OpenAI's chat with
// streamed answers, on one machine.
//
//	go run ./bench/text -list                                    # contenders and workloads
//	go run ./bench/text -work c16 -write docs/benchmarks-text.md # one workload, one section of the page
//
// All contenders run at the same time and share the machine with the load, and one of them is under load at a time. Each round
// measures every contender once, one right after the other, in an order that rotates. A ratio is the median over the rounds of the
// ratio within a round, so that what slows the machine slows both sides of it. setup.sh builds llama-server, and with it the libraries
// that Serval opens where builds are to be equal.
//
// It imports bench/chat, which makes the load.
package main
