#!/usr/bin/env bash
# Runs Triton with the benchmark's net in its Python backend: triton.sh HTTP_PORT GRPC_PORT
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/serval-bench/triton
SITE_PACKAGES=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
MLP=$here/../mlp/model.onnx
libpython=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))')
server=$SITE_PACKAGES/pytriton/tritonserver
export SITE_PACKAGES MLP PATH="$venv/bin:$PATH"
export LD_LIBRARY_PATH=$server/lib:$server/external_libs:$SITE_PACKAGES/nvidia_pytriton.libs:$libpython
exec "$server/bin/tritonserver" --model-repository "$here/triton" --backend-directory "$server/backends" \
  --http-address 127.0.0.1 --http-port "$1" --grpc-address 127.0.0.1 --grpc-port "$2" --allow-metrics false
