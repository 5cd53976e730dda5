# make demo    a report about the dynamics of the embedded language model, in a few minutes
# make test    the whole check: ruff, mypy, import-linter, docs, pytest (with shape checks and doctests)
# make docs    the documentation site, its notebooks executed offline: docs/_build/html
# make test-full, campaign, exam, validate, evidence, gallery, bench, peers, screenshots, model: see CONTRIBUTING.md

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
export PYTHONWARNINGS ?= ignore
# some of the analyzers: `sdelens analyze runs/demo` asks all of them, in a few minutes more
DEMO := verdict goodness_of_fit losses trajectory vector_field surprise decomposition

.PHONY: demo test lint checks docs test-full campaign exam validate evidence gallery bench peers screenshots model clean

demo: .venv/installed
	$(BIN)/sdelens fit --layer 6 --out runs/demo --resume
	$(BIN)/sdelens analyze runs/demo $(DEMO) --set decomposition.fits=linear
	$(BIN)/sdelens report runs/demo

test: .venv/installed-dev lint
	$(MAKE) --jobs=2 docs checks  # the site needs one core for a minute or two

checks: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadscope --no-loadscope-reorder --durations=25

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/limits.py

docs: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -E -W --keep-going -d docs/_build/doctrees docs docs/_build/html

test-full: .venv/installed-dev lint docs
	$(BIN)/python -m pytest --durations=20

# in parts: make campaign ARGS="signals --trials 60"; the page is written after each campaign
campaign: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaigns --write $(ARGS)

# answers are kept in runs/exam.jsonl, so that an interrupted exam goes on
exam: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.plugins.analyzers.exam_results

validate: .venv/installed-dev
	$(BIN)/python tools/validate.py

evidence: .venv/installed-dev
	$(BIN)/python tools/evidence.py make

gallery: .venv/installed-dev
	$(BIN)/python tools/gallery.py

bench: .venv/installed-dev
	$(BIN)/python bench/run.py

peers: .venv/installed-dev
	$(BIN)/python bench/peers.py

screenshots: .venv/installed-dev
	$(BIN)/python tools/screenshots.py

model: .venv/installed-dev
	$(BIN)/python tools/tiny/train.py --out plugins/sdelens_plugins/assets/tiny

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip

# torch first and by itself: a range would take the newest build with its accelerator libraries
.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) torch
	$(PIP) --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --group dev
	@touch $@

clean:
	rm -rf .venv runs dist build screenshots docs/_build docs/catalogue
