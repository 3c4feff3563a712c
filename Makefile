PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q
TOX := $(BIN)/python -m tox
TOXARGS ?=
BENCHARGS ?=
FOREIGNARGS ?=
# The newest libraries that this Python can run.
NEWEST = $(shell $(BIN)/python -c 'import sys; v = sys.version_info; \
	print("dj61-sa21" if v >= (3, 12) else "dj52-sa21" if v >= (3, 11) else "dj52-sa20")')

# All environments at once, each with a server of its own, unless a server is named: there is only one of it.
# With two at once, two processors are idle for a fifth of the time: tests wait for processes and servers.
RUN = $(if $(DATABASE_URL)$(PGHOST)$(PGHOSTADDR)$(PGSERVICE),run,run-parallel -p 3)

.PHONY: help demo demo-shop demo-check test coverage torture foreign bench screenshots lint clean
.DELETE_ON_ERROR:

help:
	@echo "make demo        run PostgreSQL, the worker and the sample site until Ctrl-C"
	@echo "make demo-shop   run the same with a shop: 200,000 changes of sixty days are made first (10 minutes; SCALE=0.1 makes fewer)"
	@echo "make demo-check  run the same, check the recorded changes and stop"
	@echo "make test        run the tests, a third with the oldest and the others with the newest libraries; TOXARGS='-- -k name' is passed to tox"
	@echo "make coverage    run all tests with the newest libraries and measure which lines they reach (half an hour)"
	@echo "make torture     kill workers, servers, archives and baselines 100 times, edit sealed logs 1,000 times, promote standbys 20 times, pg_upgrade, Debezium (Java 17), 10 million rows (two hours)"
	@echo "make foreign     run the tests of Django, SQLAlchemy and others without the package and with it (an hour)"
	@echo "make bench       measure cost and speed beside other packages, in bench/RESULTS.md (15 minutes)"
	@echo "make screenshots take the pictures in docs/images with Chromium"
	@echo "make lint        check style, types, import contracts and the package"
	@echo "make clean       remove what the other targets made"

demo: $(VENV)/.demo
	@$(BIN)/python -m sample_project.demo $(if $(PORT),--port $(PORT))

demo-shop: $(VENV)/.demo
	@$(PIP) -r sample_project/requirements.txt
	@$(BIN)/python -m sample_project.demo --shop $(if $(PORT),--port $(PORT)) $(if $(SCALE),--scale $(SCALE))

demo-check: $(VENV)/.demo
	@$(BIN)/python -m sample_project.demo --check

test: $(VENV)/.tox
	$(TOX) $(RUN) -e py-dj52-sa14-first,py-$(NEWEST)-pg3-second,py-$(NEWEST)-pg3-third $(TOXARGS)

coverage: $(VENV)/.tox
	$(TOX) -e py-$(NEWEST)-pg3-cov $(TOXARGS)

torture: $(VENV)/.tox
	$(TOX) -e torture $(TOXARGS)

foreign: $(VENV)/.tox
	$(TOX) -e foreign -- $(FOREIGNARGS)

bench: $(VENV)/.tox
	$(TOX) -e bench -- $(BENCHARGS)

screenshots: $(VENV)/.tox
	$(TOX) -e screenshots

lint: $(VENV)/.tox
	$(TOX) run-parallel -p 2 -e lint,types,imports,package $(TOXARGS)

clean:
	rm -rf $(VENV) .tox .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	rm -f .coverage .coverage.*
	find bemi_django sample_project tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made: setup.cfg
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing; install Python 3.10 or later, or name another one: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or later is required; name another one: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "install python3-venv: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.made
	@$(PIP) -e '.[aldjemy,embedded]'
	@touch $@

$(VENV)/.tox: $(VENV)/.made
	@$(PIP) 'tox>=4.2'
	@touch $@
