PYTHON ?= python3
PORT ?= 8501
HEADLESS ?=
BIN := .venv/bin

.PHONY: help setup research cluster app test test-all lint bench load fuzz lock audit clean

# One process per core, at most four, each with one thread; tests/conftest.py says which tests share a process.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --no-loadscope-reorder

help:
	@echo "make app     install what is missing and open the app (PORT=8501, HEADLESS=1 without a browser)"
	@echo "make test    install what the tests need and run the quick ones"
	@echo "make test-all run all tests, and print their coverage"
	@echo "make lint    check style, types, and imports between packages"
	@echo "make bench   measure speed and memory, compared with plain code"
	@echo "make load    measure the app with fifty simultaneous visitors"
	@echo "make fuzz    decode 10,000 mutated image files, with limits on time and memory"
	@echo "make lock    write the versions and hashes of all packages to the files requirements*.lock"
	@echo "make audit   check these versions for known vulnerabilities (needs the Python Package Index)"
	@echo "make setup   install everything for development and training"
	@echo "make research also install PyTorch and grad-cam, for more attention methods (several GB)"
	@echo "make cluster also install Ray and JAX, to score and train on several machines"
	@echo "make clean   remove the virtual environments and the caches"

.venv/installed-app: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/installed-dev: .venv/installed-app requirements-train.txt requirements-serve.txt requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

setup: .venv/installed-dev

.venv/installed-research: .venv/installed-app requirements-research.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-research.txt
	touch $@

research: .venv/installed-research

.venv/installed-cluster: .venv/installed-app requirements-train.txt requirements-cluster.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-cluster.txt
	touch $@

cluster: .venv/installed-cluster

app: .venv/installed-app
	$(BIN)/python -m streamlit run app.py --server.port $(PORT) --server.headless $(if $(HEADLESS),true,false)

test: .venv/installed-dev
	$(PYTEST)

test-all: .venv/installed-dev
	$(PYTEST) -m "" --cov=skinapp --cov=train

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed-dev
	$(BIN)/python -m benchmarks

load: .venv/installed-dev
	$(BIN)/python -m benchmarks.load

fuzz: .venv/installed-dev
	$(BIN)/python -m tests.fuzz

# Pinned because uv ignores that later versions declare not to support Python 3.11.
LOCK := .venv-tools/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --quiet
PIN := echo 'backports-strenum<1.3' |

.venv-tools/installed: Makefile
	$(PYTHON) -m venv .venv-tools
	.venv-tools/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9 pip-audit==2.10.1
	touch $@

lock: .venv-tools/installed
	$(PIN) $(LOCK) requirements.txt - --output-file requirements.lock
	$(PIN) $(LOCK) requirements-serve.txt - --constraints requirements.lock --output-file requirements-serve.lock
	$(PIN) $(LOCK) requirements-dev.txt - --constraints requirements.lock --constraints requirements-serve.lock \
		--output-file requirements-dev.lock

audit: .venv-tools/installed
	.venv-tools/bin/pip-audit --require-hashes --disable-pip --strict --requirement requirements-dev.lock

clean:
	rm -rf .venv-tools .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage build *.egg-info
