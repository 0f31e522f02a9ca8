# make demo   install the pinned versions into .venv, fit the embedded capture, say where the report is
# make test   lint, types, then the fast tests, then the slow ones
# Both are safe to repeat; the second time they install nothing unless pyproject.toml or constraints.txt changed.

PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test format clean

demo: .venv/base.stamp
	$(BIN)/python experiments/fit_embedded.py

test: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile -m "not slow"
	$(BIN)/python -m pytest -q -m slow

format: .venv/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv

# torch goes first and alone: pip then keeps the build that the exact pin selects (or that is already there).
.venv/base.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "invgraph needs Python 3.11 or newer, but $(PYTHON) is " + sys.version.split()[0] + \
	    "; run make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) torch
	$(PIP_INSTALL) --editable .
	@touch $@

.venv/test.stamp: .venv/base.stamp
	$(PIP_INSTALL) --editable '.[test]'
	@touch $@
