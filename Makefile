# make demo   the sample catalog's photos to scored 3D models, and a page to look at them
# make test   lint, types, layers and tests
# make check  the same with the fast tests alone
# Both set up .venv first, and again only when pyproject.toml has changed. PYTHON=python3.12 chooses another Python.

PYTHON ?= python3
BIN := .venv/bin

export KEDRO_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

FAST := tests/fields tests/geometry tests/rendering tests/metrics tests/datasets tests/pipelines/test_steps.py \
	tests/method/test_step_versions.py

TWO := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test check

demo: .venv/installed
	$(BIN)/kedro run --pipelines=catalog_to_3d,publish # in one run: the second finds the workers that the first started

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest $(TWO) # two processes of a thread each, which have some 2 GB each

check: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest $(TWO) -m "not slow" $(FAST)

.PHONY: lint
lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/installed: pyproject.toml
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --editable '.[dev]'
	touch $@
