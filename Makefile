# make run   build, fetch what is needed, serve the starter models, say what to type next
# make test  everything that must hold, in under 15 minutes; make hurt, make bench: see docs/ARCHITECTURE.md
SHELL := /bin/bash
GO    ?= go
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
# Google's storage client without its gRPC side, which nothing here uses: 13 MB less. See docs/decisions/0013.
export GOFLAGS := $(GOFLAGS) -tags=disable_grpc_modules

.PHONY: build run test hurt bench lint fuzz

build:
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/serval ./cmd/serval

run: build
	@bin/serval model pull starter --models models
	@exec bin/serval serve --models models --hello

lint:
	@test -z "$$(git ls-files '*.go' | xargs gofmt -l)" || { echo 'gofmt would change:'; git ls-files '*.go' | xargs gofmt -l; exit 1; }
	@CGO_ENABLED=0 $(GO) vet ./...
	@CGO_ENABLED=0 $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

test:
	@test/run.sh

hurt: build
	@test/hurt.sh $(GROUP)

bench: build
	@$(GO) run ./bench/compare -write docs/benchmarks.md

fuzz:
	@test/fuzz.sh
