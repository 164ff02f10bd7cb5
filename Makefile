# make demo   break a simulated Loihi 2 and see what it costs
# make test   style, types, tests, and the built wheel
# make docs   the site, docs/_build/index.html; a warning is an error
# make wheel-test   the built wheel in clean environments of each python3.10 … python3.13 on PATH, and its tests there; ARGS="--extras nir tests/graph neurofault.graph"
# Each makes .venv first, from python3, pip and make alone; PYTHON=… chooses another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LAVA := lava-nc==0.10.0
LAVA_NEEDS := asteval networkx scipy scikit-learn

.PHONY: demo test lint docs wheel-test clean
.DELETE_ON_ERROR:

demo: $(VENV)/.run
	$(BIN)/neurofault inject

# Whole files to a worker: what the tests of a file share is made once, and two workers seldom compile the same kernels at a time.
# One thread of torch's and NumPy's each, for threads of two workers on two cores wait for each other.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build

wheel-test: $(VENV)/.dev
	$(BIN)/python experiments/wheel_test.py $(ARGS)

clean:
	rm -rf $(VENV) build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An interpreter without ensurepip (Debian's, without python3-venv) gets its pip from the one outside.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || ($(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install pip)

# torch comes first and pinned: an open range would let pip start with gigabytes of GPU libraries of the newest release.
$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(PIP) install "torch==2.13.0" || $(PIP) install "torch>=2.4,<2.14"
	$(PIP) install --editable ".[campaign]"
	touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(PIP) install --editable ".[docs]"
	touch $@

# Lava 0.10 declares Python < 3.11, but runs on newer ones with newer libraries.
$(VENV)/.dev: $(VENV)/.run
	$(PIP) install --editable ".[dev]"
	if $(BIN)/python -c "import sys; sys.exit(sys.version_info >= (3, 11))"; \
	then $(PIP) install --editable ".[dev,lava]"; \
	else $(PIP) install $(LAVA_NEEDS) && $(PIP) install --no-deps --ignore-requires-python $(LAVA); \
	fi
	touch $@
