#!/usr/bin/env bash
# Runs every test but those that hurt: `make test` calls it after the linters. One line a package, what fails in full.
# Arguments go to go test: test/run.sh -run TestKServe ./test
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
export GOFLAGS="${GOFLAGS:-} -tags=disable_grpc_modules" # as the Makefile does
test/setup.sh

if (($#)); then
	exec "$go" test -race "$@"
fi
status=0
run() { "$go" test -vet=off "$@" | { grep -v "no test files" || true; } || status=1; } # vet was run

# What computes is tested as users get it: the race detector has nothing to see there, and takes ten times as long. Those of its
# tests that do things beside each other run under it as well: of engine/gguf, whose team shares every pass, all but the long
# comparisons with llama.cpp.
compute=(./batch/arrow ./batch/parquet ./engine/gguf ./engine/gguf/kernel ./engine/tree ./llm/grammar ./llm/template ./llm/vocab ./native)
CGO_ENABLED=0 run -timeout 5m -gcflags=serval/engine/tree=-d=checkptr "${compute[@]}"
raced() { local said; said=$("$go" test -vet=off -race -timeout 5m "$@" 2>&1) || { printf '%s\n' "$said"; status=1; }; }
raced -run '^Test(Concurrent|Share|Team)' ./engine/gguf/kernel ./engine/tree ./llm/grammar ./llm/vocab ./native
raced -skip '^Test(Encode|Greedy|Logits|MiniLM|Tiny|TinyBert|Types)$' ./engine/gguf

# The other packages by themselves; those first that wait for servers of others most of the time, which the rest runs beside.
waiting=(./stream/sqs ./stream/kafka ./stream/nats ./stream/postgres ./stream/webhook ./store/blob)
mapfile -t rest < <("$go" list ./... | grep -v '^serval/test\(/\|$\)' | grep -vxF -f <(printf 'serval%s\n' "${compute[@]#.}" "${waiting[@]#.}"))
run -race -timeout 10m -p 3 -parallel 4 "${waiting[@]}" "${rest[@]}"

# Then the real program, alone on the machine.
run -race -timeout 15m -parallel 4 ./test
exit $status
