// Command batch measures `serval batch run` beside the bare engine on the same cores: the same tree model, the same rows.
//
//	go run ./bench/batch -model ~/.cache/serval-bench/trees/flights-xgboost    # -serval names the binary, bin/serval by default
//
// The folder is one of bench/trees/train.py's: the model and rows.f32. The bare engine scores the rows from memory, a copy on each
// core, in batches of 512, as often as makes -rows rows. The job reads as many rows from a CSV file with an id, which is written
// to a temporary folder first, and writes a CSV file. Times of the job are the whole process's, with and without the model's load.
package main
