#!/usr/bin/env bash
# Runs Triton with the benchmark's net: triton.sh HTTP_PORT GRPC_PORT [python|c]
# python (default): in Triton's Python backend; c: in the backend of bench/triton_c.
set -euo pipefail
bench=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/serval-bench
read -r SITE_PACKAGES libpython < <("$cache/triton/bin/python" -c \
  'import sysconfig; print(sysconfig.get_path("purelib"), sysconfig.get_config_var("LIBDIR"))')
server=$SITE_PACKAGES/pytriton/tritonserver
if [ "${3:-python}" = c ]; then
  models=$bench/triton_c/models backends=$cache/triton-c
else
  models=$bench/peers/triton backends=$server/backends
fi
export SITE_PACKAGES MLP=$bench/mlp/model.onnx PATH="$cache/triton/bin:$PATH" PYTHONDONTWRITEBYTECODE=1
export LD_LIBRARY_PATH=$server/lib:$server/external_libs:$SITE_PACKAGES/nvidia_pytriton.libs:$libpython
exec "$server/bin/tritonserver" --model-repository "$models" --backend-directory "$backends" \
  --http-address 127.0.0.1 --http-port "$1" --grpc-address 127.0.0.1 --grpc-port "$2" --allow-metrics false
