# make app    set everything up and open the page
# make test   set everything up and pass the tests
# make test-long   what is long by nature: soaks, kills at every step, whole fuzzing
# make lint   style, types and import rules only
# make space SPACE=owner/name   upload the app to a Hugging Face Space; make space-dry lists the files,
#             make space-check resolves the requirements for every place
# make clean  remove what the commands above created

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := app.py downloads.py dreammotion_core segmentation web training benchmarks tools tests
CHROMIUM := $(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name))))

.PHONY: app test test-long lint space space-dry space-check clean

app: $(VENV)/.ready
	$(BIN)/python app.py

test: lint
ifeq ($(CHROMIUM),)
	@echo "No Chromium found: the browser tests are skipped. To run them: sudo apt-get install chromium"
endif
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-long: lint
	$(BIN)/python -m pytest -m long -n auto --maxprocesses 2 --dist loadfile

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

space: $(VENV)/.ready
	@$(BIN)/python -m tools.space upload "$(SPACE)"

space-dry:
	@$(PYTHON) -m tools.space dry

space-check: $(VENV)/.ready-dev
	@$(BIN)/python -m tools.space check

clean:
	rm -rf $(VENV) .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
		{ echo "$(PYTHON) was not found. Install it: sudo apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "The virtual environment could not be made. Install it: sudo apt-get install python3-venv"; exit 1; }

$(VENV)/.ready: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	@touch $@

$(VENV)/.ready-dev: requirements-dev.txt $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	@touch $@
