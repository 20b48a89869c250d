# make demo   a call through a borrowed relay, with real NATs, on this machine
# make test   every test; installs what it needs first
# make lint   ruff and mypy --strict

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test lint venv system browser clean

demo: venv system
	$(BIN)/jingle-nodes demo

test: venv system browser
	$(BIN)/pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal $(PYTEST_ARGS)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml simulations/lab/setup.sh
	sh simulations/lab/setup.sh venv "$(PYTHON)" $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/pip install --quiet --editable '.[demo,simulate,ray]' --group dev
	touch $@

system:
	sh simulations/lab/setup.sh system

browser:
	sh simulations/lab/setup.sh browser

clean:
	rm -rf $(VENV) tests/lab/web/node_modules dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
