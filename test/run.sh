#!/usr/bin/env bash
# Runs every test but those that hurt: `make test` calls it after the linters. One line a package, what fails in full.
# Arguments go to go test: test/run.sh -run TestKServe ./test
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
test/setup.sh

if (($#)); then
	exec "$go" test -race "$@"
fi
# The packages by themselves first; then the real program, alone on the machine.
status=0
units=$("$go" list ./... | grep -v '^serval/test\(/\|$\)')
# shellcheck disable=SC2086
"$go" test -race -timeout 10m $units | { grep -v "no test files" || true; } || status=1
"$go" test -race -timeout 15m -parallel 3 ./test || status=1
exit $status
