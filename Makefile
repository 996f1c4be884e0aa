# Run "make help" for the targets. Everything that is made is in bin/ and dist/;
# what is downloaded or takes long is kept in $(CACHE), outside of the tree.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

export CGO_ENABLED := 0
export HYBRID_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hybrid
export HYBRID_SDK_BASE := $(HYBRID_CACHE)/sdk-base
export HYBRID_ENGINES := $(HYBRID_CACHE)/engines
CACHE := $(HYBRID_CACHE)

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
GO_BUILD := go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
COMMANDS := hybrid hybrid-sim hybrid-setup hybrid-device-plugin
# Without inlining the runtime for arm64 is 200 KB smaller and the shim takes 0.5 MB less
# of memory, and neither takes more time.
GO_BUILD_RUNTIME := $(GO_BUILD) -gcflags=all=-l
# The shim is a module of its own.
SHIM := cmd/containerd-shim-hybrid-v1
TOOLS := $(CACHE)/tools
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env env PATH=$(PATH))

# What is asked for, and the Debian packages that have it.
PACKAGES := qemu-system-arm:qemu-system-arm runc:runc mmdebstrap:mmdebstrap dtc:device-tree-compiler \
	arm-none-eabi-gcc:gcc-arm-none-eabi arm-none-eabi-gcc:libnewlib-arm-none-eabi xz:xz-utils strace:strace git:git

##@ First

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9.-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: setup build sdk-base ## Build hello_world with BuildKit and run it on the virtual board
	@examples/hello_world/demo.sh

.PHONY: test
test: setup build sdk-base ## Run every test
	@$(MAKE) test-unit test-build test-kernel test-kernel-6.12 test-engines-full $(if $(wildcard $(HYBRID_ENGINES)/kubernetes),test-kubernetes)

.PHONY: setup
setup: ## Install what is missing on a Debian machine (apt, once)
	@missing=; for p in $(PACKAGES); do \
		if ! command -v "$${p%%:*}" >/dev/null && ! command -v "/usr/sbin/$${p%%:*}" >/dev/null; then missing="$$missing $${p##*:}"; fi; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "==> installing with apt:$$missing"; \
		$(SUDO) apt-get update -q; \
		DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q --no-install-recommends $$missing; \
	fi

##@ Build

.PHONY: build
build: guest ## Build every command into bin/
	@echo "==> building $(COMMANDS) hybrid-runtime containerd-shim-hybrid-v1 into bin/"
	@$(GO_BUILD) -o bin/ $(COMMANDS:%=./cmd/%)
	@$(GO_BUILD_RUNTIME) -o bin/ ./cmd/hybrid-runtime
	@cd $(SHIM) && $(GO_BUILD_RUNTIME) -o $(CURDIR)/bin/ .

.PHONY: guest
guest: ## Build what runs on the virtual board into bin/linux_arm/
	@echo "==> building hybrid-runtime hybrid-setup containerd-shim-hybrid-v1 hybrid-sim-guest into bin/linux_arm/"
	@mkdir -p bin/linux_arm
	@GOOS=linux GOARCH=arm GOARM=7 $(GO_BUILD) -o bin/linux_arm/ ./cmd/hybrid-sim-guest ./cmd/hybrid-setup
	@GOOS=linux GOARCH=arm GOARM=7 $(GO_BUILD_RUNTIME) -o bin/linux_arm/ ./cmd/hybrid-runtime
	@cd $(SHIM) && GOOS=linux GOARCH=arm GOARM=7 $(GO_BUILD_RUNTIME) -o $(CURDIR)/bin/linux_arm/ .

.PHONY: sdk-base
sdk-base: $(HYBRID_SDK_BASE)/index.json ## Make the toolchain's base image, an OCI layout, from Debian's packages

$(HYBRID_SDK_BASE)/index.json: | setup build
	@echo "==> making the toolchain's base image in $(HYBRID_SDK_BASE) (once, about a minute)"
	@mkdir -p $(CACHE)
	@$(SUDO) bin/hybrid sdk base $(HYBRID_SDK_BASE) || { \
		echo "==> the packages of the lock cannot be had (make sdk-lock makes a new one): taking those of today"; \
		$(SUDO) bin/hybrid sdk base --unpinned $(HYBRID_SDK_BASE); }

.PHONY: sdk-lock
sdk-lock: setup ## Lock the packages of the toolchain's base image to those of today
	@$(SUDO) sdk/relock.sh gcc-arm-none-eabi,libnewlib-arm-none-eabi,make > sdk/base-$(shell go env GOARCH).lock.new
	@mv sdk/base-$(shell go env GOARCH).lock.new sdk/base-$(shell go env GOARCH).lock
	@sed -i "s/^const lockedOn = .*/const lockedOn = \"$$(date -u +%Y%m%dT000000Z)\"/" sdk/lock.go

.PHONY: release-snapshot
release-snapshot: $(TOOLS)/goreleaser ## Make the archives of a release in dist/, offline
	@$(TOOLS)/goreleaser release --snapshot --clean --skip=publish
	@ls -l dist/*.tar.gz dist/checksums.txt

##@ Test

GOTESTSUM = $(TOOLS)/gotestsum --format pkgname-and-test-fails --
.PHONY: test-unit
test-unit: $(TOOLS)/gotestsum ## Tests that need nothing but Go
	@echo "==> unit tests"
	@$(GOTESTSUM) ./...
	@cd $(SHIM) && $(GOTESTSUM) ./...

.PHONY: test-build
test-build: setup build sdk-base engines $(TOOLS)/gotestsum ## Tests of the builder with every BuildKit and engine (root)
	@echo "==> builds with BuildKit"
	@$(SUDO) $(GOTESTSUM) -count=1 -tags engine -timeout 20m ./builder/... ./inspect/... ./sdk/... ./test/scripts/... ./test/builders/...

.PHONY: test-engines
test-engines: setup build sdk-base engines $(TOOLS)/gotestsum ## Tests of the runtime under containerd, Docker and podman (root)
	@echo "==> engines that run containers"
	@$(SUDO) $(GOTESTSUM) -count=1 -tags engine -timeout 10m -skip '^TestCRI|^TestVirtualBoard' ./test/engines/...

.PHONY: test-engines-full
test-engines-full: setup build sdk-base engines $(HYBRID_ENGINES)/cni/usr/lib/cni/ptp $(TOOLS)/gotestsum ## test-engines, and containerd as Kubernetes asks it, also on the virtual board (root, QEMU)
	@echo "==> engines that run containers, and CRI"
	@bin/hybrid-sim fetch
	@$(SUDO) $(GOTESTSUM) -count=1 -tags engine -timeout 10m ./test/engines/...

.PHONY: test-kubernetes
test-kubernetes: setup build sdk-base engines $(HYBRID_ENGINES)/cni/usr/lib/cni/ptp $(HYBRID_ENGINES)/kubernetes $(TOOLS)/gotestsum ## Tests of firmware on a node of Kubernetes (root)
	@echo "==> Kubernetes"
	@$(SUDO) $(GOTESTSUM) -count=1 -tags kubernetes -timeout 20m ./test/kubernetes/...

# What the tests start is pinned in tools/engines; nothing of it is installed, so that
# nothing starts by itself.
BUILT := buildkitd containerd containerd-shim-runc-v2 ctr dockerd docker docker-compose newer/runc 1.7/containerd 1.7/ctr
.PHONY: engines
engines: $(BUILT:%=$(HYBRID_ENGINES)/%) $(HYBRID_ENGINES)/armhf/usr/bin/containerd $(HYBRID_ENGINES)/debian/usr/sbin/dockerd $(HYBRID_ENGINES)/podman/usr/bin/podman $(HYBRID_ENGINES)/runc/usr/sbin/runc $(HYBRID_ENGINES)/crun/usr/bin/crun ## Build or fetch the engines of the tests (once, some minutes)
	@$(MAKE) setup PACKAGES='rootlesskit:rootlesskit newuidmap:uidmap'

ENGINE_buildkitd := buildkit github.com/moby/buildkit cmd/buildkitd version.Version
ENGINE_buildctl := buildkit github.com/moby/buildkit cmd/buildctl version.Version
ENGINE_containerd := buildkit github.com/containerd/containerd/v2 cmd/containerd version.Version
ENGINE_containerd-shim-runc-v2 := buildkit github.com/containerd/containerd/v2 cmd/containerd-shim-runc-v2 version.Version
ENGINE_ctr := buildkit github.com/containerd/containerd/v2 cmd/ctr version.Version
ENGINE_1.7/containerd := containerd-1.7 github.com/containerd/containerd cmd/containerd version.Version
ENGINE_1.7/ctr := containerd-1.7 github.com/containerd/containerd cmd/ctr version.Version
ENGINE_dockerd := docker github.com/moby/moby/v2 cmd/dockerd dockerversion.Version
ENGINE_docker := docker-cli github.com/docker/cli cmd/docker cli/version.Version
ENGINE_docker-compose := docker-cli github.com/docker/compose/v5 cmd internal.Version
ENGINE_newer/runc := runc github.com/opencontainers/runc . version
# It is no module, so that the compiler takes it for Go of before modules.
FLAGS_docker := -gcflags=github.com/docker/cli/...=-lang=go1.26
# runc is C until it is in its namespaces. Debian's is too old for the newer Docker.
$(HYBRID_ENGINES)/newer/runc: export CGO_ENABLED := 1

$(HYBRID_ENGINES)/%: $(wildcard tools/engines/*/go.mod)
	@echo "==> building $* (once)"
	@mkdir -p $(@D)
	@set -- $(ENGINE_$*); cd tools/engines/$$1; version=$$(go list -m -f '{{.Version}}' $$2); \
		go build -trimpath $(FLAGS_$*) -ldflags "-s -w -X $$2/$$4=$${version#v}" -o $@ $$2/$$3

# All programs of a node of Kubernetes in one: it takes ten minutes, and is for its own tests alone.
.PHONY: kubernetes
kubernetes: $(HYBRID_ENGINES)/kubernetes ## Build the Kubernetes of test-kubernetes (once, ten minutes and more)

$(HYBRID_ENGINES)/kubernetes: tools/engines/kubernetes/go.mod tools/engines/kubernetes/main.go
	@echo "==> building Kubernetes (once)"
	@mkdir -p $(@D)
	@cd tools/engines/kubernetes; version=$$(go list -m -f '{{.Version}}' k8s.io/kubernetes); \
		stamp=k8s.io/component-base/version; numbers=$${version#v}; minor=$${numbers#*.}; \
		go build -trimpath -ldflags "-s -w -X $$stamp.gitVersion=$$version -X $$stamp.gitMajor=$${numbers%%.*} -X $$stamp.gitMinor=$${minor%%.*}" -o $@.new .
	@mv $@.new $@

# Debian's Docker is an old one, without the containerd image store.
$(HYBRID_ENGINES)/debian/usr/sbin/dockerd: LIBRARIES := libdevmapper1.02.1
$(HYBRID_ENGINES)/debian/usr/sbin/dockerd: DEBS := docker.io
# podman, with the program that it wants to find and the policy of images that it may load.
$(HYBRID_ENGINES)/podman/usr/bin/podman: LIBRARIES := libgpgme11 libdevmapper1.02.1 libseccomp2 libsubid4
$(HYBRID_ENGINES)/podman/usr/bin/podman: DEBS := podman conmon golang-github-containers-common
# What runs containers: containerd with the stock shim, runc, and a program for a Linux container.
$(HYBRID_ENGINES)/runc/usr/sbin/runc: LIBRARIES := libseccomp2
$(HYBRID_ENGINES)/runc/usr/sbin/runc: DEBS := containerd runc busybox-static
# The other runtime for Linux containers, with the library that is not on every Debian.
$(HYBRID_ENGINES)/crun/usr/bin/crun: DEBS := crun libyajl2
# What gives pods their network devices.
$(HYBRID_ENGINES)/cni/usr/lib/cni/ptp: DEBS := containernetworking-plugins

FETCHED := debian/usr/sbin/dockerd podman/usr/bin/podman runc/usr/sbin/runc crun/usr/bin/crun cni/usr/lib/cni/ptp
FETCHED := $(FETCHED:%=$(HYBRID_ENGINES)/%)
$(FETCHED): $(HYBRID_ENGINES)/%:
	@to=$(HYBRID_ENGINES)/$(firstword $(subst /, ,$*)); \
		echo "==> fetching Debian's $(firstword $(DEBS)) (once)"; \
		$(SUDO) apt-get update -q >/dev/null; \
		$(if $(LIBRARIES),DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q --no-install-recommends $(LIBRARIES) >/dev/null;) \
		rm -rf $$to.new; mkdir -p $$to.new; cd $$to.new; \
		apt-get download -q $(DEBS); \
		for deb in *.deb; do dpkg-deb -x $$deb .; rm $$deb; done; \
		rm -rf $$to; mv $$to.new $$to

# What the virtual board runs. Debian's lists for it are not the machine's, and are read
# beside them; one that a mirror has not yet is none that is needed.
APT_ARMHF = apt-get -q -o APT::Architecture=armhf -o APT::Architectures=armhf -o APT::Sandbox::User= -o Acquire::Languages=none \
	-o Dir::State::Lists=$$PWD/apt/lists -o Dir::State::Status=/dev/null -o Dir::Cache=$$PWD/apt
$(HYBRID_ENGINES)/armhf/usr/bin/containerd: tools/engines/crictl/go.mod
	@to=$(HYBRID_ENGINES)/armhf; \
		echo "==> fetching Debian's containerd for armhf, and building crictl (once)"; \
		rm -rf $$to.new; mkdir -p $$to.new/apt/lists/partial $$to.new/apt/archives/partial $$to.new/usr/bin; \
		(cd tools/engines/crictl && GOOS=linux GOARCH=arm GOARM=7 go build -trimpath -ldflags "-s -w" -o $$to.new/usr/bin/ sigs.k8s.io/cri-tools/cmd/crictl); \
		cd $$to.new; \
		$(APT_ARMHF) update >/dev/null 2>&1 || true; \
		$(APT_ARMHF) download containerd runc libc6 libseccomp2; \
		for deb in *.deb; do dpkg-deb -x $$deb .; rm $$deb; done; \
		rm -rf apt usr/share usr/lib/*/gconv $$to; touch usr/bin/containerd; mv $$to.new $$to

.PHONY: test-kernel
test-kernel: setup build $(TOOLS)/gotestsum ## Tests of the runtime on simulated and on virtual boards (root, QEMU)
	@echo "==> virtual board: what it boots is kept in $(CACHE)"
	@bin/hybrid-sim fetch
	@$(SUDO) $(GOTESTSUM) -count=1 -tags kernel -timeout 20m ./sim/... ./cmd/hybrid-sim/... ./runtime/... ./test/kernel/...

.PHONY: test-kernel-6.12
test-kernel-6.12: setup build $(TOOLS)/gotestsum ## The facts and scripts of test-kernel on a virtual board with Linux 6.12
	@echo "==> virtual board with Linux 6.12"
	@bin/hybrid-sim fetch --kernel 6.12
	@$(SUDO) env HYBRID_SIM_KERNEL=6.12 $(GOTESTSUM) -count=1 -tags kernel -timeout 20m -run 'TestVirtualBoard' ./test/kernel/...

.PHONY: fuzz
fuzz: ## Fuzz each parser of foreign bytes for FUZZTIME (30s)
	@for p in $$(grep -rlE '^func Fuzz' --include=*_test.go . | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -ohE '^func Fuzz[A-Za-z]+' $$p/*_test.go | cut -d' ' -f2); do \
			echo "==> $$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 1s $$p; \
		done; \
	done

.PHONY: bench
bench: setup build sdk-base $(HYBRID_ENGINES)/buildkitd $(HYBRID_ENGINES)/buildctl ## Measure the runtime beside runc and builds beside buildctl; prints ratios
	@[ -x /usr/bin/time ] || { $(SUDO) apt-get update -q; $(SUDO) apt-get install -y -q --no-install-recommends time; }
	@$(SUDO) go run ./test/bench $(BENCH)

.PHONY: bench-engines
bench-engines: build engines ## Measure firmware under our shim beside runc on one containerd; prints ratios
	@$(SUDO) go run ./test/bench engines

.PHONY: lint
lint: $(TOOLS)/golangci-lint $(TOOLS)/gofumpt ## Check style and what linters find
	@echo "==> linters"
	@files=$$($(TOOLS)/gofumpt -l .); if [ -n "$$files" ]; then echo "not formatted (make fmt): $$files"; exit 1; fi
	@$(TOOLS)/golangci-lint run --build-tags kernel,engine,kubernetes ./...
	@go vet -tags kernel,engine,kubernetes ./...
	@cd $(SHIM) && $(TOOLS)/golangci-lint run ./... && go vet ./...

.PHONY: fmt
fmt: $(TOOLS)/gofumpt ## Format the code
	@$(TOOLS)/gofumpt -w .

.PHONY: clean
clean: ## Remove what was made in the tree
	rm -rf bin dist

# The tools are pinned in tools/go.mod; a newer pin makes them anew.
TOOL_gotestsum := gotest.tools/gotestsum
TOOL_gofumpt := mvdan.cc/gofumpt
TOOL_golangci-lint := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
TOOL_goreleaser := github.com/goreleaser/goreleaser/v2

$(TOOLS)/%: tools/go.mod
	@echo "==> building $* (once)"
	@mkdir -p $(TOOLS)
	@cd tools && go build -o $@ $(TOOL_$*)
