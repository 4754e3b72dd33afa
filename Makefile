# On a bare machine (Python 3.11) each of these installs what it needs first. Tests that need Java, Node.js, Maven or
# Chromium say so and skip where they are missing; `make prerequisites` installs them on Debian, as root.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# How many tests run at once, at most eight: one more than there are cores, because tests wait more than they compute.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.PHONY: install demo test lint bench chaos accuracy lock prerequisites clean
install: $(VENV)/.installed

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] != (3, 11))" || { echo "Vigil needs Python 3.11: make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install
	@$(BIN)/vigil demo $(ARGS)

test: install
	$(BIN)/pytest -n $(WORKERS) --maxprocesses 8 $(ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: install
	@$(BIN)/python -m tests.chaos $(ARGS)

accuracy: install
	@$(BIN)/python -m tests.accuracy $(ARGS)

# Names, versions and hashes only: no file of pins says where they come from.
lock: install
	$(BIN)/uv pip compile -q pyproject.toml --extra embedded --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --custom-compile-command "make lock" -o requirements/dev.txt
	$(BIN)/uv pip compile -q pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" -c requirements/dev.txt -o requirements/runtime.txt

prerequisites:
	tools/prerequisites.sh

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
