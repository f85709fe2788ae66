"""States of the database that many tests begin with: built once by the product, then put back as rows.

A fixture uses it in one way: `prepared.step("asked", lambda: gate.asked(world))`. The first test that comes by builds,
and keeps in memory which rows are new, changed or gone; the next test gets the same rows and an equal result. `build`
runs as it stands whenever a kept state might differ from what it would make now:

- the state is older than LASTS;
- a duration of `kvops.timing` is another one;
- the test wrote something between two steps, or before the first one;
- the test commits.

A helper uses it with `step("asked", people.operator, build=...)`. Then the fakes of the test are put back too. What
they hold, the settings that the test changed and what `build` is about are part of the name, so that a test which puts
another key there gets another state. `build` also runs as it stands where the test patched anything but a duration, an
environment variable or a setting, and where a fake was told to fail, to wait or to live in another time. A patch of
`monkeypatch.context()` is not seen: patch with the test's own `monkeypatch` before such a step.
"""

import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import pytest
from django.db import connection
from django.db.models import Model
from django.utils.translation import get_language
from psycopg import sql
from pytest_django.fixtures import Settings

from kvops import timing
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.held import Held
from tests.fakes.s3 import FakeS3

LASTS = 60.0
"""Seconds. A slow machine takes as long from the set-up of a test to its end."""
READS = ("SELECT ", "SAVEPOINT ", "RELEASE SAVEPOINT ", "SET ")
"""The beginnings of statements that change no row."""
MIGRATED = {"django_content_type", "auth_permission", "django_migrations"}
"""Tables that migrations fill, and that nothing of the product changes."""
TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname"
ROWS = sql.SQL("SELECT {}, ARRAY(SELECT (it.*)::text FROM {} it)")
SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences WHERE last_value IS NOT NULL"
GONE = sql.SQL("DELETE FROM {table} it WHERE (it.*)::text = ANY(ARRAY[{rows}])")
NEW = sql.SQL("INSERT INTO {table} SELECT * FROM unnest(ARRAY[{rows}]::{table}[])")
ADVANCED = sql.SQL("SELECT setval({name}, {value}) FROM {sequence} WHERE last_value < {value}")

type Fakes = tuple[FakeCloudflare, FakeS3]
type Rows = dict[str, frozenset[str]]
"""The rows of each table, as the text that Postgres writes and reads again without a loss."""


@dataclass(frozen=True, slots=True)
class _State:
    """What is in the database and in the fakes after a step, and how to get there from the step before."""

    rows: Rows
    sequences: dict[str, int]
    script: str = ""
    fakes: Held | None = None
    result: bytes = b""
    built: float = 0.0
    then: dict[object, "_State"] = field(default_factory=dict)


class Prepared:
    """The steps of one test, from a database without rows."""

    used = True
    """False from where the product is broken on purpose: from there on a test must run the product itself."""
    running: ClassVar["Prepared | None"] = None
    """Those of the test that runs."""
    _process = 0
    _root: _State

    def __init__(self, changed: Callable[[], object] = lambda: ()) -> None:
        self.fakes: Fakes | None = None
        self._changed = changed
        self._written = False
        self._at = self._begin() if self.used and connection.in_atomic_block else None

    def step[T](self, name: str, build: Callable[[], T]) -> T:
        """The result of `build`, and the rows it leaves."""
        if self._at is None or self._written or not self.used:
            return build()
        return self._step((name, *_durations()), self._at, build, None)

    def step_with_fakes[T](self, name: str, about: tuple[object, ...], build: Callable[[], T]) -> T:
        """The result of `build`, and what it leaves in the database and in the fakes."""
        if self._at is None or self._written or not self.used or connection.execute_wrappers != [self.see]:
            return build()
        changed, held = self._changed(), Held.by(*self.fakes) if self.fakes else None
        if changed is None or (self.fakes and held is None):
            return build()
        key = (name, *map(_named, about), held and held.digest, changed, get_language(), *_durations())
        return self._step(key, self._at, build, self.fakes)

    def _step[T](self, key: object, before: _State, build: Callable[[], T], fakes: Fakes | None) -> T:
        """As it is kept, or built now; `build` may have steps of its own."""
        known = before.then.get(key)
        if known is None or _is_old(known):
            began, made = time.monotonic(), build()
            held = Held.by(*fakes) if fakes else None
            if fakes and held is None:
                self._at = None
                return made
            for old in [one for one, state in before.then.items() if _is_old(state)]:
                del before.then[old]
            known = before.then[key] = _built(before, held, made, began)
        else:
            _execute(known.script)
            if fakes and known.fakes:
                known.fakes.put_back(*fakes)
        self._at, self._written = known, False
        found: T = pickle.loads(known.result)
        return found

    @classmethod
    def _begin(cls) -> _State | None:
        """The state without rows, if nothing was written yet. It is of this process, whose ids it has."""
        if _execute("SELECT pg_current_xact_id_if_assigned()")[0][0] is not None:
            return None
        if cls._process != os.getpid():
            cls._process, cls._root = os.getpid(), _State(all_rows(), _sequences())
        return cls._root

    def see(self, execute: Callable[..., Any], statement: Any, params: Any, many: bool, context: Any) -> Any:
        """Note that the test wrote something; a wrapper of `connection.execute_wrapper`."""
        if not self._written:
            text = statement if isinstance(statement, str) else statement.as_string()
            self._written = not text.startswith(READS)
        return execute(statement, params, many, context)


@contextmanager
def preparing(patch: pytest.MonkeyPatch | None = None, settings: Settings | None = None) -> Iterator[Prepared]:
    """The steps of a test, from here to its end; `patch` and `settings` are those that it changes something with."""

    def changed() -> object:
        if patch is None or settings is None:
            return ()
        items = [name for of, name, _ in patch._setitem if of is os.environ]
        if len(items) < len(patch._setitem) or any(of is not timing for of, *_ in patch._setattr):
            return None
        given = [(name, os.environ.get(str(name))) for name in items]
        return *given, *(repr(one.options) for one in settings._to_restore)

    Prepared.running = prepared = Prepared(changed)
    try:
        with connection.execute_wrapper(prepared.see):
            yield prepared
    finally:
        Prepared.running = None


def step[T](name: str, *about: object, build: Callable[[], T]) -> T:
    """A step of the test that runs, with its fakes; for helpers that tests call. `about`: all that `build` depends on.

    Without such a test it is built.
    """
    return build() if Prepared.running is None else Prepared.running.step_with_fakes(name, about, build)


def all_rows() -> Rows:
    """Every row that the product wrote, by table."""
    query = sql.SQL(" UNION ALL ").join(ROWS.format(sql.Literal(name), sql.Identifier(name)) for name in _tables())
    return {table: frozenset(rows) for table, rows in _execute(query) if rows}


def _built(before: _State, fakes: Held | None, made: object, began: float) -> _State:
    result = pickle.dumps(made)
    rows, sequences = all_rows(), _sequences()
    script: list[sql.Composable] = [sql.SQL("SET LOCAL session_replication_role = replica")]
    for table in rows | before.rows:
        is_, was = rows.get(table, frozenset()), before.rows.get(table, frozenset())
        for statement, found in ((GONE, was - is_), (NEW, is_ - was)):
            if found:
                literals = sql.SQL(", ").join(map(sql.Literal, sorted(found)))
                script.append(statement.format(table=sql.Identifier(table), rows=literals))
    for name, value in sequences.items() - before.sequences.items():
        quoted = sql.Identifier(name)
        script.append(ADVANCED.format(name=sql.Literal(quoted.as_string()), sequence=quoted, value=sql.Literal(value)))
    script.append(sql.SQL("SET LOCAL session_replication_role = origin"))
    return _State(rows, sequences, sql.SQL("; ").join(script).as_string(), fakes, result, began)


@cache
def _tables() -> list[str]:
    return [name for (name,) in _execute(TABLES) if name not in MIGRATED]


def _sequences() -> dict[str, int]:
    return dict(_execute(SEQUENCES))


def _is_old(state: _State) -> bool:
    return time.monotonic() - state.built > LASTS


def _named(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(_named, value))
    return (value._meta.label, value.pk) if isinstance(value, Model) else repr(value)


def _durations() -> tuple[float, ...]:
    return tuple(value for value in vars(timing).values() if isinstance(value, int | float))


def _execute(statement: str | sql.Composed) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []
