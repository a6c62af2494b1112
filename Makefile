# make demo   train, validate and predict on the embedded example, and leave a picture
# make test   all tests          make check  what must be true of every commit
# make style  mend formatting    make bench  speed as ratios, into bench.json
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/
INSTALLED := $(VENV)/.installed

.PHONY: demo test check style bench hooks clean
.DELETE_ON_ERROR:

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)python -m pip install --quiet --upgrade pip
	$(RUN)python -m pip install --quiet --editable ".[dev]"
	touch $@

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(RUN)python -m pytest -n 2

check: $(INSTALLED)
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)mypy

style: $(INSTALLED)
	$(RUN)ruff check --fix .
	$(RUN)ruff format .

hooks: $(INSTALLED)
	$(RUN)pre-commit install

clean:
	rm -rf $(VENV) demo runs bench.json
