# `make run` and `make test` install what they need. Only make and Python 3.11 with venv are required.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# 18 or 16, the oldest that is supported: the versions of the wheel that the tests use.
POSTGRES_VERSION := 18
POSTGRES := $(BIN)/python -W ignore::RuntimeWarning -m taskflow.tests.postgres --version $(POSTGRES_VERSION)
COMPILE := $(BIN)/python -m uv pip compile --quiet --universal --generate-hashes \
	--no-emit-index-url --python-version 3.11
export TASKFLOW_DEBUG ?= 1
export FUZZ_CASES ?= 50000
export FUZZ_SEED ?= 1
export CHAOS
export CASES
export RACE_SEED ?= 1
MINUTES ?= 30
# pytest rewrites the asserts of all tests, and stores the result for the next run.
unexport PYTHONDONTWRITEBYTECODE
# Which tests the test targets run, and in how many processes. `make test-slow` sets these to the others,
# of which many wait for servers.
SPEED := not slow
PROCESSES := 2
# Only these modules, since it takes long to import all.
ISOLATION_TESTS = $(shell grep -rl 'mark\.isolation' --include='test_*.py' taskflow accounts tasks)

.DEFAULT_GOAL := help

# The packages to run TaskFlow; and those for its tests and lint, which include the first.
runtime:
	@PYTHON="$(PYTHON)" sh .ci/install.sh requirements-runtime.lock

installed:
	@PYTHON="$(PYTHON)" sh .ci/install.sh requirements-runtime.lock requirements.lock

# BENCH, GROWTH and SQLITE are arguments for three of the programs of `make bench`, FAULTS for `make chaos`.
BENCH_SHORT := $(if $(SHORT),--short)
.PHONY: help run doctor wheel messages isolation-matrix test test-slow test-sqlite test-postgres test-isolation test-browser contract fuzz isolation-database isolation-superuser isolation-plain prove prove-pooler prove-deploy chaos scale soak stored-databases bench bench-sqlite lint format lock clean reset runtime installed
help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: runtime ## Set up, migrate, seed the demo and serve on 127.0.0.1:$(PORT)
	@$(BIN)/python manage.py serve --port $(PORT)

doctor: ## Say what is missing to run TaskFlow on this machine
	@PYTHON="$(PYTHON)" PORT="$(PORT)" sh .ci/doctor.sh

wheel: runtime ## Build dist/taskflow-*.whl, which pip and pipx install
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@rm -rf build taskflow.egg-info

test: test-sqlite test-postgres ## Run the everyday tests on SQLite and on PostgreSQL 18

test-slow: ## Run the tests that make test leaves out, on both databases. CASES=1: at most so many cases of each test
	$(MAKE) --no-print-directory SPEED=slow PROCESSES=3 test test-isolation

test-sqlite: installed ## Run the everyday tests on SQLite
	env -u DATABASE_URL TASKFLOW_DEBUG=0 $(PYTEST) -n $(PROCESSES) -m '$(SPEED) and not left_out'

test-postgres: installed ## Run the everyday tests on PostgreSQL 18, POSTGRES_VERSION=16, or on TEST_DATABASE_URL
	TASKFLOW_DEBUG=0 $(POSTGRES) $(PYTEST) -n $(PROCESSES) -m '$(SPEED) and not (readme or left_out)'

test-isolation: installed ## Run the tests of tenant isolation with each of the two protections alone
	$(MAKE) --no-print-directory -j3 --output-sync isolation-database isolation-superuser isolation-plain

isolation-database:
	ISOLATION_SHARE=69 TASKFLOW_DEBUG=0 $(POSTGRES) $(PYTEST) -m 'isolation and (matrix or not left_out)' -p taskflow.tests.without_manager $(ISOLATION_TESTS)

isolation-superuser:
	TASKFLOW_DEBUG=0 $(POSTGRES) --login superuser --pool $(PYTEST) -m 'isolation and not (matrix or left_out)' $(ISOLATION_TESTS)

isolation-plain:
	TASKFLOW_DEBUG=0 $(POSTGRES) --login plain $(PYTEST) -m 'isolation and not (matrix or left_out)' $(ISOLATION_TESTS)

test-browser: installed ## Do the jobs of people in Chromium, and print their clicks; installs it when missing. BROWSER="-k move"
	@command -v chromium >/dev/null || { apt-get update -qq && \
	apt-get install -y -qq --no-install-recommends chromium; }
	$(BIN)/python -m taskflow.tests.browser $(BROWSER)

contract: installed ## Lint the OpenAPI document, and work with generated clients, that of MCP and webhooks; needs Node.js
	$(BIN)/python -m taskflow.tests.generated_client

fuzz: installed ## Send FUZZ_CASES=50000 generated requests to the API on each database
	$(BIN)/python -m taskflow.tests.fuzz

isolation-matrix: installed ## Send every request of the isolation matrix, about 34,000, on each database
	env -u DATABASE_URL ISOLATION_SHARE=1 TASKFLOW_DEBUG=0 $(PYTEST) -n 2 taskflow/tests/test_isolation_matrix.py
	ISOLATION_SHARE=1 TASKFLOW_DEBUG=0 $(POSTGRES) $(PYTEST) -n 2 taskflow/tests/test_isolation_matrix.py

prove: installed ## Run the slow proofs on both databases: retries, kill -9, concurrent writers, undo
	env -u DATABASE_URL PROOF=1 TASKFLOW_DEBUG=0 $(PYTEST) -s -m proof
	PROOF=1 TASKFLOW_DEBUG=0 $(POSTGRES) $(PYTEST) -s -m 'proof and not readme'

chaos: installed ## Break a running installation in many ways; prints a table. CHAOS=short takes 5 minutes
	@command -v pgbouncer >/dev/null || apt-get install -y -qq pgbouncer || echo "PgBouncer is left out."
	$(BIN)/python -W ignore::RuntimeWarning -m taskflow.tests.chaos $(FAULTS)

soak: installed ## Serve mixed load for MINUTES=30 on each database, and print what has grown
	$(BIN)/python -W ignore::RuntimeWarning -m taskflow.tests.chaos.soak --minutes $(MINUTES)

prove-pooler: installed ## Serve two tenants through PgBouncer with two and six connections; installs it when missing
	@command -v pgbouncer >/dev/null || apt-get install -y -qq pgbouncer
	$(BIN)/python -W ignore::RuntimeWarning -m taskflow.tests.pooler

scale: installed ## Measure 10,000 tenants, a failover and PgBouncer; installs it when missing. SCALE="failover"
	@command -v pgbouncer >/dev/null || apt-get install -y -qq pgbouncer || echo "PgBouncer is left out."
	$(BIN)/python -W ignore -m taskflow.tests.scale $(SCALE)

prove-deploy: installed ## Try the files of docs/deploy/; installs nginx, Caddy and mmdebstrap when missing. DEPLOY=--short
	@# RUNLEVEL=1: the services are installed, but not started.
	@for program in nginx caddy mmdebstrap; do command -v $$program >/dev/null || missing=1; done; \
	test -z "$$missing" || { apt-get update -qq && \
	RUNLEVEL=1 apt-get install -y -qq --no-install-recommends nginx-light caddy mmdebstrap; } || echo "What could not be installed is left out."
	TASKFLOW_DEBUG=0 $(BIN)/python -m taskflow.tests.deployment $(DEPLOY)

stored-databases: installed ## Write the export and the databases that the tests upgrade; before a release only
	env -u DATABASE_URL WRITE_GOLDEN=1 TASKFLOW_DEBUG=0 $(PYTEST) tasks/tests/test_export_format.py -k golden_file
	$(BIN)/python -m taskflow.tests.stored_databases

bench: installed ## Compare TaskFlow with other stacks, and measure its growth; needs wrk. Writes benchmarks/RESULTS.md. SHORT=1: only tries it
	$(BIN)/python -W ignore -m benchmarks.bench $(BENCH_SHORT) $(BENCH)
	$(BIN)/python -W ignore -m benchmarks.growth $(BENCH_SHORT) $(GROWTH)
	$(BIN)/python -W ignore -m benchmarks.claims $(BENCH_SHORT)
	$(BIN)/python -W ignore -m benchmarks.waiting --database postgresql --readers 100 --rounds 2 --write $(BENCH_SHORT)
	$(BIN)/python -W ignore -m benchmarks.sqlite $(BENCH_SHORT) $(SQLITE)

bench-sqlite: installed ## Run the benchmarks of SQLite only; needs no wrk
	$(BIN)/python -W ignore -m benchmarks.sqlite $(BENCH_SHORT) $(SQLITE)

lint: installed ## Run ruff and mypy --strict
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	TASKFLOW_DEBUG=0 $(BIN)/python -m mypy .

format: installed ## Format the code with ruff
	$(BIN)/python -m ruff check --fix --quiet . ; $(BIN)/python -m ruff format .

messages: installed ## Add new texts to the German catalog, compile it, and list what is not translated
	@$(BIN)/python -m taskflow.tests.catalog

lock: ## Write both lock files from pyproject.toml; UPGRADE=--upgrade takes the newest releases
	@PYTHON="$(PYTHON)" sh .ci/install.sh
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) $(UPGRADE) --group dev pyproject.toml -o requirements.lock
	@# The copy makes uv keep the versions and hashes of the full lock.
	cp requirements.lock requirements-runtime.lock
	$(COMPILE) -c requirements.lock pyproject.toml -o requirements-runtime.lock

clean: ## Remove the environment and the caches, but not the data
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

reset: ## Delete the local database and secret key after a confirmation; YES=1 confirms
	@YES="$(YES)" sh .ci/reset.sh
