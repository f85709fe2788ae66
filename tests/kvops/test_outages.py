"""While the database is away, the log has one short line for each minute and cause."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from unittest.mock import patch

import psycopg
import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.test import Client
from psycopg import errors

from kvops import logs, outages
from tests import make
from tests.signing import signed_in

REFUSED = 'connection to server at "127.0.0.1", port 5432 failed: Connection refused'


@contextmanager
def away(error: Exception) -> Iterator[None]:
    """Postgres fails each statement, as Django words it."""

    def fail(*_rest: object) -> object:
        raise OperationalError(str(error)) from error

    with connection.execute_wrapper(fail):
        yield


@pytest.fixture
def console() -> Iterator[StringIO]:
    """The lines of a handler that has the filters of the product's own."""
    handler = logging.StreamHandler(StringIO())
    handler.setFormatter(logs.JsonLines(json_ensure_ascii=False))
    handler.addFilter(outages.OutageFilter())
    assert "'filters': ['outages']" in str(settings.LOGGING)
    with patch.object(logging.getLogger(), "handlers", [handler]):
        yield handler.stream


def errors_in(console: StringIO) -> list[str]:
    return [line for line in console.getvalue().splitlines() if '"level": "INFO"' not in line]


def ask_often(browser: Client, error: Exception) -> set[int]:
    browser.raise_request_exception = False
    with away(error):
        return {browser.get(address).status_code for address in ("/runs/", "/", "/readyz", "/healthz/work") * 5}


def test_each_cause_is_one_short_line_a_minute(people: make.People, console: StringIO) -> None:
    browser = signed_in(people.auditor)
    assert ask_often(browser, psycopg.OperationalError(REFUSED)) == {503}
    assert ask_often(browser, errors.AdminShutdown("terminating connection due to administrator command")) == {503}
    lines = errors_in(console)
    assert [REFUSED.replace('"', '\\"') in lines[0], "administrator command" in lines[1]] == [True, True]
    assert (len(lines), max(map(len, lines)) < 500, "Traceback" in "".join(lines)) == (2, True, False)


def test_after_a_minute_it_is_said_again(
    people: make.People, console: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "ONCE", 0.0)
    browser = signed_in(people.auditor)
    ask_often(browser, psycopg.OperationalError(REFUSED))
    assert sum(REFUSED.replace('"', '\\"') in line for line in errors_in(console)) >= 20


def test_a_loop_that_tries_again_adds_no_line(console: StringIO) -> None:
    for number in range(3):
        logging.getLogger("x").warning("Trying again %s: %s", number, OperationalError(REFUSED))
    [line] = errors_in(console)
    assert "said once a minute" in line


@pytest.mark.parametrize("error", [errors.QueryCanceled("a statement took too long"), errors.DeadlockDetected("dead")])
def test_an_answer_of_the_database_keeps_its_frames(people: make.People, console: StringIO, error: Exception) -> None:
    ask_often(signed_in(people.auditor), error)
    assert sum("test_outages.py" in line for line in errors_in(console)) >= 20
