# Everything runs in a virtual environment of its own; only Python 3.11+ with pip is needed.
# Paths are relative throughout, so that a checkout in a folder with spaces in its name works.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# A file of pip constraints for the tests' environment; CI gives .ci/constraints.txt, a person gets the newest releases.
CONSTRAINTS ?=
# Environments of the targets that need one of their own.
LOWEST_VENV := .venv-lowest
TOOLS_VENV := .venv-tools
SBOM_VENV := .venv-sbom
TYPES_VENV := .venv-types

# The platforms' own SDKs, in two environments because some of them pin what others exclude.
SDK_VENV := .venv-sdk
# The SDKs that benchmarks compare with, and events made for them.
BENCH_VENV := .venv-bench
BENCH_EVENTS := $(BENCH_VENV).jsonl
SDKS_urllib3-2 := snap meta cutmeshort
SDKS_urllib3-1 := pinterest tiktok

.PHONY: help setup demo test test-lowest test-sdk lint types fmt bench bench-web bench-real bench-scaling bench-stages bench-page bench-check chaos soak sandbox check lock audit sbom clean

help:
	@echo 'make demo     real events through one client to every platform in a local sandbox'
	@echo 'make test     the tests'
	@echo 'make check    lint, types and tests'
	@echo 'make bench    what an event costs on this machine, here and with other SDKs'
	@echo 'make chaos    kills senders and workers hundreds of times, and accounts for every event; more made-up inputs'
	@echo 'make soak     ten minutes (or MINUTES=...) at 5,000 events a second while platforms fail'
	@echo 'make sandbox  the platforms on http://127.0.0.1:8787'
	@echo "make test-sdk the platforms' own SDKs against the sandbox"
	@echo 'make test-lowest  the tests, with every dependency at its lower bound'
	@echo 'make audit    known holes of the releases in .ci/constraints.txt; make lock renews that file'
	@echo 'make sbom     what an installation with all extras consists of, as CycloneDX in sbom.json'
	@echo 'also: setup, lint, types, fmt, clean; bench-web, bench-real, bench-scaling, bench-stages, bench-check'

# One stamp per set of packages, renewed when pyproject.toml changes.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer with venv and pip is needed (on Debian: apt install python3-venv)'; exit 1; }
	# Debian ships venv without ensurepip unless python3-venv is installed: then the system's pip fills the environment
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV) && $(PYTHON) -m venv --without-pip $(VENV) \
		&& $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check pip; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cli,phone,speedups]'
	@touch $@

$(VENV)/.test: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' $(CONSTRAINTS:%=-c '%')
	@touch $@ $(VENV)/.demo

setup: $(VENV)/.test

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py --json demo.json

# Tests start many processes, each of which would compile all that it imports where this is set.
test test-lowest: export PYTHONDONTWRITEBYTECODE :=

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

$(LOWEST_VENV)/.made: $(VENV)/.made pyproject.toml .ci/lowest.py
	rm -rf $(LOWEST_VENV)
	$(BIN)/python -m venv --without-pip $(LOWEST_VENV)
	$(BIN)/python .ci/lowest.py > $(LOWEST_VENV)/lowest.txt
	$(BIN)/python -m pip --python $(LOWEST_VENV)/bin/python install --quiet --disable-pip-version-check \
		-e '.[test]' pip -c $(LOWEST_VENV)/lowest.txt
	@touch $@

test-lowest: $(LOWEST_VENV)/.made
	$(LOWEST_VENV)/bin/python -m pytest -n auto -W "ignore:'click:DeprecationWarning" $(PYTEST_ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# pyright as a package that needs no download of its own, and the types that Celery and Django do not bring.
$(TYPES_VENV)/.made: $(VENV)/.made
	rm -rf $(TYPES_VENV)
	$(BIN)/python -m venv --without-pip $(TYPES_VENV)
	$(BIN)/python -m pip --python $(TYPES_VENV)/bin/python install --quiet --disable-pip-version-check basedpyright
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(TYPES_VENV)/stubs \
		celery-types django-types
	@touch $@

types: $(VENV)/.test $(TYPES_VENV)/.made
	$(BIN)/mypy
	$(TYPES_VENV)/bin/basedpyright --pythonpath $(BIN)/python

fmt: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Figures and chart of this machine, the SDKs in an environment of their own; ARGS=--quick for a first look.
RESULTS := benchmarks/results
bench: $(VENV)/.demo
	$(BIN)/capi-async bench --install-peers --peers $(BENCH_VENV) \
		--json $(RESULTS)/bench.json --chart $(RESULTS)/bench.svg $(ARGS)

# One event at a time, as web applications send.
bench-web: $(VENV)/.demo
	$(BIN)/capi-async bench --web --install-peers --peers $(BENCH_VENV) --repeats 3 \
		--json $(RESULTS)/web.json --chart $(RESULTS)/web.svg $(ARGS)

# The same on real orders with invented people (examples/data).
bench-real: $(VENV)/.demo
	$(BIN)/python benchmarks/real_events.py $(BENCH_EVENTS)
	$(BIN)/capi-async bench --install-peers --peers $(BENCH_VENV) --events-file $(BENCH_EVENTS) \
		--json $(RESULTS)/real.json --chart $(RESULTS)/real.svg $(ARGS)

bench-scaling: $(VENV)/.demo
	$(BIN)/capi-async bench --scaling --json $(RESULTS)/scaling.json $(ARGS)

bench-stages: $(VENV)/.demo
	$(BIN)/python benchmarks/bench_stages.py --json $(RESULTS)/stages.json $(ARGS)

bench-page: $(VENV)/.demo
	$(BIN)/python benchmarks/page.py

# Fails if a stage takes over a tenth more instructions than in benchmarks/baseline.json; ARGS=--update renews it.
bench-check: $(VENV)/.demo
	$(BIN)/python benchmarks/bench_check.py $(ARGS)

chaos: $(VENV)/.test
	CAPI_TEST_PROFILE=thorough $(BIN)/python -m pytest -n auto -k 'hypothesis or stateful' --timeout 1800
	$(BIN)/python -m tests.chaos.kill_loop
	$(BIN)/python -m tests.chaos.locked
	$(BIN)/python -m tests.chaos.threads
	$(BIN)/python -m tests.chaos.redis_loop
	$(BIN)/python -m tests.chaos.redis_rate
	$(BIN)/python -m tests.chaos.redis_fleet
	$(BIN)/python -m tests.chaos.shop

MINUTES ?= 10
soak: $(VENV)/.test
	$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES)

sandbox: $(VENV)/.demo
	$(BIN)/capi-async sandbox --port 8787

check: lint types test

$(TOOLS_VENV)/.made: $(VENV)/.made
	$(BIN)/python -m venv --without-pip $(TOOLS_VENV)
	$(BIN)/python -m pip --python $(TOOLS_VENV)/bin/python install --quiet --disable-pip-version-check \
		uv pip-audit cyclonedx-bom
	@touch $@

# Newest releases for every supported Python; commit the result.
lock: $(TOOLS_VENV)/.made
	$(TOOLS_VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --no-annotate \
		--custom-compile-command 'make lock' --output-file .ci/constraints.txt pyproject.toml

audit: $(TOOLS_VENV)/.made
	$(TOOLS_VENV)/bin/python .ci/audit.py

$(SBOM_VENV)/.made: $(VENV)/.made pyproject.toml
	$(BIN)/python -m venv --without-pip $(SBOM_VENV)
	$(BIN)/python -m pip --python $(SBOM_VENV)/bin/python install --quiet --disable-pip-version-check \
		'.[cli,django,encryption,phone,redis,speedups]' $(CONSTRAINTS:%=-c '%')
	@touch $@

sbom: $(TOOLS_VENV)/.made $(SBOM_VENV)/.made
	$(TOOLS_VENV)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible \
		--output-format JSON --output-file sbom.json $(SBOM_VENV)/bin/python

clean:
	rm -rf $(VENV) $(VENV)-3.* $(SDK_VENV) $(LOWEST_VENV) $(TOOLS_VENV) $(SBOM_VENV) $(TYPES_VENV) sbom.json $(BENCH_VENV) $(BENCH_EVENTS) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist demo.json

$(SDK_VENV)/%/.made: tests/sdk/requirements-%.txt $(VENV)/.made pyproject.toml
	rm -rf $(@D)
	$(BIN)/python -m venv --without-pip $(@D)
	$(BIN)/python -m pip --python $(@D)/bin/python install --quiet --disable-pip-version-check -e . -r $<
	@touch $@

.PRECIOUS: $(SDK_VENV)/%/.made

test-sdk-%: $(SDK_VENV)/%/.made
	CAPI_TEST_SDKS=1 $(SDK_VENV)/$*/bin/python -m pytest $(SDKS_$*:%=tests/sdk/test_sdk_%.py) $(PYTEST_ARGS)

test-sdk: test-sdk-urllib3-2 test-sdk-urllib3-1
