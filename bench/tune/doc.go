// Command tune shows how near `serval model tune` comes to trying every combination, on real models, and prints a Markdown
// table.
//
//	go run ./bench/tune    # builds nothing: -serval names the binary, bin/serval by default
//
// For each model it runs the search and the exhaustive search of the real binary, then measures what the search chose side
// by side with the best that the exhaustive search saw, in turns: the winner of many single measurements is often only the
// luckiest of them. The ratio is of the medians of that last comparison.
package main
