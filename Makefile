# Each target is complete by itself on a machine with Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-all test test-slow lint format clean help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/package  ## make toy videos, train and test a small MViTv2 on them, write the prediction CSVs
	$(BIN)/python tools/demo.py

demo-all: .venv/package  ## the same for segments, images, and a video model from image weights, about 10 minutes
	$(BIN)/python tools/demo.py --all

# Two processes of one thread each: most tests wait for processes or are too small for two threads.
test: .venv/test  ## the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: .venv/test  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: .venv/test  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/test  ## rewrite the code in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## take away what the targets made
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is too old, 3.11 or newer is needed: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; echo "error: on Debian and Ubuntu, install python3-venv"; exit 1; }

.venv/package: .venv/bin/python setup.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

.venv/test: .venv/bin/python setup.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ .venv/package
