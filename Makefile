# Every target has a one-line description after ##; `make help` shows them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
ARCHS    ?= amd64 arm64
IMAGE    ?= mountwarden:dev
RUN      ?= .
TIMEOUT  ?= 40m
FUZZTIME ?= 30s
LDFLAGS  := -s -w -X main.version=$(VERSION)
BUILD    := CGO_ENABLED=0 $(GO) build -trimpath
BIN      := $(CURDIR)/bin
DIST     := $(CURDIR)/dist
CLUSTER  := $(BIN)/cluster
MODULES  := . test test/alerts

.PHONY: help
help: ## Show this list
	@awk -F':.*## ' '/^[a-z][a-z0-9-]*:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## What is made

.PHONY: build
build: ## Build the agent and the two programs that it starts into bin/
	$(BUILD) -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/...

.PHONY: image
image: ## Build the image (ARCHS, default amd64 and arm64) as an OCI tarball, dist/mountwarden.tar, with no Docker
	for arch in $(ARCHS); do GOARCH=$$arch $(BUILD) -ldflags '$(LDFLAGS)' -o $(DIST)/$$arch/ ./cmd/...; done
	cd test && $(GO) run ./image --ref $(IMAGE) --output $(DIST)/mountwarden.tar \
		$(foreach arch,$(ARCHS),--platform linux/$(arch)=$(DIST)/$(arch)) \
		--entrypoint /mountwarden --cmd agent --user 0 --label org.opencontainers.image.version=$(VERSION) \
		--label org.opencontainers.image.title=mountwarden --label org.opencontainers.image.licenses=Apache-2.0 \
		mountwarden:/mountwarden mountwarden-probe:/mountwarden-probe mountwarden-backend:/mountwarden-backend

.PHONY: generate
generate: ## Write the generated documentation anew
	$(GO) generate ./...
	cd test && $(GO) generate ./lab ./chart

## The test cluster: a real one-node Kubernetes, no Docker, root only

.PHONY: cluster-up
cluster-up: $(CLUSTER) ## Build (the first time) and start the test cluster
	$(CLUSTER) up

.PHONY: cluster-down
cluster-down: $(CLUSTER) ## Stop the test cluster; nothing of it stays but its cache
	$(CLUSTER) down

.PHONY: cluster-install
cluster-install: ARCHS = $(shell $(GO) env GOARCH)
cluster-install: cluster-up image ## Install the chart and the test CSI driver in the test cluster
	cd test && $(BUILD) -o $(DIST)/csidriver ./csidriver/cmd/csidriver
	cd test && $(GO) run ./image --ref test.local/csidriver:1 --output $(DIST)/csidriver.tar --entrypoint /csidriver $(DIST)/csidriver:/csidriver
	$(CLUSTER) load $(DIST)/mountwarden.tar $(DIST)/csidriver.tar
	$(CLUSTER) kubectl apply -f test/csidriver/manifests/csidriver.yaml -f test/csidriver/manifests/daemonset.yaml
	$(CLUSTER) exec -- helm upgrade --install mountwarden charts/mountwarden --namespace mountwarden --create-namespace \
		--set image.repository=$(firstword $(subst :, ,$(IMAGE))) --set image.tag=$(lastword $(subst :, ,$(IMAGE))) --set image.pullPolicy=Never
	$(CLUSTER) kubectl -n mountwarden rollout restart daemonset/mountwarden
	$(CLUSTER) kubectl -n csi-faultfs rollout restart daemonset/csidriver
	$(CLUSTER) kubectl -n csi-faultfs rollout status daemonset/csidriver --timeout=120s
	$(CLUSTER) kubectl -n mountwarden rollout status daemonset/mountwarden --timeout=120s

$(CLUSTER): FORCE
	cd test && $(BUILD) -o $@ ./cluster

.PHONY: FORCE
FORCE:

.PHONY: demo
demo: cluster-install ## Show it: break a mount under a running pod and watch the pod being replaced
	cd test && $(BUILD) -o $(BIN)/demo ./demo
	$(CLUSTER) exec -- $(BIN)/demo

## Tests

.PHONY: test
test: test-unit test-root test-e2e ## Run all tests, with the set-up they need (root, Linux)

.PHONY: envtest
envtest: $(CLUSTER)
	mkdir -p $(BIN)/envtest
	for p in etcd kube-apiserver kubectl; do ln -sf "$$($(CLUSTER) bin $$p)" $(BIN)/envtest/$$p; done

.PHONY: test-unit
test-unit: envtest ## Run the tests that need no root, those of the API on a real API server
	KUBEBUILDER_ASSETS=$(BIN)/envtest $(GO) test -race $(FLAGS) ./...
	cd test/alerts && $(GO) test -count=1 $(FLAGS) ./... # go does not see when the files of other modules change

.PHONY: test-root
test-root: envtest ## Run the tests on real mounts, namespaces and processes (root)
	$(CLUSTER) build
	mkdir -p $(DIST)
	cd test && KUBEBUILDER_ASSETS=$(BIN)/envtest MOUNTWARDEN_LAB_TABLE=$(DIST)/failures.md MOUNTWARDEN_POLICY_TABLE=$(DIST)/policies.md \
		MOUNTWARDEN_CHARTS_SUM="$$(find ../charts -type f -print0 | sort -z | xargs -0 cat | sha256sum)" \
		$(GO) test -race -timeout $(TIMEOUT) $(FLAGS) $$($(GO) list ./... | grep -v /e2e)
	for table in $(DIST)/failures.md $(DIST)/policies.md; do [ ! -e $$table ] || cat $$table; done # none where nothing had to be tested anew

.PHONY: test-e2e
test-e2e: cluster-install ## Run the end-to-end tests on the test cluster (root); RUN=regexp chooses, LONG=1 repeats more
	cd test && $(GO) test -race -c -o $(BIN)/e2e.test ./e2e
	cd test/e2e && MOUNTWARDEN_E2E_LONG=$(LONG) CLUSTER=$(CLUSTER) $(CLUSTER) exec -- $(BIN)/e2e.test -test.v -test.parallel 8 -test.timeout $(TIMEOUT) -test.run '$(RUN)'

.PHONY: fuzz
fuzz: ## Fuzz every parser, FUZZTIME (default 30s) each; RUN=regexp chooses
	grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | sort | grep -E '$(RUN)' | while IFS=: read -r file target; do \
		(cd "$$(dirname "$$file")" && $(GO) test -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x . </dev/null) || exit; done

.PHONY: bench
bench: build $(CLUSTER) ## Measure cost and speed of the agent (root, 20 minutes); BENCH=--short only tries it; results in bin/bench.json
	cd test && $(BUILD) -o $(BIN)/bench ./bench
	$(BIN)/bench --agent $(BIN)/mountwarden --worker $(BIN)/mountwarden-probe --etcd "$$($(CLUSTER) bin etcd)" \
		--kube-apiserver "$$($(CLUSTER) bin kube-apiserver)" --output $(BIN)/bench.json $(BENCH)

.PHONY: storm
storm: $(CLUSTER) ## Simulate storms and crashing agents on a real API server; STORM="--short" is quick; results in bin/storm.json
	cd test && $(BUILD) -o $(BIN)/storm ./storm
	$(BIN)/storm --etcd "$$($(CLUSTER) bin etcd)" --kube-apiserver "$$($(CLUSTER) bin kube-apiserver)" \
		--output $(BIN)/storm.json --log $(BIN)/storm.log $(STORM)

## Before a change is offered

.PHONY: lint
lint: $(CLUSTER) ## Run the pinned golangci-lint on every module
	$(CLUSTER) build golangci-lint
	linter=$$($(CLUSTER) bin golangci-lint); for m in $(MODULES); do (cd $$m && $$linter run --config $(CURDIR)/.golangci.yml ./...); done

.PHONY: verify
verify: ## Check formatting, generated files, go.mod files and the figures to live within
	cd test && $(GO) run ./verify ..
	for m in $(MODULES); do (cd $$m && $(GO) mod tidy -diff && $(GO) vet ./...); done

.PHONY: presubmit
presubmit: verify lint test ## Everything that a change must pass
