# Everything a developer, CI or the image build does has a target here; the logic is in the commands they call.
PYTHON ?= python3
DOCKER ?= docker
BIN := .venv/bin
SLIPWAY := $(BIN)/slipway
export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.PHONY: help run test test-slow lint bench lock image cloud-build smoke test-cluster test-flink test-boot clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: .venv/.installed ## Train a model: taxi's on its sample, or make run MODULE=digits DATA=train-images-idx3-ubyte.gz
	@$(SLIPWAY) run $(or $(MODULE),taxi) $(if $(DATA),--data "$(DATA)") $(ARGS)

test: .venv/.installed-dev tests/compiled/node_modules ## Lint, types, layers and the quick tests
	$(MAKE) --no-print-directory lint
	$(BIN)/pytest -m "not slow" -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

tests/compiled/node_modules: tests/compiled/package-lock.json
	-@if command -v npm >/dev/null; then npm ci --silent --prefix tests/compiled; fi

test-slow: .venv/.installed-dev ## The long tests, the same on other stores, and properties with all examples
	$(BIN)/pytest -m "slow or hypothesis" --hypothesis-profile all -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/.installed-dev ## ruff, mypy --strict and the import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed-dev ## Measure time, memory, quality and serving: make bench TRIPS=trips.csv TABLES=folder
	$(BIN)/python -m benchmarks.bench $(if $(TRIPS),--trips "$(TRIPS)") $(if $(TABLES),--tables "$(TABLES)") $(ARGS)

lock: .venv/.uv ## Resolve the dependencies anew into requirements*.lock
	$(BIN)/uv pip compile -q --universal --no-header --generate-hashes --python-version 3.11 --upgrade pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --no-header --generate-hashes --python-version 3.11 --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile -q --universal --no-header --generate-hashes --python-version 3.11 --excludes image/exclude.txt -c requirements.lock pyproject.toml -o image/requirements.lock
	$(BIN)/uv pip compile -q --universal --no-header --generate-hashes --python-version 3.11 image/boot.in -o image/requirements-boot.lock
	for kind in cpu gpu; do $(BIN)/uv pip compile -q --universal --no-header --generate-hashes --python-version 3.11 --excludes image/exclude-tensorflow.txt -c requirements.lock image/$$kind.in -o image/requirements-$$kind.lock; done

image: ## Build the image with docker, or make image DOCKER=podman ARGS='--build-arg ACCELERATOR=gpu'
	$(DOCKER) build --platform linux/amd64 --build-arg GIT_REVISION=$$(git rev-parse HEAD) --tag slipway $(ARGS) .

cloud-build: ## Carry out plan.json on Cloud Build, as `slipway plan --json` prints it; cloudbuild.yaml has the variables
	@test -s plan.json || { echo "no plan.json: slipway plan --env staging --json > plan.json" >&2; exit 1; }
	gcloud builds submit --config cloudbuild.yaml --project "$$PROJECT" --region "$$REGION" \
		--service-account "projects/$$PROJECT/serviceAccounts/$$ACCOUNT" --gcs-source-staging-dir "$$SOURCE" \
		--gcs-log-dir "$$SOURCE/logs" \
		--substitutions "_CACHE=$$CACHE" .

smoke: .venv/.installed-dev ## Send real requests to what serves; tests/conformance/README.md has the variables
	@test -n "$$SLIPWAY_CONFORMANCE_REST" && test -n "$$SLIPWAY_CONFORMANCE_GRPC" || \
		{ echo "set SLIPWAY_CONFORMANCE_REST and SLIPWAY_CONFORMANCE_GRPC: where the models are served" >&2; exit 2; }
	$(BIN)/pytest tests/conformance/test_smoke.py $(ARGS)

test-cluster: .venv/.installed-dev ## Rollouts against the fake cluster, or a real one: tests/cluster/README.md has the variables
	$(BIN)/pytest tests/cluster -o timeout=1800 $(ARGS)

test-flink: export SLIPWAY_FLINK = $(CURDIR)/.flink
test-flink: .venv/.installed-dev ## Transform and evaluate on a real Flink cluster on loopback: needs Java 17 and Maven
	rm -rf .flink
	mvn --quiet --batch-mode --file tests/flink/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
		-DoutputDirectory="$$SLIPWAY_FLINK" $(ARGS_MAVEN)
	$(BIN)/pytest tests/flink -s -p no:xdist $(ARGS)

test-boot: .venv/.installed-dev ## A worker as Dataflow starts it, by Beam's boot program: needs Go
	GOBIN=$(CURDIR)/.boot go install "github.com/apache/beam/sdks/v2/python/container@v$$(sed -n 's/^apache-beam==\([0-9.]*\).*/\1/p' requirements.lock)"
	SLIPWAY_BOOT=$(CURDIR)/.boot/container $(BIN)/pytest tests/components/test_transform_features.py -k boot $(ARGS)

clean: ## Remove the environment and all state of local runs
	rm -rf .venv .kustomize .mlflow .flink .boot tests/compiled/node_modules .slipway .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

# uv installs in parallel and compiles bytecode, without which every process would compile TensorFlow again.
.venv/.uv: requirements-uv.lock
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("Slipway needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is %s: name another, as in `make PYTHON=python3.12 run`" % sys.version.split()[0])'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-uv.lock
	@touch $@

.venv/.installed: .venv/.uv requirements.lock pyproject.toml slipway/__init__.py
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements-dev.lock
	@touch $@
