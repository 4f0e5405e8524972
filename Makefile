# make demo: fine-tune a real encoder and look at what it learned.
# make test: lint, types and tests.
# make bench: compare speeds; BENCH="--threads 2" passes options.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt

.PHONY: bench demo test test-oldest

demo: $(VENV)/.demo
	$(VENV)/bin/python examples/demo.py

bench: $(VENV)/.bench
	$(VENV)/bin/python benchmarks/run.py $(BENCH)

test: $(VENV)/.test-all
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest -n auto --dist worksteal

# The same tests on the oldest supported versions of the core packages.
test-oldest:
	$(MAKE) .venv-oldest/.test VENV=.venv-oldest CONSTRAINTS=.ci/constraints-oldest.txt
	.venv-oldest/bin/python -m pytest -n auto --dist worksteal

# $(VENV)/.demo and the like mark what is installed: the package with these extras.
$(VENV)/.%: setup.cfg pyproject.toml $(CONSTRAINTS)
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[$*]"
	touch $@
