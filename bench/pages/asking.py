"""Asks for pages: `python -m bench.pages.asking`, one order per line on the standard input, one answer per line.

`pages` answers with the names of the pages; `ask NAME` with the milliseconds of one request; `look NAME` with its
queries and bytes; `spent` with the processor seconds of this process and of its Postgres backend so far.
"""

import json
import sys
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

import django
import psutil
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve

django.setup()

from bench.pages import addresses  # noqa: E402  (needs Django)
from kvops.models import Person  # noqa: E402
from tests.signing import signed_in  # noqa: E402
from tests.test_doors import DOORS, NO_PAGE, VISITORS  # noqa: E402


def _spent() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        both = psutil.Process().cpu_times(), psutil.Process(cursor.fetchone()[0]).cpu_times()
    return sum(one.user + one.system for one in both)


def _milliseconds(browser: Client, address: str) -> float:
    begun = time.perf_counter()
    _get(browser, address)
    return (time.perf_counter() - begun) * 1000


def _get(browser: Client, address: str) -> bytes:
    answer = browser.get(address, headers={"Host": "localhost"})
    if answer.status_code != 200:
        raise SystemExit(f"{address} answered {answer.status_code}.")
    return answer.content


def _look(browser: Client, address: str) -> dict[str, object]:
    with CaptureQueriesContext(connection) as asked:
        size = len(_get(browser, address))
    slowest = sorted(asked.captured_queries, key=lambda one: -float(one["time"]))
    return {
        "queries": len(asked),
        "bytes": size,
        "slowest": [f"{one['time']} s: {one['sql'][:3000]}" for one in slowest[:3]],
    }


def _insist_complete(known: Iterable[str]) -> None:
    """Raise SystemExit for a page of the product that the bench neither asks for nor leaves out with a reason."""
    asked = {resolve(urlsplit(address).path).view_name for address in known}
    pages = {name for name, door in DOORS.items() if door.get[VISITORS.index("operator")] == 200}
    pages = {name for name in pages if not NO_PAGE.search(name) and not name.startswith("account_")}
    if left := pages - asked - addresses.NOT_ASKED.keys():
        raise SystemExit(f"The bench does not ask for {', '.join(sorted(left))}.")


def main() -> None:
    """Answer until the standard input ends."""
    browser, known = signed_in(Person.objects.get(name="Operator")), addresses.of_pages()
    _insist_complete(known.values())
    for line in sys.stdin:
        kind, _space, name = line.strip().partition(" ")
        answer: object = list(known) if kind == "pages" else None
        match kind:
            case "ask":
                answer = _milliseconds(browser, known[name])
            case "look":
                answer = _look(browser, known[name])
            case "spent":
                answer = _spent()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
