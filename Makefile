PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: search test lint docs clean

# The environment: everything that the default run and the tests need. uv, when pip can get it, is the quicker installer.
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv || true
	if [ -x $(BIN)/uv ]; then $(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[dev]'; \
	else $(BIN)/python -m pip install --quiet -e '.[dev]'; fi
	touch $@

# A real search on the embedded data: ends with runs/signs/best and runs/signs/report. Run again, it goes on.
search: $(VENV)/.ready
	$(BIN)/nasfpn search experiments.signs:search --run-dir runs/signs

# Two files at a time, since tests of searches wait more than they compute.
test: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation as a site, in site/, with the picture of the rooms drawn anew; a warning is an error.
docs: $(VENV)/.ready
	$(BIN)/python -m experiments.rooms docs/pictures/rooms.svg
	$(BIN)/sphinx-build -q -W --keep-going -d build/doctrees docs site

clean:
	rm -rf $(VENV) runs data
