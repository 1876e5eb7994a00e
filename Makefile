# Every target does its own set-up, on a fresh Debian machine too: where packages or Go
# are missing it needs root. "make help" lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-print-directory

# Where administrators' programs and Go are, should PATH lack them.
export PATH := /usr/local/go/bin:$(PATH):/usr/sbin:/sbin
export CGO_ENABLED := 1# SQLite is C

VERSION ?= $(shell setup/packaging/version.sh)
FUZZTIME ?= 10s
CONFIG ?= appliance.toml
FIRMWARE ?= bios
# The iPXE binaries, and the Linux kernels that the boot tests boot.
export FARMBOOT_TEMPLATE ?= /opt/ipxe-template
export FARMBOOT_TEST_KERNELS ?= /var/cache/farmboot-test
# No test may be left out because something is missing.
export FARMBOOT_TEST_ALL := 1

GOFILES = $(shell git ls-files -co --exclude-standard '*.go')
E2E = $(sort $(addprefix ./,$(dir $(shell git grep -lE '^//go:build e2e' -- '*_test.go'))))
TOOL = go tool -modfile=setup/tools.mod
TEST = $(TOOL) gotestsum --format pkgname --format-hide-empty-pkg --jsonfile

.PHONY: build run test unit e2e strain secureboot uploads kills objectstore browser screenshots race fuzz bench cover lint fmt demo template testkernels doctor package package-test clean help

build: ## Build bin/farmboot
	@setup/packages.sh build
	go build -buildvcs=false -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/ ./cmd/farmboot

run: build template ## Set everything up and run the daemon (as root; CONFIG=file)
	bin/farmboot serve --config $(CONFIG)

test: build ## Set up and run all tests: unit tests with the race detector, a short fuzz run, real boots
	@$(MAKE) unit
	@$(MAKE) fuzz FUZZTIME=2000x
	@$(MAKE) e2e
	@$(MAKE) uploads
	@$(MAKE) browser
	@setup/count.sh bin/unit.json bin/e2e.json bin/browser.json

unit: ## Unit tests with the race detector, in random order
	@setup/packages.sh unit
	@$(MAKE) template
	go vet ./...
	@mkdir -p bin
	$(TEST) bin/unit.json -- -race -shuffle=on -timeout 20m ./...

race: unit ## The same as unit

e2e: build ## Boot machines in QEMU through the built program, in network namespaces (as root)
	@setup/packages.sh test
	@$(MAKE) template testkernels
	@mkdir -p bin
	$(TOOL) gotestsum --format testname --jsonfile bin/e2e.json -- -tags e2e -count=1 -p 1 -timeout 25m -skip '^TestStrain' $(E2E)

strain: build ## Boot machines while somebody floods the LAN, and on LANs with faults; some 30 minutes (as root)
	@setup/packages.sh test
	@$(MAKE) template testkernels
	@mkdir -p bin
	$(TOOL) gotestsum --format testname --jsonfile bin/strain.json -- -tags e2e -count=1 -timeout 120m -run '^TestStrain' ./cmd/farmboot/e2e

uploads: ## Try each refused upload 100 times, from three kinds of client
	@setup/packages.sh test
	@$(MAKE) template
	go test -count=1 -timeout 10m -run TestRefusalsAreReadWhole ./cmd/farmboot -tries 100

kills: ## Kill farmboot 100 times while it gives a run mode another kernel
	@setup/packages.sh test
	@$(MAKE) template
	go test -count=1 -timeout 15m -run 'TestKilled$$' ./cmd/farmboot -kills 100

objectstore: ## Take kernels from an object store that speaks S3, which is built first
	@setup/packages.sh unit
	@$(MAKE) template
	go test -tags objectstore -count=1 -timeout 20m -run 'TestObjectStore$$' ./cmd/farmboot

secureboot: build ## Boot machines with Secure Boot on, in every way; some 20 minutes (as root)
	@setup/packages.sh test
	@$(MAKE) template testkernels
	@setup/virtfirmware.sh $(FARMBOOT_TEST_KERNELS)
	@mkdir -p bin
	$(TOOL) gotestsum --format testname --jsonfile bin/secureboot.json -- -tags e2e,secureboot -count=1 -timeout 90m -run 'SecureBoot|Enrol' ./cmd/farmboot/e2e

browser: build ## Use the web pages with Chromium, and have axe-core judge them
	@setup/packages.sh test
	@$(MAKE) template
	@mkdir -p bin
	FARMBOOT_AXE="$$(setup/axe.sh)" $(TOOL) gotestsum --format testname --jsonfile bin/browser.json -- -tags browser -count=1 -timeout 15m ./http/pages

screenshots: ## Make the pictures of the web pages in setup/docs
	@setup/packages.sh test
	@$(MAKE) template
	go test -tags browser,screenshots -count=1 -run TestScreenshots ./http/pages -screenshots "$(CURDIR)/setup/docs"

fuzz: ## Run every fuzz target for FUZZTIME=10s
	@setup/packages.sh unit
	@$(MAKE) template
	@setup/fuzz.sh $(FUZZTIME)

bench: build ## Measure beside nginx and dnsmasq, as root (ONLY=section[,section], BESIDE=another farmboot)
	@setup/packages.sh bench
	@$(MAKE) template
	go run ./setup/bench -template $(FARMBOOT_TEMPLATE) -only '$(ONLY)' -beside '$(BESIDE)'

cover: ## Test coverage, as bin/cover.html
	@setup/packages.sh unit
	@$(MAKE) template
	@mkdir -p bin
	go test -coverprofile=bin/cover.out -coverpkg=./... ./...
	go tool cover -func=bin/cover.out | tail -n 1
	go tool cover -html=bin/cover.out -o bin/cover.html

lint: ## Formatting, go vet, staticcheck, module files, shell scripts
	@setup/packages.sh build
	@unformatted=$$($(TOOL) gofumpt -l $(GOFILES)); [ -z "$$unformatted" ] || { echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go vet -tags e2e,browser,secureboot,packages,objectstore ./...
	$(TOOL) staticcheck -tags e2e,browser,secureboot,packages,objectstore ./...
	go mod verify
	@for f in .ci/run $$(git ls-files -co --exclude-standard '*.sh'); do sh -n $$f; done

fmt: ## Format all Go files
	$(TOOL) gofumpt -w $(GOFILES)

demo: build ## Boot a machine through the appliance on a virtual LAN, and show its console (as root; FIRMWARE=bios or uefi)
	@setup/packages.sh demo
	@$(MAKE) template
	@setup/testkernel.sh $(FARMBOOT_TEST_KERNELS) amd64
	go run ./setup/lab/demo -firmware '$(FIRMWARE)'

template: ## Gather the iPXE binaries in /opt/ipxe-template
	@setup/template.sh $(FARMBOOT_TEMPLATE)

testkernels: ## Gather the Linux kernels that the boot tests boot
	@setup/testkernel.sh $(FARMBOOT_TEST_KERNELS)

doctor: build ## Look for what would stop a node from booting here
	bin/farmboot doctor --config $(CONFIG)

package: ## Make archives, packages and images in dist/, as root (PARTS="tar deb rpm oci appliance" for some)
	@setup/packages.sh package
	@setup/packaging/package.sh $(PARTS)

package-test: package ## Install, use, upgrade and remove what package made, on fresh systems (as root)
	@setup/packages.sh package-test
	@$(MAKE) template testkernels
	@setup/packaging/roots.sh $(FARMBOOT_TEST_KERNELS)
	VERSION='$(VERSION)' FARMBOOT_TEST_ROOTS=$(FARMBOOT_TEST_KERNELS) $(TOOL) gotestsum --format testname -- -tags packages -count=1 -p 1 -timeout 60m ./setup/packaging

clean: ## Remove what was built
	rm -rf bin dist

help: ## List the targets
	@sed -nE 's/^([a-z0-9-]+):[^#]*## (.*)/\1\t\2/p' Makefile | expand -t 14
