# Tasks for users and developers. Each target creates what it needs; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
# Cache bytecode even where the environment says not to: the tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-long test-contract test-stack check rules dashboards docs screenshots board-pictures lock clean help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: .venv/ready  ## run the one-minute demo without Docker: train, serve, drift, slow down; writes demo/index.html
	@$(BIN)/leeway demo

WORKERS ?= 3
test: .venv/ready  ## run the tests in three processes; about four minutes
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

LONG = $(shell grep -rl --include="*.py" "mark\.long" tests)
test-long: .venv/ready  ## run the tests that take long: demo, tutorials, kills, workers, rates of false alarms, rules; five minutes
	@$(BIN)/python -m pytest -m long $(LONG)

test-contract: .venv/ready  ## test a running service against its OpenAPI document with schemathesis; a minute or two
	@$(BIN)/python -m pytest -m contract tests/service/http/test_contract.py

test-stack: .venv/ready  ## test the live stack in Docker with injected outages; about ten minutes
	@$(BIN)/python -m pytest -m stack tests/stack --timeout 900

check: .venv/ready  ## check format, lint, types and import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

WINDOW ?= 1d
rules: .venv/ready  ## generate the rules of the objectives; WINDOW=30d for a 30-day budget instead of one day
	@$(BIN)/python -m observability.prometheus.generate --window $(WINDOW)

dashboards: .venv/ready  ## generate Grafana's dashboards from observability/grafana/generate
	@$(BIN)/python -m observability.grafana.generate

docs: .venv/ready  ## generate docs/reference and the diagram of packages
	@$(BIN)/python -m docs.generate

screenshots: .venv/ready  ## run the demo and take the screenshots of docs/img with an installed Chromium; two minutes
	@$(BIN)/python -m docs.screenshots

board-pictures: .venv/ready  ## take pictures of the dashboards in five states from the running stack; half an hour
	@$(BIN)/python -m docs.board_pictures

lock:  ## lock the dependencies for Python 3.11 to 3.13
	@$(BIN)/python requirements/lock.py

clean:  ## remove generated files, except the virtual environment
	@rm -rf demo var reports dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

.venv/ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Leeway needs Python 3.11 to 3.13. Choose an interpreter: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Creating a virtual environment in .venv (once; takes a minute or two)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
