#!/bin/bash
# Runs every fuzz target of the repository for FUZZTIME each (default 10s); with an argument, those whose name has it.
# What a target finds is written to its package's testdata/fuzz, which is where go test reads it again.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
failed=()
for package in $(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u); do
	for target in $("$go" test -list '^Fuzz' "$package" | grep '^Fuzz'); do
		[[ $target == *"${1:-}"* ]] || continue
		echo "== $package $target"
		"$go" test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" -fuzzminimizetime 5x "$package" || failed+=("$package.$target")
	done
done
if ((${#failed[@]})); then
	echo "fuzz: failed: ${failed[*]}" >&2
	exit 1
fi
