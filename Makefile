# make demo   label real photos, then train and validate on the embedded example
# make test   all tests          make check  what must be true of every commit
# make style  mend formatting    make bench  speed as ratios, into bench.json
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/
INSTALLED := $(VENV)/.installed
DEMO := runs/demo
# A frozen backbone sees each scene once: a minute in place of several, and the same lesson.
SHORT := --train.freeze_backbone true --train.cache_features true --train.epochs 8 --train.lr 2e-3

# Large tensors reuse their memory in place of asking the kernel for fresh pages: several times faster on some machines.
export MALLOC_TOP_PAD_ ?= 268435456
export MALLOC_MMAP_THRESHOLD_ ?= 4294967296
export MALLOC_TRIM_THRESHOLD_ ?= 4294967296

.PHONY: demo test check style bench hooks clean
.DELETE_ON_ERROR:

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)python -m pip install --quiet --upgrade pip
	$(RUN)python -m pip install --quiet --editable ".[dev]"
	touch $@

demo: $(INSTALLED)
	$(RUN)python scripts/demo/sample_photos.py --output $(DEMO)/photos
	$(RUN)python scripts/predict.py --input $(DEMO)/photos
	$(RUN)python scripts/predict.py --input $(DEMO)/photos --output $(DEMO)/labels
	@echo "A picture of real photos, their labels and paths:  $(DEMO)/labels/paths.png"
	$(RUN)python scripts/demo/one_label.py --input $(DEMO)/photos
	@echo
	@echo "Now a model of our own: scenes of handwritten digits, some often together, and a plain head to beat"
	$(RUN)python scripts/train.py --config digits --train.output_dir $(DEMO)/cnn-rnn --resume auto $(SHORT)
	$(RUN)python scripts/train.py --config digits --train.output_dir $(DEMO)/baseline --resume auto $(SHORT) --train.baseline true
	$(RUN)python scripts/validate.py $(DEMO)/cnn-rnn --baseline $(DEMO)/baseline --data.split test --output $(DEMO)/test
	@echo
	@echo "Next:"
	@echo "  $(RUN)cnn-rnn predict --input YOUR_PHOTO.jpg"
	@echo "  $(RUN)cnn-rnn app --input $(DEMO)/photos        # label them in the browser, with the model's help"
	@echo "  $(RUN)cnn-rnn train --config image_folder --data.root FOLDER   # your own photos and labels"

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(RUN)python -m pytest -n 2 --dist worksteal

check: $(INSTALLED)
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)mypy
	$(RUN)lint-imports --no-logo
	@! grep -rnP --include="*.py" "(?<!\x60)\x60\x60(?!\x60)" src scripts tests  # single backticks

style: $(INSTALLED)
	$(RUN)ruff check --fix .
	$(RUN)ruff format .

bench: $(INSTALLED)
	$(RUN)python scripts/benchmarks/bench.py --output bench.json

hooks: $(INSTALLED)
	$(RUN)pre-commit install

clean:
	rm -rf $(VENV) runs bench.json
