#!/usr/bin/env bash
# Builds the backend below ~/.cache/serval-bench/triton-c; needs cc, go and what peers/setup.sh triton installs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/serval-bench
"$here/../peers/setup.sh" triton
backend=$cache/triton-c/ort
out=$backend/libtriton_ort.so
if [ "$out" -nt "$here/backend.c" ]; then exit 0; fi
site=$("$cache/triton/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# ONNX Runtime's wheel has no header; this Go module carries the public one. It is not linked into anything.
header=$(cd / && go mod download -json github.com/yalue/onnxruntime_go@v1.27.0 | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
mkdir -p "$backend"
ln -sf "$site"/onnxruntime/capi/libonnxruntime.so.* "$backend/libonnxruntime.so.1"
cc -O2 -shared -fPIC -Wall -Wextra -I "$header" "$here/backend.c" -o "$out" \
  "$backend/libonnxruntime.so.1" "$site"/nvidia_pytriton.libs/libtritonserver-*.so \
  -Wl,-rpath,'$ORIGIN' -Wl,-rpath,"$site/nvidia_pytriton.libs" -Wl,--allow-shlib-undefined
