PYTHON ?= python3
PORT ?= 8501
HEADLESS ?=
BIN := .venv/bin

.PHONY: help setup research cluster app test test-all lint bench load fuzz lock audit clean

# A process for each core, four at most; tests/conftest.py says which tests stay together.
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 4 --no-loadscope-reorder

help:
	@echo "make app     install what is missing and open the app (PORT=8501, HEADLESS=1 opens no browser)"
	@echo "make test    install what the tests need and run those that are quick"
	@echo "make test-all run the slow tests as well, and print how much of the code they cover"
	@echo "make lint    check style, types and who imports whom"
	@echo "make bench   measure the speed-ups that benchmarks/README.md reports"
	@echo "make load    measure the app with fifty visitors at once"
	@echo "make fuzz    decode 10,000 mutated image files, within limits of time and memory"
	@echo "make lock    write the versions and hashes of all packages to the files requirements*.lock"
	@echo "make audit   look up known vulnerabilities of those versions, where pypi.org is reached"
	@echo "make setup   install what development and training need"
	@echo "make research install PyTorch and grad-cam too, for more attention methods (several GB)"
	@echo "make cluster install Ray and JAX too, for scoring and training on several machines"
	@echo "make clean   remove the virtual environment and the caches"

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

# The pin: later versions declare that they are not for Python 3.11, which uv does not read.
LOCK := .venv-tools/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --quiet
PIN := echo 'backports-strenum<1.3' |

.venv-tools/installed:
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
