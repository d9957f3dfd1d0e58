# `make` lists the verbs. All of them keep to this folder, except that ZooKeeper, Java, python3-venv and, for the
# tests, monitoring-plugins are asked of the system's package manager where they are missing.

BIN := .venv/bin
ARGS ?=
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs fuzz chaos clean

help: ## List the verbs
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

demo: .venv/.user ## Run zkalert on this machine: ZooKeeper, sampler, engine, live table; Ctrl-C ends it
	@.ci/setup zookeeper
	@state=$$(mktemp -d) && trap : INT && $(BIN)/zkalert up --config examples/demo/zkalert.yaml --state-dir "$$state"; \
	code=$$?; rm -rf "$$state"; exit $$code

test: .venv/.dev ## Run the tests, with what they need installed first (ARGS="-k name" picks some)
	@.ci/setup zookeeper
	@.ci/setup plugins
	@.ci/setup kafka
	@$(if $(ARGS),$(BIN)/python -m pytest $(ARGS),.ci/test)

check: .venv/.dev ## Lint, formatting, types, layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: .venv/.dev ## Measure: how long an alert takes, how much a host and a rule cost
	@.ci/setup zookeeper
	@.ci/setup bench
	@$(BIN)/python -m tests.benchmarks $(ARGS)

docs: .venv/.dev ## Write the pages in docs/, of the schemas and what stands in docs/source
	@$(BIN)/python -m tests.docs

fuzz: .venv/.dev ## Feed every loader with broken files for FUZZ_SECONDS (ARGS="rules" picks one)
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

chaos: .venv/.dev ## Kill engines and servers while 2,000 alerts fire and resolve; ARGS="--seed 7" for another run
	@.ci/setup zookeeper
	@$(BIN)/python -m tests.chaos $(ARGS)

clean: ## Remove .venv, caches and what was built
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/.user: pyproject.toml .ci/setup
	@.ci/setup user

.venv/.dev: pyproject.toml .ci/setup
	@.ci/setup dev
