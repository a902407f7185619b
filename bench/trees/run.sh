#!/usr/bin/env bash
# Compares the tree engine with LightGBM, XGBoost and CatBoost on real models: first every answer, then the speed on one
# thread, the libraries' own C calls against the engine's Execute, and both libraries on the same trees. Prints Markdown.
#
#   run.sh [ROUNDS]     # default 3; ANSWERS_ONLY=1 or SPEED_ONLY=1 does one half
#
# The first run makes a Python environment and trains the models (20 minutes), see setup.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/serval-bench
venv=$(bench/trees/setup.sh)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gcc -O2 -o "$work/libs" bench/trees/libs.c -ldl
go test -c -o "$work/tree.test" ./engine/tree
if [ -z "${SPEED_ONLY:-}" ]; then
	for models in "$cache/trees" "$cache"/trees-shared/*; do
		"$work/tree.test" -test.run TestRealModels -trees "$models" -test.v | grep -v '^=== ' >&2
	done
fi
if [ -z "${ANSWERS_ONLY:-}" ]; then
	PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" -W ignore bench/trees/speed.py "$cache/trees" "$cache/trees-shared" "$work/libs" "$work/tree.test" "$rounds"
fi
