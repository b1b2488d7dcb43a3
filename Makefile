# Everything runs in .venv, with the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check slurm browser setup docs clean

demo: setup ## train a tiny model, then extract, evaluate, measure and report
	$(BIN)/actstore demo

test: check slurm browser ## lint, types, the rooms' import contracts, then every test
	$(BIN)/python -m pytest -n 2

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy actstore
	$(BIN)/lint-imports

slurm: ## the packages of the tests that submit to a real SLURM, where they can be installed
	tests/support/slurm/install.sh

browser: ## the browser that the report is tested in, where it can be installed
	tests/support/browser/install.sh

setup: $(VENV)/.installed

# torch first and alone: whatever build of it is there satisfies the extras.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[all]" --group dev
	touch $@

docs: setup ## the pages that are generated from the code
	$(BIN)/python -c "from actstore.store.schema_page import schema_page; print(schema_page(), end='')" > docs/store-format.md
	$(BIN)/python -c "from actstore.metrics import metrics_page; print(metrics_page(), end='')" > docs/metrics.md
	$(BIN)/python -c "from actstore.experiment.documentation import experiment_page; print(experiment_page(), end='')" > docs/experiment.md
	$(BIN)/python -c "from actstore.experiment.json_schema import schema_file; print(schema_file(), end='')" > docs/experiment.schema.json

clean:
	rm -rf $(VENV) actstore-demo
