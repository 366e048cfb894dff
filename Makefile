SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
bin := .venv/bin
extras := gateway auth chat ai billing
# Read by the launcher: `make run GATEWAYS=2 AIS=3`.
export GATEWAYS AUTHS CHATS AIS BILLINGS THOUGHTFLOW_HOME THOUGHTFLOW_PORT
compile := UV_PYTHON_DOWNLOADS=never $(bin)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run it
.PHONY: run status stop reset demo dead-letters doctor backup restore footprint
run: .installed-local ## Start everything on this machine; CHATS=2 AIS=3 for replicas
	@exec $(bin)/python -m deploy.local run

status: .installed-local ## Show what runs, and where
	@$(bin)/python -m deploy.local status

stop: .installed-local ## Stop what `make run` started
	@$(bin)/python -m deploy.local stop

reset: .installed-local ## Delete all data of `make run`, after asking
	@$(bin)/python -m deploy.local reset

demo: .installed-local ## Walk through the API of a running stack
	@$(bin)/python -m deploy.local demo $(ARGS)

dead-letters: .installed-local ## List what failed for good; ARGS="show ID", "replay ID" or "discard ID"
	@$(bin)/python -m deploy.local dead-letters $(ARGS)

doctor: .installed-local ## Check settings, connections, clocks, queues and migrations of what runs
	@$(bin)/python -m deploy.local doctor

backup: .installed-local ## Write all data of what runs to one file
	@$(bin)/python -m deploy.local backup create

restore: .installed-local ## Fill an empty home from a backup: FILE=...
	@$(bin)/python -m deploy.local backup restore "$(FILE)"

footprint: .installed-local ## Show the memory of what runs, and what is installed on disk
	@$(bin)/python -m deploy.local footprint

##@ Run it in containers
.PHONY: up down logs
up: ## Build and start everything in containers, and wait until it is ready
	@$(PYTHON) -m deploy.containers.env_file
	docker compose up --detach --build --wait $(ARGS)

down: ## Stop and remove the containers; ARGS=--volumes deletes all data, too
	docker compose --profile '*' down --remove-orphans $(ARGS)

logs: ## Follow what the containers log; ARGS=chat for one of them
	docker compose --profile '*' logs --follow --tail 100 $(ARGS)

##@ Develop it
.PHONY: install fmt lint types imports check contracts lock
install: .installed-dev ## Make .venv with the tools for tests and checks

fmt: .installed-dev ## Format the code and apply safe fixes
	$(bin)/ruff check --fix-only --quiet .
	$(bin)/ruff format .

lint: .installed-dev ## Check style and format
	$(bin)/ruff check .
	$(bin)/ruff format --check .

types: .installed-dev ## Check types
	$(bin)/mypy .

imports: .installed-dev ## Check who may import whom
	$(bin)/lint-imports

check: lint types imports test ## All of the above, and the tests: what CI runs

contracts: .installed-dev ## Write the generated documents anew: events, errors, Postman, AsyncAPI
	$(bin)/python -m tests.contracts.regenerate

# One after the other: each is constrained by the first.
lock: .installed-dev ## Resolve dependencies anew within pyproject.toml's bounds
	$(bin)/python -m ensurepip >/dev/null
	$(bin)/python -m pip install --quiet --require-hashes --requirement requirements/uv.txt
	$(compile) pyproject.toml --all-extras --output-file requirements/all.txt
	for extra in $(extras); do \
		$(compile) pyproject.toml --extra $$extra --constraints requirements/all.txt \
			--output-file requirements/$$extra.txt || exit 1; \
	done
	$(compile) pyproject.toml $(extras:%=--extra %) --extra local \
		--constraints requirements/all.txt --output-file requirements/local.txt
	$(compile) pyproject.toml --all-extras \
		--constraints requirements/all.txt --output-file requirements/dev.txt
	echo 'uv~=0.13.9' | $(compile) --output-file requirements/uv.txt -

##@ Test it
.PHONY: test test-unit test-integration test-contracts test-e2e test-nightly test-chaos test-postman test-api
test: .installed-dev ## Run every test but chaos; six groups, three at a time, each with servers of its own
	@$(MAKE) --no-print-directory --jobs 3 --output-sync=line --keep-going \
		.test-accounts .test-billing .test-live .test-local .test-model .test-whole
	@echo "All tests passed"

.PHONY: .test-accounts .test-billing .test-live .test-local .test-model .test-whole
.test-accounts: tested := services/auth
.test-billing: tested := libs services/billing
.test-live: tested := services/gateway
.test-local: tested := deploy bench
.test-model: tested := services/ai
.test-whole: tested := tests services/chat
.test-accounts .test-billing .test-live .test-local .test-model .test-whole:
	@$(bin)/python -m pytest --quiet --no-header -m "not chaos" $(tested)

test-unit: .installed-dev ## Run the tests that need no server
	$(bin)/python -m pytest -m "not integration and not e2e"

test-integration: .installed-dev ## Run the tests on real servers
	$(bin)/python -m pytest -m integration

test-contracts: .installed-dev ## Check events, SQL and layout
	$(bin)/python -m pytest tests/contracts

test-e2e: .installed-dev ## Run the tests of the whole system
	$(bin)/python -m pytest -m "e2e and not chaos"

test-postman: .installed-dev ## Run the Postman collection by newman against the whole system; needs npm
	@$(bin)/python -m pytest --quiet --no-header tests/e2e/test_postman.py

test-api: .installed-dev ## Send made-up requests by the OpenAPI document to the whole system; 2 minutes
	@$(bin)/python -m pytest --quiet --no-header tests/e2e/test_schemathesis.py

test-nightly: .installed-dev ## Live 1,000 random lives of subscribers, not 50
	PROPERTY_RUNS=1000 $(bin)/python -m pytest --quiet --no-header \
		services/billing/tests/integration/test_lives.py

test-chaos: .installed-dev ## Kill, restart and freeze what runs, under load; 10 minutes
	$(bin)/python -m pytest --quiet --no-header -m chaos tests/e2e

##@ Check what it is made of
.PHONY: audit sbom licenses
audit: .installed-dev ## Look up every locked package among the known vulnerabilities
	@for lock in requirements/*.txt; do \
		$(bin)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off --requirement $$lock || exit 1; \
	done

sbom: .installed-dev ## Write the services' bill of materials, CycloneDX 1.6, to .thoughtflow/sbom
	@mkdir -p .thoughtflow/sbom
	@for service in $(extras); do \
		PYTHONWARNINGS=ignore $(bin)/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml \
			--output-file .thoughtflow/sbom/$$service.cdx.json requirements/$$service.txt || exit 1; \
		echo ".thoughtflow/sbom/$$service.cdx.json"; \
	done

# Of what ships; each of these may be used, changed and sold on. MPL is about the package's own files.
allowed := MIT;MIT-0;0BSD;BSD;ISC;Apache;Apache-2.0;PSF-2.0;MPL-2.0;Mozilla Public License 2.0;Python Software Foundation;Unlicense
# Their metadata name none, their LICENSE files do: MIT.
unnamed := promql-parser
licenses: .installed-dev ## Check that every package has a licence that we may use
	@$(bin)/pip-licenses --from=mixed --partial-match --allow-only="$(allowed)" --ignore-packages $(unnamed) --summary

##@ Measure it
.PHONY: bench
bench: .installed-dev ## Measure against references in the same run, 15 minutes; ARGS="--only listing"
	@$(bin)/python -m bench $(ARGS)

# Not files: install.py decides, by the locks' hashes, whether there is anything to do (0.05 s if not).
.PHONY: .installed-local .installed-dev
.installed-local:
	@$(PYTHON) deploy/local/install.py local

.installed-dev:
	@$(PYTHON) deploy/local/install.py dev
