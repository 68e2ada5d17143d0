# Every target does all of its own set-up: the first one makes .venv from requirements.lock.
# `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := .venv/bin
READY := .venv/.ready

# With this set, our own modules would be compiled anew by each of the many processes of a grid.
unexport PYTHONDONTWRITEBYTECODE

$(READY): requirements.lock pyproject.toml scripts/setup scripts/installing
	@scripts/setup

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(READY) ## a hub and agents on this machine, real jobs, three kill -9, one agent that cheats
	@$(BIN)/crowdgrid demo

.PHONY: test
test: $(READY) ## the whole test suite, PostgreSQL included, with coverage
	@scripts/test

.PHONY: lint
lint: $(READY) ## style, imports and the arrows between packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache --no-logo

.PHONY: format
format: $(READY) ## let ruff repair what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: type
type: $(READY) ## strict types
	@$(BIN)/mypy

.PHONY: bench
bench: $(READY) ## measure; writes docs/benchmarks.md
	@$(BIN)/python -m benchmarks

.PHONY: bench-peers
bench-peers: $(READY) ## measure beside Dask, Ray, Celery, Parsl; writes docs/benchmarks-peers.md
	@scripts/setup-peers
	@$(BIN)/python -m benchmarks.peers $(ARGS)

SIM_SCENARIOS := storm churn churn-wide partitions liars sleepers sybil idlers
.PHONY: sim
sim: $(READY) ## 208 seeds of the simulated crowd; SIM_SEED=… for others
	@$(BIN)/crowdgrid simulate $(SIM_SCENARIOS) --runs 26 --seed $(or $(SIM_SEED),1) --processes "$$(nproc)"

.PHONY: experiments
experiments: $(READY) ## the five experiments; writes docs/experiments/
	@$(BIN)/python -m experiments

.PHONY: docs
docs: $(READY) ## build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: contract
contract: $(READY) ## write the published contract of the links into docs/protocol/
	@$(BIN)/python -m crowdgrid.protocol.contract docs/protocol

.PHONY: lock
lock: $(READY) ## resolve requirements.lock anew from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --group dev --all-extras --generate-hashes --no-emit-index-url \
		--python-version 3.11 --universal --upgrade --quiet --output-file requirements.lock

.PHONY: kernels
kernels: ## rebuild the example programs (needs clang-14, lld-14, wasi-libc)
	@scripts/kernels build

.PHONY: kernels-check
kernels-check: ## rebuild them aside and compare with the committed bytes
	@scripts/kernels check

.PHONY: clean
clean: ## remove .venv and everything built
	@rm -rf .venv .venv-other .venv-peers site build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
