// Command batch measures `serval batch run` beside the bare engine on the same cores: the same tree model, the same rows.
//
//	go run ./bench/batch -model ~/.cache/serval-bench/trees/flights-xgboost    # -serval names the binary, bin/serval by default
//
// The folder is one of bench/trees/train.py's: the model and rows.f32. The bare engine scores the rows from memory, a copy on each
// core, in batches of 512 and of 8,192 (the faster counts), as often as makes -rows rows. The job reads as many rows from a CSV file
// with an id, which is written to a temporary folder first, and writes a CSV file; the same from Parquet to Parquet. All run -rounds
// times, and the best counts. `mlflow models predict` scores the first -mlflow rows with the library of the same model (setup.sh
// installs it, once), and so does a job, both from the program's start to its end.
// `serval batch plan` is asked first; what it foretells is held against the whole process's time.
package main
