# make play     the playable page on this machine (needs Python 3.11 or newer, nothing else)
# make test     every test, with its real parts (installs them first)
# make check    everything that reads the code without running it
# make loadtest-smoke   200 bots for a minute: is the game correct under load?
# make bench    microbenchmarks of the hot functions; make profile: flame graphs of each process of a running load
# make prove-X  measure one claim afresh: loadtest/prove says which there are
#
# Set-up happens by itself, once: each part has a stamp in .venv. ARGS="..." is handed on to pytest.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
export PYTHON
.DELETE_ON_ERROR:
.PHONY: bench sanitize dependencies bench-compare compare profile simulate loadtest-smoke play test test-js test-py check lint types layers protos tidy proto proto-check lock setup audit check-deploy image clean

play: $(VENV)/.runtime
	@exec $(BIN)/overworld dev $(ARGS)

test: test-js test-py

test-js: $(VENV)/.node
	@cd clients/js && PATH="$(CURDIR)/$(BIN):$$PATH" npm test --silent

test-py: $(VENV)/.dev $(VENV)/.node $(VENV)/.browser $(VENV)/.servers $(VENV)/.csharp $(VENV)/.peers $(VENV)/.prometheus
	@$(BIN)/python -m pytest $(ARGS)

prove-%: $(VENV)/.dev $(VENV)/.node $(VENV)/.browser $(VENV)/.servers
	@$(BIN)/python -m loadtest.prove $* $(ARGS)

prove-bytes prove-compare prove-limits prove-growth: $(VENV)/.peers

prove-deploy-checks: $(VENV)/.deploy

prove-upgrade: $(VENV)/.prometheus

compare: prove-compare

SEEDS ?= 100

simulate: $(VENV)/.dev
	@$(BIN)/python -m tests.simulation.run --seeds $(SEEDS) $(ARGS)

# The gateway's compiled lane under AddressSanitizer and UBSan, through its property tests. (Python itself leaks by design.)
SANITIZED := $(VENV)/lane-sanitized.so

sanitize: $(VENV)/.dev
	@gcc -g -O1 -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover -shared -fPIC \
		-o $(SANITIZED) server/overworld/gateway/lane.c
	@LD_PRELOAD=$$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 LANE_LIBRARY=$(SANITIZED) \
		$(BIN)/python -m pytest -q tests/gateway/test_lane.py $(ARGS)

# A load test whose thresholds are on correctness alone: 200 bots for a minute. `python -m loadtest` does the others.
loadtest-smoke: $(VENV)/.dev
	@$(BIN)/python -m loadtest run smoke --local --output loadtest-results/smoke $(ARGS)

# BENCH=name.json names the result; `make bench-compare BEFORE=a.json AFTER=b.json` compares two, by ratio.
BENCH ?= loadtest-results/bench.json

bench: $(VENV)/.dev
	@mkdir -p $(dir $(BENCH))
	@$(BIN)/python -m pytest loadtest/benchmarks --benchmark-json=$(BENCH) --benchmark-columns=median,iqr,rounds $(ARGS)

bench-compare: $(VENV)/.dev
	@$(BIN)/python -m loadtest.benchmarks.ratios $(BEFORE) $(AFTER)

profile: $(VENV)/.dev $(VENV)/.peers
	@$(BIN)/python -m loadtest.profile $(ARGS)

check: lint types layers protos proto-check dependencies tidy

# What deploys: Dockerfile, Bicep, Kubernetes, against schemas and against the code. Installs its own tools first.
check-deploy: $(VENV)/.deploy
	@$(VENV)/deploy/bin/python -m tools.deploy_checks $(ARGS)

# The image, built and run here without a container engine's daemon, as root on Debian. Opt-in: CI_IMAGE=1 .ci/run
image: $(VENV)/.dev
	@tools/image.sh $(ARGS)

lint: $(VENV)/.dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(VENV)/.dev
	@$(BIN)/mypy

layers: $(VENV)/.dev
	@$(BIN)/lint-imports --no-cache --config pyproject.toml

protos: $(VENV)/.dev
	@$(BIN)/buf lint && echo "buf: proto/ follows the standard rules"

proto-check: $(VENV)/.dev
	@$(BIN)/python proto/generate.py --check
	@$(BIN)/python -m tools.dashboards --check
	@$(BIN)/python -m tools.azure_alerts --check

tidy: $(VENV)/.dev
	@$(BIN)/python -m pytest -q tests/test_tidy.py

proto: $(VENV)/.dev
	@$(BIN)/python proto/generate.py

lock: $(VENV)/.dev $(VENV)/.node
	@$(BIN)/python tools/lock.py
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm update --package-lock-only --ignore-scripts --no-audit --no-fund
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm update --prefix loadtest/peers/node --package-lock-only --ignore-scripts --no-audit --no-fund
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm update --prefix clients/js --package-lock-only --ignore-scripts --no-audit --no-fund

# Lock files against their rules, offline; `make audit` asks the services that publish advisories.
dependencies: $(VENV)/.dev
	@$(BIN)/python -m tools.dependencies

audit: $(VENV)/.dev $(VENV)/.node
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tools.dependencies.online

setup: $(VENV)/.dev $(VENV)/.node $(VENV)/.browser $(VENV)/.servers $(VENV)/.csharp $(VENV)/.peers $(VENV)/.prometheus
	@echo "setup: everything is installed"

clean:
	rm -rf $(VENV) .cache .hypothesis .benchmarks node_modules build dist server/*.egg-info server/overworld/gateway/_lane*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------- set-up

$(VENV)/.python: tools/setup.sh
	@tools/setup.sh python
	@touch $@

$(VENV)/.runtime: $(VENV)/.python constraints.txt pyproject.toml setup.py server/overworld/gateway/lane.c
	@tools/setup.sh runtime
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@tools/setup.sh dev
	@touch $@

$(VENV)/.node: $(VENV)/.runtime package-lock.json $(wildcard clients/*/package-lock.json)
	@tools/setup.sh node
	@touch $@

$(VENV)/.peers: $(VENV)/.node loadtest/peers/node/package-lock.json
	@tools/setup.sh peers
	@touch $@

$(VENV)/.deploy: $(VENV)/.dev deploy/constraints.txt
	@tools/setup.sh deploy
	@touch $@

# Without the right to install a browser the stamp stays away, and the tests that need one say so.
$(VENV)/.browser: $(VENV)/.python
	@tools/setup.sh browser && touch $@ || test $$? -eq 2

# Likewise for the tests with TLS.
$(VENV)/.servers: $(VENV)/.python
	@tools/setup.sh servers && touch $@ || test $$? -eq 2

# As the browser: for the tests of alerts, and the proof of upgrades.
$(VENV)/.prometheus: $(VENV)/.python
	@tools/setup.sh prometheus && touch $@ || test $$? -eq 2

# As the browser: for the tests of generated C#.
$(VENV)/.csharp: $(VENV)/.python
	@tools/setup.sh csharp && touch $@ || test $$? -eq 2
