# Everything a developer or a first visitor runs. `make` alone lists it.
#
# Nothing has to be prepared but Python 3.11 or newer: the targets make .venv, install what they
# need into it and look for a browser. PYTHON=/path/to/python3 chooses the interpreter.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
BIN := .venv/bin
PACKAGES := api workers beat shared

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/ready-local browser ## Send a report from a running Broadsheet and show the mail
	@exec $(BIN)/python -m deploy.local demo

.PHONY: up
up: .venv/ready-local browser ## Run Broadsheet on this machine until Ctrl-C
	@exec $(BIN)/python -m deploy.local up

.PHONY: test
test: .venv/ready-test browser tools ## Run all tests, against real services
	@exec $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: test-unit
test-unit: .venv/ready-test ## Run the tests that need no service
	@exec $(BIN)/python -m pytest tests/unit

.PHONY: test-integration
test-integration: .venv/ready-test browser tools ## Run the tests of each module against its real service
	@exec $(BIN)/python -m pytest tests/integration

.PHONY: test-acceptance
test-acceptance: .venv/ready-test browser tools ## Run the tests of all processes together
	@exec $(BIN)/python -m pytest tests/acceptance

.PHONY: check
check: .venv/ready-test ## Check style, types, imports, and that there is no secret in it
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.secret_scan

.PHONY: audit
audit: .venv/ready-audit ## Ask PyPI for known faults of all dependencies (needs the internet)
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

.PHONY: fmt
fmt: .venv/ready-test ## Format the code and mend what can be mended by itself
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: bench
bench: .venv/ready-test browser ## Measure requests per second and the stages of a run
	@$(BIN)/python -m tests.bench.api_requests
	@$(BIN)/python -m tests.bench.stages

.PHONY: bench-capture
bench-capture: .venv/ready-test browser ## Compare captures with other ways to do them (ARGS=--help)
	@exec $(BIN)/python -m tests.bench.capture $(ARGS)

.PHONY: bench-schedule
bench-schedule: .venv/ready-bench ## Compare claiming with other schedulers (ARGS=--help)
	@exec $(BIN)/python -m tests.bench.schedule $(ARGS)

.PHONY: bench-burst
bench-burst: .venv/ready-test browser ## Drain reports that are due in the same minute (ARGS=--help)
	@exec $(BIN)/python -m tests.bench.burst $(ARGS)

.PHONY: bench-operate
bench-operate: .venv/ready-test browser ## Measure what operators go by (ARGS="metrics --reports 1000000")
	@exec $(BIN)/python -m tests.bench.operate $(ARGS)

.PHONY: chaos
chaos: .venv/ready-test browser ## Kill and cut at random, then count the mails (ARGS="--seconds 600 --seed 7")
	@exec $(BIN)/python -m tests.chaos $(ARGS)

.PHONY: fuzz
fuzz: .venv/ready-test ## Throw made-up requests at the API (ARGS="--requests 10000 --seed 7")
	@exec $(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: clean
clean: ## Delete .venv, results and caches
	rm -rf .venv var build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis \
		.import_linter_cache
	find $(PACKAGES) deploy tests -name __pycache__ -prune -exec rm -rf {} +

.PHONY: browser
browser:
	@$(BIN)/python -m deploy.local.browser

.PHONY: tools
tools:
	@$(BIN)/python -m deploy.local.tools nginx promtool

.venv/ready-%: pyproject.toml constraints.txt
	@deploy/local/bootstrap.sh $*
