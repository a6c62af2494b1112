# make demo   train, validate and predict on the embedded example, and leave a picture
# make test   all tests          make check  what must be true of every commit
# make style  mend formatting    make bench  speed as ratios, into bench.json
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/
INSTALLED := $(VENV)/.installed
DEMO := runs/demo

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
	$(RUN)python scripts/train.py --config hub_configs/digits.yaml --train.output_dir $(DEMO)/cnn-rnn --resume auto
	$(RUN)python scripts/train.py --config hub_configs/digits.yaml --train.output_dir $(DEMO)/baseline --resume auto \
	  --model.path_loss none --model.fusion relevance
	$(RUN)python scripts/validate.py $(DEMO)/cnn-rnn --baseline $(DEMO)/baseline --data.split test --output $(DEMO)/test
	$(RUN)python scripts/predict.py --model $(DEMO)/cnn-rnn --input digits:test --limit 24 --output $(DEMO)/predictions
	@echo
	@echo "The model:    $(DEMO)/cnn-rnn   (AutoModel.from_pretrained takes this folder)"
	@echo "Its figures:  $(DEMO)/test/metrics.json   beside the baseline's, metrics_baseline.json"
	@echo "A picture:    $(DEMO)/predictions/paths.png"
	@echo "Next, with your own photos:"
	@echo "  $(RUN)accelerate launch scripts/train.py --config hub_configs/image_folder.yaml --data.root FOLDER"

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(RUN)python -m pytest -n 2

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
