PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q
TOX := $(BIN)/python -m tox
TOXARGS ?=
BENCHARGS ?=
# The newest libraries that this Python can run.
NEWEST = $(shell $(BIN)/python -c 'import sys; v = sys.version_info; \
	print("dj61-sa21" if v >= (3, 12) else "dj52-sa21" if v >= (3, 11) else "dj52-sa20")')

# Two servers at once; a server that is named is one.
RUN = $(if $(DATABASE_URL)$(PGHOST)$(PGHOSTADDR)$(PGSERVICE),run,run-parallel -p 2)

.PHONY: help demo demo-check test torture bench screenshots lint clean
.DELETE_ON_ERROR:

help:
	@echo "make demo        a PostgreSQL, the worker and the sample site; Ctrl-C ends it"
	@echo "make demo-check  the same without a browser: checks the recorded changes and stops"
	@echo "make test        the tests, with the oldest and the newest libraries; TOXARGS='-- -k name' is handed to tox"
	@echo "make torture     workers killed, servers crashed, 100 times; a transaction of 5 million rows (minutes)"
	@echo "make bench       what it costs and how fast it is, beside others: bench/RESULTS.md (a quarter of an hour)"
	@echo "make screenshots the pictures in docs/images, with Chromium"
	@echo "make lint        style, types, import contracts and the package"
	@echo "make clean       remove what the other targets made"

demo: $(VENV)/.demo
	@$(BIN)/python -m sample_project.demo $(if $(PORT),--port $(PORT))

demo-check: $(VENV)/.demo
	@$(BIN)/python -m sample_project.demo --check

test: $(VENV)/.tox
	$(TOX) $(RUN) -e py-dj52-sa14,py-$(NEWEST)-pg3 $(TOXARGS)

torture: $(VENV)/.tox
	$(TOX) -e torture $(TOXARGS)

bench: $(VENV)/.tox
	$(TOX) -e bench -- $(BENCHARGS)

screenshots: $(VENV)/.tox
	$(TOX) -e screenshots

lint: $(VENV)/.tox
	$(TOX) -e lint,types,imports,package $(TOXARGS)

clean:
	rm -rf $(VENV) .tox .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	rm -f .coverage .coverage.*
	find bemi_django sample_project tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made: setup.cfg
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing; install Python 3.10 or later, or name it: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or later is required; name one: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "install python3-venv: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.made
	@$(PIP) -e '.[aldjemy,embedded]'
	@touch $@

$(VENV)/.tox: $(VENV)/.made
	@$(PIP) 'tox>=4.2'
	@touch $@
