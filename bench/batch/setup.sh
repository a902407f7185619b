#!/usr/bin/env bash
# Makes the Python environment of `mlflow models predict` below ~/.cache/serval-bench (1 GB), once. Prints its folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/serval-bench/venv-mlflow
stamp=$venv/.requirements.txt
if ! cmp -s "$here/requirements.txt" "$stamp"; then
	echo "installing Python packages into $venv" >&2
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
	cp "$here/requirements.txt" "$stamp"
fi
echo "$venv"
