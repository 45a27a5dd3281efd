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
PODS     ?= 10,1000,5000
KERNELS  ?=
LDFLAGS  := -s -w -X main.version=$(VERSION)
BUILD    := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false
BIN      := $(CURDIR)/bin
DIST     := $(CURDIR)/dist
CLUSTER  := $(BIN)/cluster
MODULES  := . test test/alerts test/browser test/kernelvm
# Packages of test/ whose tests read files outside of that module, which go test's cache does not see: they always run anew.
OUTSIDE  := ./chart ./docs ./image ./lab ./picture ./policy ./workflows

.PHONY: help
help: ## Show this list
	@awk -F':.*## ' '/^[a-z][a-z0-9-]*:.*## /{printf "  %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## What is made

.PHONY: build
build: ## Build the agent and the two programs that it starts into bin/
	$(BUILD) -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/...

.PHONY: image
image: ## Build the image (ARCHS, default amd64 and arm64) as an OCI tarball, dist/mountwarden.tar, with no Docker
	for arch in $(ARCHS); do GOARCH=$$arch $(BUILD) -ldflags '$(LDFLAGS)' -o $(DIST)/$$arch/ ./cmd/...; done
	cd test && $(GO) run ./image --ref $(IMAGE) --output $(DIST)/mountwarden.tar \
		$(foreach arch,$(ARCHS),--platform linux/$(arch)=$(DIST)/$(arch)) \
		--entrypoint /mountwarden --cmd agent --env PATH=/ --user 0 --label org.opencontainers.image.version=$(VERSION) \
		--label org.opencontainers.image.title=mountwarden --label org.opencontainers.image.licenses=Apache-2.0 \
		mountwarden:/mountwarden mountwarden-probe:/mountwarden-probe mountwarden-backend:/mountwarden-backend

.PHONY: sbom
sbom: image ## Write what the image's binaries are made of as SPDX 2.3 JSON, dist/mountwarden.spdx.json
	cd test && $(GO) run ./sbom --name mountwarden --version $(VERSION) --output $(DIST)/mountwarden.spdx.json \
		--created "$$(TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)" $(foreach arch,$(ARCHS),$(DIST)/$(arch)/*)

.PHONY: chart
chart: $(CLUSTER) ## Package the chart of a VERSION such as v1.2.3 into dist/
	rm -rf $(DIST)/chart && mkdir -p $(DIST)/chart && cp -r charts/mountwarden $(DIST)/chart/
	sed -i 's|^\( *image: .*/mountwarden\):.*|\1:$(VERSION)|' $(DIST)/chart/mountwarden/Chart.yaml
	"$$($(CLUSTER) bin helm)" package $(DIST)/chart/mountwarden --version $(VERSION:v%=%) --app-version $(VERSION) --destination $(DIST)

.PHONY: release
release: sbom chart ## Make all files of a release of VERSION and their checksums, dist/checksums.txt; publishes nothing
	for arch in $(ARCHS); do tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C $(DIST)/$$arch -cf - . | gzip -n > $(DIST)/mountwarden-$(VERSION)-linux-$$arch.tar.gz; done
	cd $(DIST) && sha256sum mountwarden.spdx.json mountwarden-$(VERSION:v%=%).tgz $(foreach arch,$(ARCHS),mountwarden-$(VERSION)-linux-$(arch).tar.gz) > checksums.txt

.PHONY: generate
generate: ## Write the generated documentation anew
	$(GO) generate ./...
	cd test && $(GO) generate ./lab ./chart ./picture

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
test: test-unit test-root test-kernel test-e2e ## Run all tests, with the set-up they need (root, Linux)

.PHONY: envtest
envtest: $(CLUSTER)
	mkdir -p $(BIN)/envtest
	for p in etcd kube-apiserver kubectl; do ln -sf "$$($(CLUSTER) bin $$p)" $(BIN)/envtest/$$p; done

.PHONY: test-unit
test-unit: envtest ## Run the tests that need no root, those of the API on a real API server
	KUBEBUILDER_ASSETS=$(BIN)/envtest $(GO) test -race $(FLAGS) ./...
	cd test/alerts && $(GO) test -count=1 $(FLAGS) ./... # go does not see when the files of other modules change
	cd test/kernelvm && $(GO) test -race -count=1 $(FLAGS) ./...

.PHONY: test-root
test-root: envtest ## Run the tests on real mounts, namespaces and processes (root)
	$(CLUSTER) build
	mkdir -p $(DIST)
	cd test && KUBEBUILDER_ASSETS=$(BIN)/envtest $(GO) test -race -timeout $(TIMEOUT) $(FLAGS) $$($(GO) list ./... | grep -vxFf <($(GO) list ./e2e $(OUTSIDE)))
	cd test && KUBEBUILDER_ASSETS=$(BIN)/envtest MOUNTWARDEN_LAB_TABLE=$(DIST)/failures.md MOUNTWARDEN_POLICY_TABLE=$(DIST)/policies.md \
		$(GO) test -count=1 -race -timeout $(TIMEOUT) $(FLAGS) $(OUTSIDE)
	cat $(DIST)/failures.md $(DIST)/policies.md

.PHONY: test-kernel
test-kernel: KERNELS = 6.1
test-kernel: test-kernels # the series that differs most from this machine's

.PHONY: test-kernels
test-kernels: ## Run the lab on other kernels, in virtual machines (root, 4 minutes each); KERNELS="5.10 6.1 6.12 7.3", UPDATE=1 writes docs/kernels.md
	cd test/kernelvm && $(BUILD) -o $(BIN)/kernelvm .
	$(BIN)/kernelvm -root $(CURDIR) -run '$(RUN)' $(if $(UPDATE),-update) $(KERNELS)

.PHONY: test-e2e
test-e2e: cluster-install lab-image hostile-image ## Run the end-to-end tests on the test cluster (root); RUN=regexp chooses, LONG=1 repeats more and lasts longer, UPDATE=-update writes goldens
	cd test && $(GO) test -race -c -o $(BIN)/e2e.test ./e2e
	cd test/lab && $(BIN)/lab.test -test.run '^TestToolsOfTheDisks$$'
	cd test/e2e && $(BIN)/e2e.test -test.run '^TestProgramsOfTheVolumes$$'
	cd test/e2e && PROMETHEUS=$$($(CLUSTER) bin prometheus) MOUNTWARDEN_E2E_LONG=$(LONG) CLUSTER=$(CLUSTER) $(CLUSTER) exec -- $(BIN)/e2e.test -test.v -test.parallel 8 -test.timeout $(TIMEOUT) -test.run '$(RUN)' $(UPDATE)

.PHONY: lab-image
lab-image: cluster-install lab-files
	$(CLUSTER) load $(DIST)/lab.tar

.PHONY: lab-files
lab-files: image # the lab's program for a container of the test cluster, beside the agent's workers
	cd test && CGO_ENABLED=0 $(GO) test -c -trimpath -o $(BIN)/lab.test ./lab
	cd test && $(GO) run ./image --ref test.local/lab:1 --output $(DIST)/lab.tar --entrypoint /lab.test $(BIN)/lab.test:/lab.test \
		$(foreach p,mountwarden-probe mountwarden-backend,$(DIST)/$(shell $(GO) env GOARCH)/$p:/$p)

.PHONY: hostile-image
hostile-image: cluster-install # what tenants try against the agent, beside a shell's unshare
	cd test && $(BUILD) -o $(DIST)/hostile ./hostile
	cd test && $(GO) run ./image --ref test.local/hostile:1 --output $(DIST)/hostile.tar --entrypoint /hostile \
		$(DIST)/hostile:/hostile "$$(command -v busybox)":/bin/busybox
	$(CLUSTER) load $(DIST)/hostile.tar

.PHONY: test-browser
test-browser: ## Test the status page in chromium, where there is one (needs npm for axe-core); screenshots in dist/screenshots
	mkdir -p $(BIN)/axe && cp test/browser/package.json test/browser/package-lock.json $(BIN)/axe/
	cd $(BIN)/axe && npm ci --ignore-scripts --no-audit --no-fund
	cd test/browser && AXE=$(BIN)/axe/node_modules/axe-core/axe.min.js MOUNTWARDEN_SCREENSHOTS=$(DIST)/screenshots $(GO) test -count=1 -v $(FLAGS) .

.PHONY: screenshots
screenshots: test-browser ## Take the screenshots of the documentation anew
	for c in light dark; do cp $(DIST)/screenshots/$$c-wide.png docs/images/status-$$c.png; done

.PHONY: fuzz
fuzz: ## Fuzz every parser, FUZZTIME (default 30s) each; RUN=regexp chooses
	grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | sort | grep -E '$(RUN)' | while IFS=: read -r file target; do \
		(cd "$$(dirname "$$file")" && $(GO) test -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x . </dev/null) || exit; done

.PHONY: bench
bench: build $(CLUSTER) ## Measure cost and speed of the agent (root, 20 minutes); BENCH=--short only tries it; results in bin/bench.json
	cd test && $(BUILD) -o $(BIN)/bench ./bench
	$(BIN)/bench --agent $(BIN)/mountwarden --worker $(BIN)/mountwarden-probe --etcd "$$($(CLUSTER) bin etcd)" \
		--kube-apiserver "$$($(CLUSTER) bin kube-apiserver)" --output $(BIN)/bench.json $(BENCH)

.PHONY: bench-policies
bench-policies: envtest ## Time evictions with the admission policies and without, in namespaces of PODS (5 minutes)
	cd test && MOUNTWARDEN_POLICY_COST=$(PODS) $(GO) test -count=1 -v -timeout $(TIMEOUT) -run TestCostOfAnEviction ./policy

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

.PHONY: verify-reproducible
verify-reproducible: ## Build binaries and image twice, in two folders and the second time with nothing cached: the digests must be the same
	tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; mkdir -p "$$tmp/one" "$$tmp/second/folder"; \
	for dir in "$$tmp/one" "$$tmp/second/folder"; do \
		git ls-files -z | xargs -0 cp --parents -t "$$dir"; \
		case $$dir in */folder) export GOCACHE="$$tmp/cache";; esac; \
		$(MAKE) --no-print-directory -C "$$dir" image VERSION=$(VERSION) ARCHS="$(ARCHS)" >/dev/null; \
		(cd "$$dir/dist" && find . -type f | sort | xargs sha256sum) > "$$tmp/digests.$$(basename "$$dir")"; \
	done; \
	diff "$$tmp/digests.one" "$$tmp/digests.folder" && cat "$$tmp/digests.one"

.PHONY: vulnerabilities
vulnerabilities: ## Look for known vulnerabilities in what the agent calls; needs https://vuln.go.dev
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

.PHONY: presubmit
presubmit: verify lint test-unit test-root test-kernels test-browser test-e2e ## Everything that a change must pass
