#!/usr/bin/env bash
# Runs every test but those that hurt, and the linters: `make test` calls it. One line a package, what fails in full.
# Arguments go to go test: test/run.sh -run TestKServe ./test
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
export GOFLAGS="${GOFLAGS:-} -tags=disable_grpc_modules" # as the Makefile does

if (($#)); then
	test/setup.sh
	exec "$go" test -race "$@"
fi
. test/beside.sh

# On a bare machine the set-up mostly waits for downloads, and the linters and what the tests are compiled of take minutes.
check() {
	"${MAKE:-make}" --no-print-directory lint
	"$go" build -race ./...
}
beside test/setup.sh
beside check
together

status=0
run() { "$go" test -vet=off -timeout 20m "$@" | { grep -v "no test files" || true; } || status=1; } # vet was run
raced() { local said; said=$("$go" test -vet=off -race -timeout 20m "$@" 2>&1) || { printf '%s\n' "$said"; status=1; }; }
# What computes is tested as users get it: the race detector has nothing to see there, and takes ten times as long. Those of its
# tests that do things beside each other run under it as well: of engine/gguf, whose team shares every pass, all but the long
# comparisons with llama.cpp. None of it waits for anything, so it has what the others leave of the machine, however late that is.
compute=(./batch/arrow ./batch/parquet ./engine/gguf ./engine/gguf/kernel ./engine/tree ./llm/grammar ./llm/template ./llm/vocab ./native)
computing() {
	renice -n 10 "$BASHPID" >/dev/null
	CGO_ENABLED=0 run -gcflags=serval/engine/tree=-d=checkptr "${compute[@]}"
	raced -run '^Test(Concurrent|Share|Team)' ./engine/gguf/kernel ./engine/tree ./llm/grammar ./llm/vocab ./native
	raced -skip '^Test(Encode|Greedy|Logits|MiniLM|Tiny|TinyBert|Types)$' ./engine/gguf
	exit $status
}

# The other packages by themselves; those first that wait for servers of others most of the time, which the rest runs beside. Then the
# real program.
waiting=(./stream/sqs ./stream/kafka ./stream/nats ./stream/postgres ./stream/webhook ./store/blob)
others() {
	mapfile -t rest < <("$go" list ./... | grep -v '^serval/test\(/\|$\)' | grep -vxF -f <(printf 'serval%s\n' "${compute[@]#.}" "${waiting[@]#.}"))
	run -race -p 3 -parallel 4 "${waiting[@]}" "${rest[@]}"
	run -race -parallel 4 ./test
	exit $status
}
beside others
beside computing
together
