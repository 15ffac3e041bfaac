# Two commands: `make run` and `make test`. Each sets up what is missing, says what it installs, and tells how long it took.
SHELL := /bin/bash
SWIFT_FLAGS := --explicit-target-dependency-import-check error
PYTHON := .build-venv/bin/python
RELEASE := swift build -c release $(SWIFT_FLAGS) --product supervisor && swift build -c release $(SWIFT_FLAGS) --product ipworker

.PHONY: run build test unit lint format bench fuzz crash-matrix chaos upgrade sanitize setup setup-test install uninstall clean

# SwiftPM compiles some targets again on every call from make: a start with nothing new does not ask it.
STAMP := .build/run-stamp
run: setup
	@if [ ! -e $(STAMP) ] || [ -n "$$(find Package.swift Sources -newer $(STAMP) -print -quit)" ]; then \
	  start=$$SECONDS; $(RELEASE) && touch $(STAMP) && echo "built in $$((SECONDS - start)) s"; fi \
	  && exec .build/release/supervisor run --config deploy/dev.yaml

build: setup
	$(RELEASE)

test: setup-test
	@start=$$SECONDS; $(RELEASE) \
	  && OWLAT_BIN=$(CURDIR)/.build/release OWLAT_PYTHON=$(CURDIR)/$(PYTHON) deploy/dev/test.sh $(SWIFT_FLAGS) \
	  && deploy/dev/check-lua.sh && echo "make test took $$((SECONDS - start)) s"

# Without the scenarios that start the real programs.
unit: setup-test
	swift test $(SWIFT_FLAGS) --skip IntegrationTests

lint:
	swift format lint --strict --recursive --parallel Package.swift Sources Tests Benchmarks
	deploy/dev/check-layering.sh

format:
	swift format --in-place --recursive --parallel Package.swift Sources Tests Benchmarks

bench: setup-test
	$(RELEASE) && swift build -c release $(SWIFT_FLAGS) --product mailbench
	OWLAT_BIN=$(CURDIR)/.build/release $(PYTHON) Benchmarks/bench.py

# Each part killed, stopped and cut off at each place of a message's way: CELLS is all, 3/8 (a slice) or part of a cell's name.
crash-matrix: setup-test
	$(RELEASE)
	OWLAT_BIN=$(CURDIR)/.build/release OWLAT_CRASH_CELLS='$(or $(CELLS),all)' swift test $(SWIFT_FLAGS) --no-parallel --filter CrashMatrixTests

# Random blows under load; the same SEED strikes the same.
chaos: setup-test
	$(RELEASE)
	OWLAT_BIN=$(CURDIR)/.build/release OWLAT_CHAOS_KILLS=$(or $(KILLS),1000) OWLAT_CHAOS_MESSAGES=$(or $(MESSAGES),50000) \
	  OWLAT_SEED=$(or $(SEED),7) swift test $(SWIFT_FLAGS) --no-parallel --filter ChaosTests

# The programs of the revision FROM, and then this tree's in their place.
upgrade: setup-test
	$(RELEASE)
	OWLAT_BIN=$(CURDIR)/.build/release deploy/dev/upgrade.sh '$(FROM)' $(SWIFT_FLAGS)

# Each reader of remote or stored octets, FUZZ_SECONDS long.
fuzz: setup
	deploy/dev/fuzz.sh $(or $(FUZZ_SECONDS),10)

# The unit suite under the address and the thread sanitizer, each in a build of its own.
sanitize: setup-test
	deploy/dev/sanitize.sh

setup:
	@deploy/dev/setup.sh

setup-test:
	@deploy/dev/setup.sh --test

# Into PREFIX (/usr) below DESTDIR; BIN= installs programs that are built already. Says what it does.
PREFIX ?= /usr
install:
	@[ -n "$(BIN)" ] || $(MAKE) --no-print-directory build
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" BIN="$(or $(BIN),.build/release)" deploy/install.sh install

uninstall:
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" deploy/install.sh uninstall

clean:
	rm -rf .build .build-venv
