# `make run` and `make test` set up all they need: Python 3.11 with venv and make are enough.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
POSTGRES := $(BIN)/python -W ignore::RuntimeWarning -m taskflow.tests.postgres
COMPILE := $(BIN)/python -m uv pip compile --quiet --universal --generate-hashes \
	--no-emit-index-url --python-version 3.11
export TASKFLOW_DEBUG ?= 1

.DEFAULT_GOAL := help

# What TaskFlow needs to run, and what its tests and lint need too: the second contains the first.
runtime:
	@PYTHON="$(PYTHON)" sh .ci/install.sh requirements-runtime.lock

installed:
	@PYTHON="$(PYTHON)" sh .ci/install.sh requirements-runtime.lock requirements.lock

# Parameters of `make bench`: BENCH, GROWTH and SQLITE are passed on.
.PHONY: help run test test-sqlite test-postgres test-isolation test-client isolation-database isolation-superuser isolation-plain prove stored-databases bench bench-sqlite lint format lock clean reset runtime installed
help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: runtime ## Set up, migrate, seed the demo and serve on 127.0.0.1:$(PORT)
	@$(BIN)/python manage.py serve --port $(PORT)

test: test-sqlite test-postgres test-isolation ## Run every test on SQLite and on PostgreSQL 18

test-sqlite: installed ## … on SQLite
	env -u DATABASE_URL TASKFLOW_DEBUG=0 $(PYTEST) -n 2

test-postgres: installed ## … on PostgreSQL 18 from the wheel, or on TEST_DATABASE_URL
	TASKFLOW_DEBUG=0 $(POSTGRES) $(PYTEST) -n 2 -m 'not readme'

test-isolation: installed ## The isolation tests with each protection alone, and with other logins
	$(MAKE) --no-print-directory -j3 --output-sync isolation-database isolation-superuser isolation-plain

isolation-database:
	TASKFLOW_DEBUG=0 $(POSTGRES) $(PYTEST) -m isolation -p taskflow.tests.without_manager

isolation-superuser:
	TASKFLOW_DEBUG=0 $(POSTGRES) --login superuser --pool $(PYTEST) -m 'isolation and not matrix'

isolation-plain:
	TASKFLOW_DEBUG=0 $(POSTGRES) --login plain $(PYTEST) -m 'isolation and not matrix'

test-client: installed ## Generate a Python client from the OpenAPI document and work with it
	$(BIN)/python -m taskflow.tests.generated_client

prove: installed ## The proofs at full length, on both databases: retries, kill -9, rivals, undo
	env -u DATABASE_URL PROOF=1 TASKFLOW_DEBUG=0 $(PYTEST) -s -m proof
	PROOF=1 TASKFLOW_DEBUG=0 $(POSTGRES) $(PYTEST) -s -m 'proof and not readme'

stored-databases: installed ## Write the export and the databases that the tests upgrade; before a release only
	env -u DATABASE_URL WRITE_GOLDEN=1 TASKFLOW_DEBUG=0 $(PYTEST) tasks/tests/test_export_format.py -k golden_file
	$(BIN)/python -m taskflow.tests.stored_databases

bench: installed ## TaskFlow beside its peers, and its growth, on both databases; needs wrk. Writes benchmarks/RESULTS.md
	$(BIN)/python -W ignore -m benchmarks.bench $(BENCH)
	$(BIN)/python -W ignore -m benchmarks.growth $(GROWTH)
	$(BIN)/python -W ignore -m benchmarks.sqlite $(SQLITE)

bench-sqlite: installed ## … on SQLite alone; needs no wrk
	$(BIN)/python -W ignore -m benchmarks.sqlite $(SQLITE)

lint: installed ## ruff and mypy --strict
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	TASKFLOW_DEBUG=0 $(BIN)/python -m mypy .

format: installed ## Let ruff write the code's form
	$(BIN)/python -m ruff check --fix --quiet . ; $(BIN)/python -m ruff format .

lock: ## Write both lock files from pyproject.toml; UPGRADE=--upgrade takes newer releases
	@PYTHON="$(PYTHON)" sh .ci/install.sh
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) $(UPGRADE) --group dev pyproject.toml -o requirements.lock
	@# The copy makes uv keep the versions and hashes of the full lock.
	cp requirements.lock requirements-runtime.lock
	$(COMPILE) -c requirements.lock pyproject.toml -o requirements-runtime.lock

clean: ## Remove the environment and the caches; the data stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

reset: ## Delete the local database and key, after asking; YES=1 answers for you
	@YES="$(YES)" sh .ci/reset.sh
