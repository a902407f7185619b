#!/usr/bin/env bash
# Runs MLServer's own XGBoost runtime: mlserver-trees.sh HTTP_PORT GRPC_PORT NAME MODEL
# One process and one thread a call: of the settings tried on two cores the fastest for single rows (see docs/benchmarks.md).
set -euo pipefail
venv=${XDG_CACHE_HOME:-$HOME/.cache}/serval-bench/mlserver-trees
folder=$venv/served/$3
mkdir -p "$folder/model"
cat >"$folder/settings.json" <<JSON
{"host": "127.0.0.1", "parallel_workers": 0, "debug": false, "logging_settings": null, "metrics_endpoint": null}
JSON
cat >"$folder/model/model-settings.json" <<JSON
{"name": "$3", "implementation": "mlserver_xgboost.XGBoostModel", "parameters": {"uri": "$4"}}
JSON
export MLSERVER_HTTP_PORT=$1 MLSERVER_GRPC_PORT=$2 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/mlserver" start "$folder"
