# Tasks of the project, for people and for CI. `make help` lists them.
#
# What is built and can be built again at leisure is kept outside the checkout, so that a fresh clone builds only what
# changed. CACHE=folder puts it elsewhere; CARGO_TARGET_DIR is respected.

SHELL := /bin/sh
.DEFAULT_GOAL := help

XDG_CACHE_HOME ?= $(HOME)/.cache
CACHE ?= $(XDG_CACHE_HOME)/lyredb
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_QUIET := 1
export PYO3_PYTHON := $(CURDIR)/.venv/bin/python

BIN := .venv/bin
NATIVE_SOURCES := $(shell find crates -name '*.rs' -o -name '*.toml') Cargo.toml Cargo.lock pyproject.toml
BUILD = CARGO_INCREMENTAL=0 $(BIN)/maturin develop --release --locked --quiet

# Where the tests note how much they tried.
export LYREDB_TALLY := $(CURDIR)/.tally

# Arguments for the program that a task runs: make demo ARGS=--quick, make test ARGS='-k scan'.
ARGS ?=

.PHONY: help
help: ## This list
	@echo "make TASK [ARGS='...']"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1:\2/p' $(MAKEFILE_LIST) | awk -F: '{ printf "%-14s %s\n", $$1, $$2 }'

.PHONY: demo
demo: .venv/.demo ## A workload that shifts, tuned while it runs, beside the default and fixed presets (under five minutes)
	$(BIN)/lyredb demo $(ARGS)

.PHONY: test
test: ## All tests, and what they tried (LYREDB_TEST_EFFORT=0.1 for a quick look, 100 for a night)
	@sh scripts/requirements.sh fuzz >/dev/null
	@rm -f $(LYREDB_TALLY)
	$(MAKE) --no-print-directory test-rust test-fuzz test-python
	$(BIN)/python scripts/tally.py $(LYREDB_TALLY)

.PHONY: test-rust
test-rust: .venv/.python ## The engine's tests
	$(BIN)/python scripts/cargo_test.py --locked --package lyredb-engine
	$(BIN)/python scripts/cargo_test.py --locked --package lyredb-engine --features small-pages --test model
	$(BIN)/python scripts/cargo_test.py --locked --package lyredb-engine --features shuttle,small-pages --lib schedules
	$(BIN)/python scripts/cargo_test.py --locked --package lyredb-engine --features loom --lib orderings

# Ten million images take LYREDB_TEST_EFFORT=100. LYREDB_TEST_CUT, as a failure tells it, repeats that failure.
.PHONY: test-crash
test-crash: .venv/.python ## Power cuts alone, with their progress (LYREDB_TEST_EFFORT=100 for ten million)
	$(BIN)/python scripts/cargo_test.py --locked --package lyredb-engine --test crash -- --nocapture $(ARGS)

.PHONY: test-fuzz
test-fuzz: .venv/.python ## A minute of fuzzing, after the build of the fuzzers
	@sh scripts/requirements.sh fuzz >/dev/null
	$(BIN)/python scripts/fuzz.py

.PHONY: fuzz
fuzz: .venv/.python ## Fuzzing for as long as it is told: make fuzz ARGS='--seconds 3600'
	@sh scripts/requirements.sh fuzz >/dev/null
	$(BIN)/python scripts/fuzz.py $(ARGS)

.PHONY: test-python
test-python: .venv/.test ## The package's tests, with the examples in README, docs and docstrings
	PYTHONPATH=scripts $(BIN)/pytest -p no_silent_suite $(ARGS)

.PHONY: test-long
test-long: .venv/.test ## The tests that take longer than a few seconds each
	PYTHONPATH=scripts $(BIN)/pytest -p no_silent_suite -m long $(ARGS)

.PHONY: lint
lint: lint-rust lint-python ## Formatting, linters, types

.PHONY: lint-rust
lint-rust: .venv/.python
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --manifest-path fuzz/Cargo.toml --locked --quiet -- -D warnings
	cargo clippy --package lyredb-engine --lib --features shuttle,small-pages --locked --quiet -- -D warnings
	cargo clippy --package lyredb-engine --lib --features loom --locked --quiet -- -D warnings

.PHONY: lint-python
lint-python: .venv/.lint
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m mypy.stubtest lyredb._engine

.PHONY: format
format: .venv/.lint ## Format all code
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

.PHONY: bench
bench: .venv/.bench ## LyreDB beside other stores (docs/benchmarks.md says what it takes)
	$(BIN)/python -m benches $(ARGS)

.PHONY: bench-tiers
bench-tiers: .venv/.bench ## The same with data larger than memory (ARGS='--data FOLDER' keeps what was loaded)
	$(BIN)/python -m benches.tiers $(ARGS)

.PHONY: docs
docs: .venv/.test ## Make the pages again that are made from the code
	$(BIN)/lyredb tunables --markdown > docs/tunables.md
	$(BIN)/python -m lyredb.telemetry.page docs/telemetry.md

.PHONY: wheel
wheel: .venv/.python ## A wheel in dist/, tried in an empty environment without Rust
	rm -rf dist
	CARGO_INCREMENTAL=0 $(BIN)/maturin build --release --locked --quiet --out dist
	sh scripts/test_wheel.sh $(BIN)/python dist/*.whl

.PHONY: clean
clean: ## Remove what was built in the checkout
	rm -rf .venv .tally dist lyredb-demo lyredb/_engine*.so lyredb/_engine*.pyd .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

.PHONY: clean-cache
clean-cache: ## Remove the build cache too
	rm -rf "$(CACHE)"

# --- set-up

.venv/.python: scripts/requirements.sh
	@python=$$(sh scripts/requirements.sh) && echo "making .venv with $$python" && "$$python" -m venv .venv
	@$(BIN)/pip install --quiet 'maturin>=1.9,<2'
	@touch $@

# The native module and the package, in place, with the packages that a task needs.
.venv/.demo: EXTRAS := demo
.venv/.test: EXTRAS := demo,test
.venv/.lint: EXTRAS := demo,test,lint
.venv/.bench: EXTRAS := bench
.venv/.demo .venv/.test .venv/.lint .venv/.bench: .venv/.python $(NATIVE_SOURCES)
	@sh scripts/requirements.sh >/dev/null
	@echo "building the engine, and installing what lyredb[$(EXTRAS)] needs"
	@. $(BIN)/activate && $(BUILD) --extras $(EXTRAS)
	@touch $@
