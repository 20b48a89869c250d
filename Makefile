# make demo   a call through a borrowed relay, with real NATs, on this machine
# make test   every test; installs what it needs first
# make lint   ruff and mypy --strict
# make compiled   the command for large simulations, its core compiled to C

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
COMPILED := .venv-compiled

.PHONY: demo test lint venv system browser compiled clean

demo: venv system
	$(BIN)/jingle-nodes demo

# The tests start hundreds of programs, each of which would compile our modules anew if the
# environment forbade it to keep them.
test: venv system browser
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal $(PYTEST_ARGS)

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

# The extensions are built in a copy: left in the sources, they would stay what they are.
compiled:
	rm -rf $(COMPILED) build/compiled
	sh simulations/lab/setup.sh venv "$(PYTHON)" $(COMPILED)
	mkdir -p build/compiled
	cp -r overlay node simulations pyproject.toml README.md LICENSE build/compiled
	HATCH_BUILD_HOOKS_ENABLE=1 $(COMPILED)/bin/pip install --quiet --disable-pip-version-check \
		'./build/compiled[simulate]'
	rm -rf build/compiled

clean:
	rm -rf $(VENV) $(COMPILED) tests/lab/web/node_modules dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
