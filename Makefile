PYTHON ?= python3
PORT ?= 8000
TOXARGS ?=
VENV := .venv
STAMP := $(VENV)/.installed

.PHONY: demo demo-check test lint clean

demo: $(STAMP)
	@$(VENV)/bin/python -m sample_project.demo --port $(PORT)

demo-check: $(STAMP)
	@$(VENV)/bin/python -m sample_project.demo --check

test: $(STAMP)
	@$(VENV)/bin/tox -q -e py-dj52-sa14 $(TOXARGS)

lint: $(STAMP)
	@$(VENV)/bin/tox -q -e lint,types,imports

$(STAMP): setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo 'Python 3.10 or newer is needed: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo 'python3 has no venv module: apt-get install python3-venv' >&2; exit 1; }
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e '.[aldjemy,embedded]' tox
	@touch $@

clean:
	rm -rf $(VENV) .tox .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
