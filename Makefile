# Every target sets up what it needs: a virtual environment through uv, Node through its wheel,
# and, as root, Debian's chromium, gettext and a Japanese font.
SHELL := /bin/bash
PY := .venv/bin/python
RUN := $(PY) -m sandbox.postgres --for-tests --
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: demo test check bench screenshots torture lock format messages clean

demo: .venv/installed
	$(PY) manage.py sandbox $(if $(RESET),--reset)

test: .venv/installed system
	$(PY) manage_messages.py
	$(RUN) $(PY) -m pytest $(TESTS)

check: .venv/installed system
	@bash .ci/check

bench: .venv/installed
	$(RUN) $(PY) -m bench $(BENCH)

screenshots: .venv/installed system
	$(RUN) $(PY) -m pytest tests/browser/test_screenshots.py

.venv/installed: requirements-dev.txt .ci/venv
	@bash .ci/venv

.PHONY: system
system:
	@bash .ci/system

lock:
	@bash .ci/lock

format: .venv/installed
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .
