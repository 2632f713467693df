# The native wiring: the same stages as the Dagger module's, without containers.
# A fresh machine needs Python 3.11 or newer and make; everything else is brought by tools/install.py.

PYTHON    ?= python3
DATASET   ?= synthetic
ARTIFACTS ?= artifacts
PORT      ?= 8000
URL       ?= http://127.0.0.1:$(PORT)
TRAIN     ?=
BOUNDS    ?=
RELEASE   ?=

BIN   := .venv/bin
MODEL := $(ARTIFACTS)/model/model.onnx
CLIPS := .cache/clips
SERVER = KWS_MODEL=$(MODEL) $(BIN)/python -m service
PROBE  = $(BIN)/python -m service.test_client --clips $(CLIPS) --output $(ARTIFACTS)/inference

.DEFAULT_GOAL := help
.PHONY: help env pipeline train clips serve probe bench-model bench-service soak report test lint format e2e e2e-all engine engine-stop clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: ## the locked dependencies in .venv (uv is brought too)
	@$(PYTHON) tools/install.py dev

pipeline: train clips ## data, train, serve, probe: everything in artifacts/ (DATASET=… for another data set)
	@rm -rf $(ARTIFACTS)/inference
	@set -e; port=$$($(BIN)/python -m tools.free_port); \
	  KWS_PORT=$$port $(SERVER) & server=$$!; trap 'kill $$server 2>/dev/null || true; wait $$server || true' EXIT; \
	  $(PROBE) http://127.0.0.1:$$port || [ $$? = 1 ] # what it found wrong is for the gates to judge
	@$(MAKE) --no-print-directory report

train: env ## the model in artifacts/model (TRAIN='--epochs 5' for more options)
	$(BIN)/python -m model train --dataset '$(DATASET)' --output $(ARTIFACTS)/model $(TRAIN)

clips: env ## labelled recordings of the test split, for the probe
	@$(BIN)/python -m model clips --dataset '$(DATASET)' --output $(CLIPS)

serve: env ## the inference app at http://127.0.0.1:PORT
	KWS_PORT=$(PORT) $(SERVER)

probe: clips ## test a running service (URL=…)
	$(PROBE) $(URL)

report: env ## artifacts/report.md and the verdict of the gates (BOUNDS='min_accuracy=0.95 …', RELEASE=gates.json of the last)
	@$(BIN)/python -m tools.report $(ARTIFACTS) $(if $(RELEASE),--release '$(RELEASE)') --bounds $(BOUNDS)

bench-model: env ## every profile with three seeds, a table in ARTIFACTS/bench (DATASET=…; an hour on two cores)
	$(BIN)/python -m tools.bench_model '$(DATASET)' --output $(ARTIFACTS)/bench/model.md

bench-service: env ## /predict beside a bare Flask view, with wrk and oha; a table in ARTIFACTS/bench (needs a trained model)
	@$(BIN)/python -m tools.bench_service $(MODEL) service/samples/yes.wav --output $(ARTIFACTS)/bench/service.md

soak: env ## 200,000 requests to one server, whose memory and open files must not grow (needs a trained model)
	@$(BIN)/python -m tools.soak_service $(MODEL)

test: env lint ## lint, types and all tests that need no engine
	$(BIN)/pytest --ignore=tests/e2e

lint: env ## ruff, mypy, and the workflow under zizmor and (where installed) actionlint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/zizmor --offline --quiet --persona=pedantic .github/workflows
	@if command -v actionlint >/dev/null; then actionlint; else echo "actionlint: not installed, not run"; fi

format: env ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

e2e: env ## the pipeline on a real engine (needs dagger and an engine: see README)
	$(BIN)/pytest tests/e2e -v -m "not long"

e2e-all: env ## the same, and the long ones: credentials, edits, a remote engine, supply chain, sweep, all checks
	$(BIN)/pytest tests/e2e -v

engine: ## start an installed dagger-engine and a local registry
	@tools/engine start

engine-stop: ## stop what `make engine` started
	@tools/engine stop

clean: ## remove what was made, but the environment
	rm -rf $(ARTIFACTS) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
