# Everything a user types. `make demo` and `make test` are the two commands of the README.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDY ?= study.toml

.PHONY: demo bench-demo bench-executor pictures test test-slow test-gpu ui lint clean

$(VENV)/installed: pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

demo: $(VENV)/installed
	$(BIN)/heart-assets phantom --out demo/raw --participants 200 --seed 2020 --difficulty demo
	$(BIN)/heart-assets materialise

ui: $(VENV)/installed
	$(BIN)/heart-assets ui --study $(STUDY)

test: $(VENV)/installed
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

test-gpu: $(VENV)/installed
	$(BIN)/python -m pytest -m gpu

bench-demo: $(VENV)/installed
	$(BIN)/python benchmarks/demo.py

bench-executor: $(VENV)/installed
	$(BIN)/python benchmarks/executor.py

pictures: $(VENV)/installed
	$(BIN)/python docs/make_pictures.py

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .dagster_home demo build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage*
