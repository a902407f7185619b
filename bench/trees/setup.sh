#!/usr/bin/env bash
# Makes the Python environment of the tree benchmarks, trains their models and writes each shared model in the words of
# two libraries, once: setup.sh [env]. Prints the folder of the environment; with env it does no more than that.
#
# All lies below ~/.cache/serval-bench (the environment, 1.5 GB, elsewhere with VENV); training takes some minutes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/serval-bench
venv=${VENV:-$cache/venv-trees}
stamp=$venv/.requirements.txt
if ! cmp -s "$here/requirements.txt" "$stamp"; then
	echo "installing Python packages into $venv (1.5 GB)" >&2
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
	cp "$here/requirements.txt" "$stamp"
fi
if [ "${1:-}" != env ]; then
	export OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
	nice -n 19 "$venv/bin/python" -W ignore "$here/train.py" "$cache/trees" >&2
	nice -n 19 "$venv/bin/python" -W ignore "$here/share.py" "$cache/trees" "$cache/trees-shared" >&2
fi
echo "$venv"
