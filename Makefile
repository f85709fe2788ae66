# Every target sets up what it needs: a virtual environment through uv, Node through its wheel,
# and, as root, Debian's headless Chromium, gettext and a Japanese font.
# The browser tests are a process of their own, beside the others: Playwright's event loop and Django's connections do
# not share a thread. What they print comes at the end.
SHELL := /bin/bash
PY := .venv/bin/python
RUN := $(PY) -m sandbox.postgres .sandbox/tests
PYTEST := $(PY) -m pytest --numprocesses 3 --dist worksteal
BROWSER := .sandbox/browser.log
# One place for all bytecode, so that a process that a test starts does not compile everything again.
# It is written also where the environment says otherwise, as that of a container often does.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.sandbox/pycache
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check contract bench torture mutants screenshots lock format

MESSAGES := locale/ja/LC_MESSAGES/django.mo

demo: .venv/installed $(MESSAGES)
	$(PY) manage.py sandbox $(if $(RESET),--reset) $(if $(CLOUDFLARE),--cloudflare)

test: .venv/installed system $(MESSAGES)
ifdef TESTS
	$(RUN) $(PYTEST) $(TESTS)
else ifdef CHANGED
	@tests=$$($(PY) -m tests.changed) && $(RUN) $(PYTEST) $$tests
else
	@mkdir -p .sandbox
	@$(PY) -m pytest tests/browser >$(BROWSER) 2>&1 & browser=$$!; \
	$(RUN) $(PYTEST) --ignore tests/browser; rest=$$?; \
	wait $$browser; browser=$$?; cat $(BROWSER); \
	exit $$((rest || browser))
endif

check: .venv/installed system
	@bash .ci/check

# The tests of tests/contract on a real account: CLOUDFLARE is a file outside Git, ALLOWANCE the most requests.
contract: .venv/installed
	@$(PY) -m tests.contract "$(CLOUDFLARE)" "$(ALLOWANCE)"

bench: .venv/installed
	$(RUN) $(PY) -m bench $(if $(KEYS),--keys $(KEYS)) $(BENCH)

torture: .venv/installed system
	$(RUN) $(PY) -m tests.torture $(if $(ROW),--row $(ROW)) $(if $(SEED),--seed $(SEED)) $(if $(N),--n $(N))

mutants: export PYTHONDONTWRITEBYTECODE := 1
mutants: .venv/installed system
	$(RUN) $(PY) -m bench.mutants $(if $(PART),--part $(PART))

screenshots: export KVOPS_SCREENSHOTS := 1
screenshots: .venv/installed system $(MESSAGES)
	$(PY) -m pytest tests/browser

.venv/installed: requirements-dev.txt .ci/venv
	@bash .ci/venv

%.mo: %.po .venv/installed
	.venv/bin/pybabel --quiet compile --input-file $< --output-file $@

.PHONY: system
system:
	@bash .ci/system

lock:
	@bash .ci/lock

format: .venv/installed
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .
