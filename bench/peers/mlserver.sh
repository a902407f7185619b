#!/usr/bin/env bash
# Runs MLServer with the benchmark's net: mlserver.sh HTTP_PORT GRPC_PORT
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/serval-bench/mlserver
export MLP=$here/../mlp/model.onnx PYTHONPATH=$here/mlserver PYTHONDONTWRITEBYTECODE=1
export MLSERVER_HTTP_PORT=$1 MLSERVER_GRPC_PORT=$2
exec "$venv/bin/mlserver" start "$here/mlserver"
