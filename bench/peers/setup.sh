#!/usr/bin/env bash
# Installs peers into virtual environments below ~/.cache/serval-bench, once: setup.sh triton|mlserver|mlserver-trees
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/serval-bench

venv() { # name, package...
  local name=$1 && shift
  if [ -e "$cache/$name/.done" ]; then return; fi
  echo "setting up $name below $cache (100 to 200 MB): $*" >&2
  mkdir -p "$cache"
  python3 -m venv --clear "$cache/$name"
  "$cache/$name/bin/pip" install --disable-pip-version-check --quiet --progress-bar on "$@"
  touch "$cache/$name/.done"
}

case ${1:-} in
triton)
  venv triton nvidia-pytriton==0.7.0 onnxruntime==1.32.0 onnx
  # The Python backend looks for the stub of this Python's version next to itself.
  read -r site version < <("$cache/triton/bin/python" -c \
    'import sys, sysconfig; print(sysconfig.get_path("purelib"), "%d.%d" % sys.version_info[:2])')
  server=$site/pytriton/tritonserver
  cp -u "$server/python_backend_stubs/$version/triton_python_backend_stub" "$server/backends/python/"
  chmod +x "$server/bin/tritonserver" "$server/backends/python/triton_python_backend_stub"
  ;;
mlserver)
  venv mlserver mlserver==1.7.1 onnxruntime==1.32.0
  ;;
mlserver-trees)
  venv mlserver-trees mlserver==1.7.1 mlserver-xgboost==1.7.1 xgboost==3.2.0
  ;;
*)
  echo "usage: setup.sh triton|mlserver|mlserver-trees" >&2
  exit 2
  ;;
esac
