# Two threads on two shared cores are far slower than one for models this small.
export OMP_NUM_THREADS = 1
export TOKENIZERS_PARALLELISM = false

PYTHON ?= python3
BIN = .venv/bin

.PHONY: install demo test notebook bench bench-control quality resolve clean

install: .venv/installed

# torch first, by its pin: pulled in by another package it would be the newest CUDA build.
.venv/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt torch
	DS_BUILD_OPS=0 $(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e ".[deepspeed,peft,test,quality]"
	touch $@

demo: install
	$(BIN)/accelerate launch --config_file accelerate_configs/cpu.yaml recipes/countdown_es.py

test: install
	$(BIN)/python -m pytest

# The outputs that are committed: about a minute.
notebook: install
	$(BIN)/python tests/execute_notebook.py examples/entropy_scheduling.ipynb

# Six long runs, two at a time: about three hours on two cores.
bench: install
	$(BIN)/python benchmarks/countdown_long.py run

# How well each method holds entropy: about three hours on two cores; with `ARGS=--short` some minutes.
bench-control: install
	$(BIN)/python benchmarks/control.py run $(ARGS)

quality: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Every extra in one environment, without installing it: vLLM's wheels are for GPUs.
resolve: install
	$(BIN)/uv pip compile --quiet --python-version 3.11 --extra all --constraint constraints.txt setup.cfg > /dev/null

clean:
	rm -rf .venv runs
