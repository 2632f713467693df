# The native wiring: the same stages as the Dagger module's, without containers.
# A fresh machine needs Python 3.11 or newer and make; everything else is brought by tools/install.py.

PYTHON    ?= python3
DATASET   ?= synthetic
LABELS    ?=
ARTIFACTS ?= artifacts
PORT      ?= 8000
URL       ?= http://127.0.0.1:$(PORT)
TRAIN     ?=
BOUNDS    ?=
RELEASE   ?=

# It is written to and cleared by name: several paths, or none, would clear something else.
ifneq ($(words $(ARTIFACTS)),1)
$(error ARTIFACTS='$(ARTIFACTS)' is not one path without spaces; give another)
endif

BIN   := .venv/bin
MODEL := $(ARTIFACTS)/model/model.onnx
CLIPS := $(ARTIFACTS)/.clips
DATA  := --dataset '$(DATASET)' $(if $(LABELS),--labels '$(LABELS)')
# A port that is free now, so that a run never meets another server.
FREE_PORT = $$($(BIN)/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
SERVER = KWS_MODEL=$(MODEL) $(BIN)/python -m service
CLIENT = $(BIN)/python -m service.test_client --clips $(CLIPS) --output $(ARTIFACTS)/inference
GATES = $(BOUNDS:%=--bound '%')

.DEFAULT_GOAL := help
.PHONY: help env pipeline failed train clips serve test-client report bench-service soak page test lint format e2e e2e-all engine engine-stop clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: ## the locked dependencies in .venv (uv is brought too)
	@$(PYTHON) tools/install.py dev

pipeline: env ## train, serve, test, judge: everything in artifacts/ (DATASET=…, LABELS=… for your own)
	@$(BIN)/python -m release bounds $(GATES)
	@$(if $(RELEASE),test -r '$(RELEASE)' || { echo "RELEASE='$(RELEASE)' cannot be read; give gates.json of the last release" >&2; exit 2; })
	@rm -rf $(addprefix $(ARTIFACTS)/,inference report.md gates.json model.log service.log)
	@$(MAKE) --no-print-directory train || { $(MAKE) --no-print-directory failed; exit 1; }
	@$(MAKE) --no-print-directory clips
	@mkdir -p $(ARTIFACTS)/inference
	@set -e; port=$(FREE_PORT); KWS_PORT=$$port $(SERVER) >$(ARTIFACTS)/service.log 2>&1 & server=$$!; \
	  trap 'kill $$server 2>/dev/null || true; wait $$server || true' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	  $(CLIENT) http://127.0.0.1:$$port || true # what it found wrong is for the gates to judge
	@$(MAKE) --no-print-directory report

# A training that failed: its log, and a report that says so; the model of a former run is moved out of the way.
failed: env
	@if [ -e $(ARTIFACTS)/model/model.onnx ]; then mv -T --backup=numbered $(ARTIFACTS)/model $(ARTIFACTS)/model.before; \
	  echo "the model of the former run is in $(ARTIFACTS)/model.before"; fi
	@mkdir -p $(ARTIFACTS)/model
	@if [ -e $(ARTIFACTS)/model.log ]; then cp $(ARTIFACTS)/model.log $(ARTIFACTS)/model/train.log; fi
	@$(MAKE) --no-print-directory report

train: env ## the model in artifacts/model (TRAIN='--epochs 5' for more options)
	$(BIN)/python -m model train $(DATA) --output $(ARTIFACTS)/model $(TRAIN)

clips: env ## labelled recordings of the test split, for the test client
	@$(BIN)/python -m model clips $(DATA) --output $(CLIPS)

serve: env ## the inference app at http://127.0.0.1:PORT (MODEL=… for another model.onnx)
	KWS_PORT=$(PORT) $(SERVER)

test-client: clips ## test a running service (URL=…, DATASET=… that its model was trained on)
	$(CLIENT) $(URL)

report: env ## artifacts/report.md and the verdict of the gates (BOUNDS='min_accuracy=0.95 …', RELEASE=gates.json of the last)
	@$(BIN)/python -m release judge $(ARTIFACTS) --without image $(if $(RELEASE),--last '$(RELEASE)') $(GATES); \
	  code=$$?; case $$code in 0|3) head -n 1 $(ARTIFACTS)/report.md | tr -d '\\';; esac; exit $$code

bench-service: env ## /predict beside FastAPI, LitServe, BentoML and plain Flask, with wrk (needs a trained model, Linux)
	@$(BIN)/python -m tools.bench compare $(MODEL)

soak: env ## 200,000 requests to one server, whose memory and open files must not grow (needs a trained model)
	@$(BIN)/python -m tools.bench soak $(MODEL)

page: env ## docs/page.png anew, in headless Chromium (needs a trained model, chromium, chromium-driver)
	KWS_TEST_PICTURE=docs/page.png KWS_MODEL=$(MODEL) $(BIN)/pytest -q tests/service/test_page.py -k picture

test: env lint ## lint, types and all tests that need no engine
	$(BIN)/pytest --ignore=tests/e2e -n 2

COG = $(BIN)/cog -I . -I ci/src

lint: env ## ruff, mypy, the made parts of docs/, GitLab's file, the workflow under zizmor and (where installed) actionlint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(COG) --check docs/options.md
	$(BIN)/zizmor --offline --quiet --persona=pedantic .github/workflows
	$(BIN)/check-jsonschema --builtin-schema vendor.gitlab-ci docs/.gitlab-ci.yml
	@if command -v actionlint >/dev/null; then actionlint; else echo "actionlint: not installed, not run"; fi

format: env ## put the code into its form, and make the made parts of docs/ anew
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(COG) -r docs/options.md

e2e: env ## the pipeline on a real engine (needs dagger and an engine: see README)
	$(BIN)/pytest tests/e2e -v -m "not long"

e2e-all: env ## the same, and the long ones: credentials, edits, a remote engine, supply chain, sweep, all checks
	$(BIN)/pytest tests/e2e -v

engine: ## start an installed dagger-engine and a local registry
	@tools/dagger_engine start

engine-stop: ## stop what `make engine` started
	@tools/dagger_engine stop

clean: ## remove what was made, but the environment
	rm -rf $(addprefix $(ARTIFACTS)/,.clips model model.before* model.log model.resume image inference report.md gates.json service.log)
	rm -rf .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
