# What people type. Everything happens inside .venv; nothing outside this folder is touched.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := 1
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-all lint types docs ui data bench clean clean-runs

help:  ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(STAMP)  ## create .venv and install (2 minutes, once)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "wanted: $(PYTHON) (make PYTHON=/path/to/python3.11)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs,sweep,export]'
	@touch $@

demo: $(STAMP)  ## train on spoken digits and show the result (about a minute)
	$(BIN)/python src/train.py model=gru data=speech trainer=demo

test: $(STAMP) lint types  ## lint, types and the fast lane: all that protects a claim (5 minutes)
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

test-slow: $(STAMP)  ## the slow lane: full products, browsers, servers, pages and studies typed as a whole
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow

test-all: test test-slow  ## both lanes

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

docs: $(STAMP)  ## build the book (about 20 seconds, no network)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict -f docs/book/mkdocs.yml
	@echo "open  build/docs/index.html"

ui: $(STAMP)  ## open the runs in MLflow (loopback only)
	@echo "open one of these when the server is up (Ctrl+C ends it; RNNLAB_ROOT=FOLDER shows the runs there)"
	@$(BIN)/python -m rnnlab.commands.ui

data: $(STAMP)  ## fetch and prepare all data sets by DVC
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro

bench: $(STAMP)  ## time us beside others, A B A B (20 minutes; QUICK=1: 3); Keras and librosa where they are: PEERS=/path/to/python
	$(BIN)/python experiments/speed/bench.py $(if $(QUICK),--quick) $(if $(PEERS),--peers $(PEERS))

clean-runs: $(STAMP)  ## list what deleted and killed runs left on the disk; REMOVE=1 frees it
	$(BIN)/python src/clean.py $(if $(REMOVE),remove=true)

clean:  ## remove what tools cached (not runs, not data)
	rm -rf .pytest_cache .mypy_cache .ruff_cache build src/*.egg-info
