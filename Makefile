# The commands of the project; `make help` lists them.
#
# Every target installs what it needs into .venv first; what was installed stays until pyproject.toml or
# constraints.txt change.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3.11
HOME_DIR := dagster_home
SAMPLE := $(HOME_DIR)/sample
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help install demo test check up bench clean lock chromium

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Create .venv with everything that demo, test and check need

$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) is not on the PATH; name another with PYTHON=…" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (some minutes, once)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[dev,listening,sample]"
	@touch $@

demo: install ## From spoken samples to a registered model, in one command
	@$(BIN)/python -m assets.sample.speak $(SAMPLE)
	@$(BIN)/voxline run --corpora $(SAMPLE)/corpora.yaml --profile tiny --home $(HOME_DIR)

up: install ## Dagster UI on :3000 and MLflow on :5000, until Ctrl-C
	@$(BIN)/voxline up --home $(HOME_DIR)

# One process more than there are cores: tests wait for servers, for browsers and for the programs that they start.
# Bytecode is kept, whatever the environment says: hundreds of programs start, each compiling the same modules.
# Threads that wait for others sleep, and do not spin: the cores are shared, and what is computed is small.
test: install chromium ## All tests
	env -u PYTHONDONTWRITEBYTECODE OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --numprocesses $$(( $$(nproc) < 4 ? $$(nproc) + 1 : 4 )) --dist loadfile --no-loadscope-reorder

# Tests of the pages need a browser; they skip, and say so, where there is none and we may not install one.
chromium:
	@command -v chromium > /dev/null || test "$$(id -u)" != 0 || ! command -v apt-get > /dev/null || { \
	    echo "installing Chromium for the browser tests"; \
	    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y chromium; } > /dev/null \
	        || echo "Chromium could not be installed: the browser tests will skip" >&2; }

check: install ## Lint, types, layers, layout
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/guards/layout.py

bench: install ## Measure the audio path, the decode modes and training steps
	@$(BIN)/python tests/bench/resampling.py
	@$(BIN)/python tests/bench/measures.py
	@$(BIN)/python tests/bench/beside_lhotse.py
	@$(BIN)/python tests/bench/leakage.py
	@$(BIN)/python tests/bench/scale.py --again
	@$(BIN)/python tests/bench/scale.py --rows 100000 1000000 10000000 --files 0 --steps accepted_utterances leakage training_jsonl
	@$(BIN)/python tests/bench/decoding.py
	@$(BIN)/python tests/bench/verified.py
	@$(BIN)/python tests/bench/decoding_width.py
	@$(BIN)/python tests/bench/weights.py
	@$(BIN)/python tests/bench/goldens.py
	@$(BIN)/python tests/bench/attention.py
	@$(BIN)/python tests/bench/packing.py
	@$(BIN)/python tests/bench/training.py
	@$(BIN)/python tests/bench/preflight.py

clean: ## Remove the state of local runs and all caches; .venv stays
	@find $(HOME_DIR) -mindepth 1 -maxdepth 1 ! -name dagster.yaml -exec rm -rf {} +
	@rm -rf build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# UV_FIND_LINKS would put a local version tag on torch; uv.lock would hold URLs.
lock: install ## Write constraints.txt anew (UPGRADE=--upgrade for newest versions)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check uv
	@env -u UV_FIND_LINKS $(BIN)/uv pip compile pyproject.toml --all-extras -o constraints.txt --quiet \
	    --no-header --no-annotate --universal --python-version 3.11 $(UPGRADE)
