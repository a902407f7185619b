#!/usr/bin/env bash
# Runs MLServer's own XGBoost runtime: mlserver-trees.sh HTTP_PORT GRPC_PORT MODEL
# One process and one thread a call: on two cores that is its fastest setting for single rows (see docs/benchmarks.md).
set -euo pipefail
venv=${XDG_CACHE_HOME:-$HOME/.cache}/serval-bench/mlserver-trees
folder=$venv/served
mkdir -p "$folder/trees"
cat >"$folder/settings.json" <<JSON
{"host": "127.0.0.1", "parallel_workers": 0, "debug": false, "logging_settings": null, "metrics_endpoint": null}
JSON
cat >"$folder/trees/model-settings.json" <<JSON
{"name": "trees", "implementation": "mlserver_xgboost.XGBoostModel", "parameters": {"uri": "$3"}}
JSON
export MLSERVER_HTTP_PORT=$1 MLSERVER_GRPC_PORT=$2 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/mlserver" start "$folder"
