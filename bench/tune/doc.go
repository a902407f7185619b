// Command tune shows how near `serval model tune` comes to trying every combination, on real models, and prints a Markdown
// table.
//
//	go run ./bench/tune    # builds nothing: -serval names the binary, bin/serval by default
//
// For each model it runs the search and the exhaustive search of the real binary. The best that the exhaustive search saw are
// then measured again in turns, since the winner of many single measurements is often only the luckiest, and the best of
// those that the search did not choose stands against what the search chose once more, the two alone, in turns. The ratio is
// of the medians of that last comparison, so it may be above 1.
package main
