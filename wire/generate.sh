#!/bin/sh
# Regenerates the Go code of every proto package in this folder.
#
# Needs Go, and a Python with the package grpcio-tools, which carries protoc (PYTHON names the interpreter).
# The versions of the plug-ins are fixed so that the same files come out everywhere.
set -eu
cd "$(dirname "$0")"

python=${PYTHON:-python3}
plugins=$(mktemp -d)
trap 'rm -rf "$plugins"' EXIT
GOBIN=$plugins go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GOBIN=$plugins go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2

for folder in */; do
	[ -n "$(find "$folder" -name '*.proto' -print -quit)" ] || continue
	PATH=$plugins:$PATH "$python" -m grpc_tools.protoc -I "$folder" \
		--go_out="$folder" --go_opt=paths=source_relative \
		--go-grpc_out="$folder" --go-grpc_opt=paths=source_relative \
		"$folder"*.proto
done
