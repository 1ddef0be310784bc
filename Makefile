# What people type. `make` alone tells what there is. Needs Python 3.11 or newer; everything else goes into .venv.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
CONFIG ?= etc/proxy.yaml
ARGS ?=
WORKERS ?= 2
WHOLE_SERVER ?= tests/integration
BIN := $(VENV)/bin
OLDEST ?= /usr/bin/python3
SUITE ?=

# Most tests wait for real programs: a process more than there are processors, each with whole files of tests.
SIDE_BY_SIDE = -n 3 --dist loadfile

# What stands on the modules that setup.py compiles.
DATA_PATH ?= tests/http1 tests/names tests/policy tests/proxy tests/telemetry/test_record_line.py \
	tests/telemetry/test_metrics.py tests/tls tests/transport tests/x509 $(WHOLE_SERVER)

# A test that hangs is a failed one. pytest-timeout reads this.
export PYTEST_TIMEOUT ?= 120
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Where this is set, pytest would rewrite every test module anew in every process of every run.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## This list
	@echo 'netfw, an explicit egress proxy. Try it:'
	@echo
	@echo '  make run                    and follow the three curl lines that it prints'
	@echo '  make run CONFIG=my.yaml     with a configuration of your own'
	@echo '  make test ARGS="-k reload"  some of the tests'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/.stamp-run ## Start the proxy here, in the foreground (Ctrl-C ends it); makes a test CA in var/ if there is none
	@exec $(BIN)/python scripts/run_proxy.py $(CONFIG)

.PHONY: demo
demo: $(VENV)/.stamp-run ## See a plain, an intercepted and a denied request, with origins of its own (needs no network)
	@exec $(BIN)/python -m netfw.testing.demo

.PHONY: venv
venv: $(VENV)/.stamp-dev ## Make .venv with everything that tests and checks need

.PHONY: test
test: $(VENV)/.stamp-dev ## All tests; as root it first installs the client programs they drive
	@scripts/install-test-programs || echo 'Tests of what is missing are skipped, and named at the end.'
	@scripts/make-aws-clients $(BIN)/python || echo 'Tests of what is missing are skipped, and named at the end.'
	$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) $(ARGS)

.PHONY: test-workers
test-workers: $(VENV)/.stamp-dev ## The tests of the whole server again, with WORKERS processes where none are asked for
	NETFW_TEST_WORKERS=$(WORKERS) $(BIN)/python -m pytest -q $(SIDE_BY_SIDE) $(WHOLE_SERVER) $(ARGS)

.PHONY: test-compiled
test-compiled: build/compiled/.stamp ## The tests of the data path again, with it compiled to C (see docs/performance.md)
	cd build/compiled && $(abspath $(BIN))/python -m pytest -q -o cache_dir=$(abspath .pytest_cache/compiled) $(SIDE_BY_SIDE) $(DATA_PATH) $(ARGS)

.PHONY: test-oldest
test-oldest: ## The tests with Debian 12's own Python, Twisted and libraries; as root it first installs them
	@scripts/install-oldest $(OLDEST)
	$(OLDEST) -m pytest -q -o cache_dir=.pytest_cache/oldest $(SIDE_BY_SIDE) $(ARGS)

.PHONY: test-oldest-compiled
test-oldest-compiled: build/oldest/.stamp ## The same with the data path as Debian 12's mypyc compiles it, which is what the package has
	cd build/oldest && $(OLDEST) -m pytest -q -o cache_dir=$(abspath .pytest_cache/oldest) $(SIDE_BY_SIDE) $(ARGS)

.PHONY: soak
soak: $(VENV)/.stamp-dev ## What takes minutes: 9,000 tunnels, slowhttptest, 100 reloads, gigabytes, every cut, many examples (as root it installs programs)
	@scripts/install-test-programs || echo 'Tests of what is missing are skipped, and named at the end.'
	NETFW_EXHAUSTIVE=1 $(BIN)/python -m pytest -q -m soak $(ARGS) tests/integration
	NETFW_EXHAUSTIVE=1 $(BIN)/python -m pytest -q $(SIDE_BY_SIDE) --timeout 1800 tests/proxy/test_faults.py \
		tests/policy tests/control/test_control_same_decisions.py tests/telemetry/test_record_line.py

# Not SECONDS itself: bash has a variable of that name.
FUZZ_SECONDS = $(if $(filter command line environment,$(origin SECONDS)),$(SECONDS),60)

.PHONY: fuzz
fuzz: $(VENV)/.stamp-dev ## Fuzz every parser for SECONDS (60) each, guided by coverage; TARGET=name for one
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS) $(if $(TARGET),--target $(TARGET))

.PHONY: lint
lint: $(VENV)/.stamp-dev ## Style (ruff), types (mypy), layers (import-linter)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: check
check: $(VENV)/.stamp-run ## Check CONFIG and its rules without starting anything
	@$(BIN)/netfw check $(CONFIG)

.PHONY: bench
bench: $(VENV)/.stamp-dev ## Measure against other proxies: HARNESS=DIR (a built bench), ARGS="--scenarios s1,s5 --write"; PROFILE=FILE replays a HAR file or records
	@test -n '$(HARNESS)' || { echo 'make bench HARNESS=DIR: where the forward-proxy bench is, built'; exit 2; }
	scripts/compile
	PYTHONPATH=$(abspath build/compiled) PATH=$(abspath $(BIN)):$$PATH $(BIN)/python benchmarks/compare.py $(HARNESS) $(if $(PROFILE),--profile $(PROFILE)) $(ARGS)

.PHONY: lab
lab: $(VENV)/.stamp-dev ## Build the topologies of docs/deployment.md in network namespaces, and show what passes and what cannot (as root)
	@scripts/install-test-programs || true
	$(BIN)/python -m lab.run $(ARGS)

.PHONY: docs
docs: $(VENV)/.stamp-docs ## Build the documentation into build/docs, and fail where a link leads nowhere
	$(BIN)/python scripts/build_docs.py

.PHONY: deb
deb: ## Build the Debian package, data path compiled, into build/deb; as root it first installs what that needs. SUITE=trixie for another Debian
	@SUITE=$(SUITE) scripts/build-deb

.PHONY: test-deb
test-deb: ## Install, upgrade under load, remove and purge the package in a Debian of its own, or of SUITE (as root, ten minutes)
	@SUITE=$(SUITE) scripts/test-deb

.PHONY: wheel
wheel: $(VENV)/.stamp-dev ## A wheel with the data path compiled for this Python, in build/wheel (needs a C compiler and Python's headers)
	NETFW_COMPILE=1 $(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w build/wheel .
	rm -rf build/netfw build/lib.* build/temp.* build/bdist.* build/__native* build/ops.txt

.PHONY: clean
clean: ## Remove caches and build products; .venv and var/ (the CA, records) stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find netfw tests twisted benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache

.PHONY: distclean
distclean: clean ## Remove .venv and var/ as well: a fresh checkout
	rm -rf $(VENV) var

# pip takes seconds even when there is nothing to do: it runs when what it reads has changed.
$(VENV)/.stamp-run: setup.cfg pyproject.toml scripts/make-venv
	@scripts/make-venv $(VENV)
	$(BIN)/python -m pip install -q -e .
	@touch $@

# A copy: a compiled module beside its source would hide what is edited later.
COPIED = $(shell git ls-files netfw twisted tests benchmarks setup.py setup.cfg 2>/dev/null)

build/compiled/.stamp: $(VENV)/.stamp-dev $(COPIED)
	scripts/compile
	@touch $@

build/oldest/.stamp: scripts/install-oldest $(COPIED)
	@scripts/install-oldest $(OLDEST)
	PYTHON=$(OLDEST) scripts/compile build/oldest
	@touch $@

$(VENV)/.stamp-docs: $(VENV)/.stamp-run
	$(BIN)/python -m pip install -q -e '.[docs]'
	@touch $@

$(VENV)/.stamp-dev: setup.cfg pyproject.toml scripts/make-venv
	@scripts/make-venv $(VENV)
	$(BIN)/python -m pip install -q -e '.[test,lint]'
	@touch $@ $(VENV)/.stamp-run
