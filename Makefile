# `make run` and `make test` are all the set-up there is: each makes .venv and installs with the pins first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_NUM_THREADS ?= 1

.PHONY: help run test test-cluster install check format verify bench wheel clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("assembler needs Python 3.11 or newer; try make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	$(BIN)/python -m compileall -q assembler # an editable install does not, and the command line is to start at once
	touch $@

install: $(STAMP) ## make .venv and install with the pins

run: install ## the whole idea on real data, in under three minutes: assembler run quickstart
	$(BIN)/assembler run quickstart

test: install check ## formatter, linter, types, layers, and the required tests
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

check: install ## formatter, linter, type checker, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## apply the formatter
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

verify: install ## the long learning checks
	$(BIN)/python -m pytest -q -m "slow and not cluster"

test-cluster: install ## PostgreSQL, MariaDB, a Ray cluster, torchrun, installed if need be: workers, nodes, drivers, the database die
	tests/cluster/setup $(BIN)/pip
	$(BIN)/python -m pytest -q -m cluster tests/cluster

bench: install ## measure the figures of the README and write them into it
	$(BIN)/python -m benchmarks
	$(BIN)/python -m docs.generate

wheel: install ## build sdist and wheel into dist/
	$(BIN)/python -m build --no-isolation

clean: ## remove the environment and build products
	rm -rf $(VENV) dist build
