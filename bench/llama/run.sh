#!/usr/bin/env bash
# Compares engine/llama's decoder with a bare loop over the same library: the same prompts and number of tokens, greedy, in turns.
#
#   run.sh [ROUNDS]     # default 5
#
# SERVAL_BENCH_THREADS (2), SERVAL_BENCH_GGUF (SmolLM2, which test/setup.sh fetches), SERVAL_BENCH_KV (streams or shared) and
# SERVAL_BENCH_DEVICE (cuda) change what is measured. Nothing else should run: llama.cpp's threads spin while they wait for each
# other, and one that has lost its core holds up all.
set -euo pipefail
cd "$(dirname "$0")/../.."
export SERVAL_BENCH_ROUNDS=${1:-5} CGO_ENABLED=0
go test ./engine/llama -run '^$' -bench AgainstRaw -benchtime 1x -timeout 60m |
	awk '/^Benchmark/ { sub(/^BenchmarkAgainstRaw\//, "", $1); printf "%s\n", $1; for (i = 5; i < NF; i += 2) printf "  %-22s %s\n", $(i + 1), $i }'
