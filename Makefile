# Targets are listed by `make help`, from their own comments.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
FLOORS := .venv-floors
SLOW := tests/test_train.py tests/test_gpu_check.py tests/report/test_browser.py \
  tests/predict/test_page.py tests/predict/test_page_modules.py
PINNED := torch==2.14.1 torchvision==0.29.1
CHOSEN := $(shell cat $(VENV)/torch 2>/dev/null)
TORCH ?= $(or $(CHOSEN),$(PINNED))
OUTPUTS ?= outputs
MODES ?= all
EXPERIMENT ?= $(OUTPUTS)/demo
BRAINSEG := $(BIN)/brainseg
WASM := brainseg/runtime/wasm
ORT := $(WASM)/ort

.PHONY: help setup web litert demo test test-floors lint format quantize-all report gpu-check clean
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/installed ## create .venv with everything; TORCH='torch==… torchvision==…' chooses another torch
	@$(MAKE) --no-print-directory web || echo 'Not fetched: onnxruntime-web (see above). The page and' \
	  'timings in WebAssembly need it, nothing else does; `make web` tries again.' >&2

$(VENV)/installed: pyproject.toml constraints.txt $(VENV)/torch
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,openvino,dashboard,smp,scale,dicom,web]'
	touch $@

# A torch that was chosen once stays chosen; an empty file stands for the pinned one.
ifneq ($(TORCH),$(or $(CHOSEN),$(PINNED)))
.PHONY: $(VENV)/torch
endif
$(VENV)/torch:
	mkdir -p $(VENV)
	echo '$(if $(subst $(PINNED),,$(TORCH)),$(TORCH))' > $@

web: $(ORT)/.fetched ## fetch onnxruntime-web (pinned) for the page and for timings in WebAssembly

litert: $(VENV)/litert ## install LiteRT, the paper's runtime, and what converts networks for it (--runtime litert)

# The converter asks for an older typing_extensions than others here, and for much that it does not
# load when it converts a network: hence --no-deps, with what it does load.
$(VENV)/litert: constraints.txt $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt ai-edge-litert ai-edge-quantizer
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps \
	  litert-torch litert-converter jax jaxlib opt_einsum torchao
	touch $@

# Its packages have no licence file; they are built from the sources of the Python package, which has.
# A page loads `ort.wasm.min.mjs`; Node `ort.node.min.mjs`, which imports `onnxruntime-common`.
$(ORT)/.fetched: $(WASM)/package.json $(WASM)/package-lock.json | $(VENV)/installed
	rm -rf $(VENV)/web
	mkdir -p $(VENV)/web
	cp $^ $(VENV)/web
	cd $(VENV)/web && "$(CURDIR)/$(BIN)/npm" ci --ignore-scripts --no-audit --no-fund --loglevel=error \
	  --fetch-retries=1 --fetch-retry-mintimeout=1000
	rm -rf $(ORT)
	mkdir -p $(ORT)
	cp $(VENV)/lib/python*/site-packages/onnxruntime/LICENSE $(ORT)
	cp $(VENV)/lib/python*/site-packages/onnxruntime/ThirdPartyNotices.txt $(ORT)
	cd $(VENV)/web/node_modules/onnxruntime-web/dist && cp ort-wasm-simd-threaded.wasm \
	  ort-wasm-simd-threaded.mjs ort.node.min.mjs ort.wasm.min.mjs "$(CURDIR)/$(ORT)"
	mkdir -p $(ORT)/node_modules/onnxruntime-common/dist/esm
	cd $(VENV)/web/node_modules/onnxruntime-common && \
	  cp package.json "$(CURDIR)/$(ORT)/node_modules/onnxruntime-common" && \
	  cp dist/esm/*.js dist/esm/package.json "$(CURDIR)/$(ORT)/node_modules/onnxruntime-common/dist/esm"
	rm -r $(VENV)/web
	touch $@

demo: setup ## train, quantize, time and report the four variants on synthetic data
	$(BIN)/python train.py -m hydra/launcher=joblib model.attention=none,ag,se,cbam deploy.passes=100

test: setup ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=5

test-floors: $(FLOORS)/installed ## run the fast tests with the oldest versions that pyproject.toml allows
	$(FLOORS)/bin/python -m pytest -n 2 --dist loadfile -W default $(addprefix --ignore=,$(SLOW))

$(FLOORS)/installed: pyproject.toml .ci/floors.py
	$(PYTHON) -m venv $(FLOORS)
	$(FLOORS)/bin/python .ci/floors.py dev openvino smp scale dicom web > $(FLOORS)/floors.txt
	$(FLOORS)/bin/python -m pip install --quiet --requirement $(FLOORS)/floors.txt
	$(FLOORS)/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

lint: setup ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## fix what the style checker can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

quantize-all: setup ## export, quantize, re-score and time every run below OUTPUTS (OUTPUTS=outputs MODES=all)
	$(BRAINSEG) quantize $(OUTPUTS) --mode $(MODES) --time

report: setup ## write the page, tables, figures and model cards (EXPERIMENT=outputs/demo)
	$(BRAINSEG) report $(EXPERIMENT)

gpu-check: setup ## everything that needs a GPU, small on a CPU where there is none (DATA=figshare-folder MINUTES=8)
	$(BIN)/python benchmarks/gpu_check.py --out $(OUTPUTS)/gpu-check $(if $(MINUTES),--minutes $(MINUTES)) $(if $(DATA),--data $(DATA))

clean: ## remove .venv and caches, but no runs
	rm -rf $(VENV) $(FLOORS) $(ORT) .pytest_cache .ruff_cache .mypy_cache *.egg-info
