#!/bin/bash
# test/hurt.sh         hurts the server in every way there is, group after group
# test/hurt.sh GROUP   in one; test/hurt.sh list prints their names
# Each group takes less than five minutes and runs on both builds: CGO_ENABLED=0 and -race. It needs root, for small tmpfs
# mounts, and gcc. What else is given goes to go test: test/hurt.sh drain -v
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}

groups() { "$go" test -tags hurt -list '^Test' ./test/hurt | sed -n 's/^Test//p' | tr '[:upper:]' '[:lower:]'; }
build() { CGO_ENABLED=0 "$go" build -o /dev/null ./cmd/serval && "$go" build -race -o /dev/null ./cmd/serval; } # no part of a group's time
hurt() { "$go" test -tags hurt -count 1 -timeout 300s -run "(?i)^Test$1\$" "${@:2}" ./test/hurt; }

case "${1:-}" in
list) groups ;;
"")
	build
	failed=()
	for group in $(groups); do
		echo "== hurt: $group"
		hurt "$group" || failed+=("$group")
	done
	if ((${#failed[@]})); then
		echo "hurt: failed: ${failed[*]}" >&2
		exit 1
	fi
	;;
*)
	groups | grep -qx -- "$1" || { echo "hurt: no group '$1'; there are: $(groups | tr '\n' ' ')" >&2; exit 2; }
	build
	hurt "$@"
	;;
esac
