// Command compare measures Serval and its peers side by side on one machine and prints a Markdown table of the ratios.
//
//	make bench    # builds bin/serval, then: go run ./bench/compare -write docs/benchmarks.md
//
// All servers run at the same time in their default configuration and share the machine with the load; only one of them
// is under load at a time. Each round measures every server once, right after each other, in an order that rotates; a
// ratio is the median over the rounds of the ratio within a round, so that what slows the machine slows both sides of it.
package main
