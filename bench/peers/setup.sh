#!/usr/bin/env bash
# Installs the peers into virtual environments below ~/.cache/serval-bench, once. About 300 MB.
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/serval-bench
mkdir -p "$cache"

venv() { # name, package...
  local name=$1 && shift
  [ -e "$cache/$name/.done" ] && return
  echo "setting up $name: $*" >&2
  python3 -m venv --clear "$cache/$name"
  "$cache/$name/bin/pip" install -q --disable-pip-version-check "$@"
  touch "$cache/$name/.done"
}

venv triton nvidia-pytriton==0.7.0 onnxruntime==1.32.0 onnx
venv mlserver mlserver==1.7.1 onnxruntime==1.32.0

# The Python backend looks for the stub of this Python's version next to itself.
site=$("$cache/triton/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
version=$("$cache/triton/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
server=$site/pytriton/tritonserver
cp -u "$server/python_backend_stubs/$version/triton_python_backend_stub" "$server/backends/python/"
chmod +x "$server/bin/tritonserver" "$server/backends/python/triton_python_backend_stub"
