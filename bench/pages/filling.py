"""Fills the database of one installation. Indexes are built after the rows, as a restore of a dump does it."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.transaction import atomic

from audit.chain import ChainProblem, problems
from audit.models import Entry
from bench.pages import entries, rows
from bench.pages.sizes import Sizes
from kvops import clock
from kvops.models import Namespace, Person

CHECKED = 10_000
"""Entries. The newest part of the chain is verified after the filling."""
INDEXES = """
SELECT pg_get_indexdef(i.indexrelid), i.indexrelid::regclass::text FROM pg_index AS i
WHERE i.indrelid = %s::regclass AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.indexrelid)
"""


def fill() -> dict[str, float]:
    """Fill the tables; `BENCH_KEYS` says how many keys there are."""
    sizes, begun = Sizes(int(os.environ["BENCH_KEYS"])), time.perf_counter()
    places = {one.environment.slug: one.pk for one in Namespace.objects.filter(binding="SETTINGS")}
    roles = {"reader": "Operator", "reviewer": "Reviewer"}
    people = {word: Person.objects.get(name=name).pk for word, name in roles.items()}
    now = clock.now()
    params: dict[str, Any] = {"now": now, **places, **people}
    statements = list(rows.statements(sizes))
    tables = list(dict.fromkeys(["audit_entry", *(table for table, _statement in statements)]))
    with atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("SET LOCAL maintenance_work_mem = '1GB'")
        cursor.execute("SET LOCAL max_parallel_maintenance_workers = 0")
        with _without_indexes(cursor, tables):
            for table, statement in statements:
                cursor.execute(statement, params)
                _say(begun, f"{cursor.rowcount} rows of {table}")
            entries.fill(sizes, now)
            _say(begun, f"{sizes.entries} entries")
        _say(begun, "indexes")
        for table in tables:
            if table != "audit_entry":
                last = f"(SELECT max(id) FROM {table})"
                cursor.execute(f"SELECT setval(pg_get_serial_sequence(%s, 'id'), {last})", [table])
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
        # As `setup_roles` does it for the application; the bench works as the owner of the tables.
        for setting in "jit = off", "random_page_cost = 1.1":
            here = "format('ALTER ROLE %%I IN DATABASE %%I SET ', current_user, current_database())"
            cursor.execute(f"SELECT {here} || %s", [setting])
            cursor.execute(cursor.fetchone()[0])
    _say(begun, "analyzed")
    _insist_chained(sizes.entries)
    return {"seconds": time.perf_counter() - begun}


@contextmanager
def _without_indexes(cursor: CursorWrapper, tables: list[str]) -> Iterator[None]:
    dropped = []
    for table in tables:
        cursor.execute(INDEXES, [table])
        dropped += cursor.fetchall()
    for _definition, name in dropped:
        cursor.execute(f"DROP INDEX {name}")
    yield
    for definition, _name in dropped:
        cursor.execute(definition)


def _insist_chained(last: int) -> None:
    """Raise SystemExit if the newest part of the log is no valid chain up to the head."""
    first = max(1, last - CHECKED + 1)
    found = [entry.link() for entry in Entry.objects.filter(seq__gte=first).order_by("seq")]
    faults: list[ChainProblem] = list(problems(found, head_sequence=last, head_hash=found[-1].row_hash))
    # The walk begins in the middle, so its first entry seems to follow a gap.
    if faults[first > 1 :] or len(found) != last - first + 1:
        raise SystemExit(f"The audit log is not chained: {faults}")


def _say(begun: float, done: str) -> None:
    print(f"{time.perf_counter() - begun:7.1f} s: {done}", file=sys.stderr, flush=True)
