# What people do here. Each target makes what it needs and can be run again at once.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-stack check rules dashboards docs screenshots lock clean help

help:  ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: .venv/ready  ## a story of a minute on this machine: train, serve, drift, slow down, be wrong; see demo/index.html
	@$(BIN)/leeway demo

WORKERS ?= 4
test: .venv/ready  ## run the tests, in four processes: many of them wait for others
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

test-stack: .venv/ready  ## bring the stack up in Docker, break it on purpose, take it down; about ten minutes
	@$(BIN)/python -m pytest -m stack tests/stack --timeout 900

check: .venv/ready  ## lint, types and the arrows between the packages
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

WINDOW ?= 1d
rules: .venv/ready  ## write the rules of the objectives; WINDOW=30d promises them over 30 days instead of a day
	@$(BIN)/python -m observability.prometheus.generate --window $(WINDOW)

dashboards: .venv/ready  ## write Grafana's dashboards anew from observability/grafana/generate
	@$(BIN)/python -m observability.grafana.generate

docs: .venv/ready  ## write the generated parts of docs/ anew: metrics, settings, pictures of the structure
	@$(BIN)/python -m docs.generate

screenshots: .venv/ready  ## play the demo and take the pictures of docs/img with the installed Chromium; two minutes
	@$(BIN)/python -m docs.screenshots

lock:  ## resolve the dependencies again, for Python 3.11 to 3.13
	@$(BIN)/python requirements/lock.py

clean:  ## remove what was made, but the virtual environment
	@rm -rf demo var reports dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

.venv/ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Leeway needs Python 3.11 to 3.13; say which with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Making a virtual environment in .venv (once; a minute or two)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
