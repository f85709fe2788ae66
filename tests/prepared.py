"""States that many tests begin with: built once by the product, then put back as rows and as what is in the fakes.

A fixture names a step: `prepared.step("asked", lambda: gate.asked(world))`. A helper that tests call is a step with
`@kept`. The first test that comes by builds; which rows are new, changed or gone is kept in memory, and the next test
gets the same rows and an equal result. The builder runs as it stands wherever it might make something else now:

- what it is given, the fakes, the language or a duration of `kvops.timing` is not the same;
- the test wrote rows since the step before, or before the first one;
- the test put something in the place of a part of the product or of a setting;
- the state is older than LASTS;
- the builder changes what it is given, or sends mail, which is in no row;
- the test commits.
"""

import io
import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache, wraps
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from django.conf import UserSettingsHolder, settings
from django.core import mail
from django.db import connection
from django.db.models import Model
from django.utils import translation
from psycopg import sql

from kvops import timing
from tests.fakes import kept as kept_fakes
from tests.fakes.cloudflare import FakeCloudflare
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

_PORTS: dict[object, int] = {}

type Rows = dict[str, frozenset[str]]
"""The rows of each table, as the text that Postgres writes and reads again without a loss."""
type Fakes = tuple[FakeCloudflare, FakeS3]


@dataclass(frozen=True, slots=True)
class _State:
    """What is there after a step, and how to get there from the step before."""

    rows: Rows
    sequences: dict[str, int]
    script: str = ""
    fakes: bytes = b""
    result: bytes = b""
    built: float = 0.0
    then: dict[object, "_State"] = field(default_factory=dict)


class Prepared:
    """The steps of one test, from a database without rows."""

    used = True
    """False where the product is broken on purpose: there each test must run the product itself."""
    current: ClassVar["Prepared | None"] = None
    _process = 0
    _root: _State

    def __init__(self, patches: pytest.MonkeyPatch, fakes: Fakes | None = None) -> None:
        self._patches, self._fakes = patches, fakes
        self._doubles: dict[tuple[str, str], object] = {}
        self._written = False
        self._at = self._begin() if self.used and connection.in_atomic_block else None

    def expect(self, module: str, name: str, double: object) -> None:
        """Every test that comes to the same steps replaces this, by a double whose state its `repr` tells."""
        self._doubles[module, name] = double

    def step[T](self, name: str, build: Callable[[], T], *given: object) -> T:
        """The result of `build`, and all that it leaves behind."""
        before, basis, there = self._at, self._basis(name, given), self._there()
        if before is None or basis is None or there is None or self._written:
            return build()
        known = before.then.get((basis, there))
        if known is None or time.monotonic() - known.built > LASTS:
            began, sent = time.monotonic(), len(mail.outbox)
            result = build()
            left = self._there()
            if left is None or self._basis(name, given) != basis or len(mail.outbox) != sent:
                return result
            for old in [old for old, one in before.then.items() if time.monotonic() - one.built > LASTS]:
                del before.then[old]
            known = before.then[basis, there] = self._kept(before, result, left, began)
        else:
            _execute(known.script)
        if self._fakes:
            kept_fakes.put_back(*self._fakes, known.fakes)
        self._at, self._written = known, False
        found: T = _Reading(io.BytesIO(known.result), self._fakes).load()
        return found

    def _kept(self, before: _State, result: object, fakes: bytes, began: float) -> _State:
        rows, sequences, written = all_rows(), _sequences(), io.BytesIO()
        _Writing(written, self._fakes).dump(result)
        script = _script(before, rows, sequences)
        return _State(rows, sequences, script, fakes, written.getvalue(), began)

    @classmethod
    def _begin(cls) -> _State | None:
        """The state without rows, if nothing was written yet. It is of this process, whose ids it has."""
        if _execute("SELECT pg_current_xact_id_if_assigned()")[0][0] is not None:
            return None
        if cls._process != os.getpid():
            cls._process, cls._root = os.getpid(), _State(all_rows(), _sequences())
        return cls._root

    def _replaced(self) -> bool:
        """Whether the test put something else in a place, durations aside."""
        named = ((getattr(target, "__name__", ""), name) for target, name, _ in self._patches._setattr)
        others = [one for one in named if one[0] != timing.__name__ and one not in self._doubles]
        return bool(others or self._patches._setitem or isinstance(vars(settings)["_wrapped"], UserSettingsHolder))

    def _basis(self, name: str, given: object) -> str | None:
        """What a state depends on besides the step before and the fakes; None where that cannot be told."""
        if self._at is None or self._replaced():
            return None
        places = [(cloudflare.base_url, s3.endpoint) for cloudflare, s3 in ([self._fakes] if self._fakes else [])]
        try:
            return repr((name, self._plain(given), self._doubles, places, translation.get_language(), _durations()))
        except _UnknownError:
            return None

    def _there(self) -> bytes | None:
        """What is in the fakes; None where it cannot be put back."""
        return kept_fakes.state_of(*self._fakes) if self._fakes else b""

    def _plain(self, value: object) -> object:
        """What a step is given, to be compared."""
        if isinstance(value, Model):
            names = [one.attname for one in value._meta.concrete_fields if one.attname in vars(value)]
            return (value._meta.label, [(one, vars(value)[one]) for one in names])
        if isinstance(value, FakeCloudflare | FakeS3) and self._fakes and value in self._fakes:
            return type(value).__name__
        if is_dataclass(value) and not isinstance(value, type):
            return (type(value).__name__, [self._plain(getattr(value, one.name)) for one in fields(value)])
        if isinstance(value, tuple | list):
            return [self._plain(one) for one in value]
        if isinstance(value, dict):
            return sorted((str(one), self._plain(of)) for one, of in value.items())
        if value is None or isinstance(value, str | bytes | int | float):
            return value
        raise _UnknownError

    def see(self, execute: Callable[..., Any], statement: Any, params: Any, many: bool, context: Any) -> Any:
        """Note that the test wrote something; a wrapper of `connection.execute_wrapper`."""
        if not self._written:
            text = statement if isinstance(statement, str) else statement.as_string()
            self._written = not text.startswith(READS)
        return execute(statement, params, many, context)


class _UnknownError(Exception):
    """A step is given something that cannot be compared."""


class _Writing(pickle.Pickler):
    """The fakes are those of the test that reads."""

    def __init__(self, file: io.BytesIO, fakes: Fakes | None) -> None:
        super().__init__(file)
        self._fakes = fakes or ()

    def persistent_id(self, found: object) -> int | None:
        """Which of the fakes it is."""
        return next((number for number, fake in enumerate(self._fakes) if fake is found), None)


class _Reading(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, fakes: Fakes | None) -> None:
        super().__init__(file)
        self._fakes = fakes or ()

    def persistent_load(self, number: int) -> object:
        return self._fakes[number]


@contextmanager
def where_it_was[F: FakeCloudflare | FakeS3](kind: Callable[..., F], address: Callable[[F], str]) -> Iterator[F]:
    """An empty fake on the port of the last one, whose address is in kept rows; on any if that port is taken."""
    with ExitStack() as stack:
        try:
            fake = kind(port=_PORTS.get(kind, 0))
            stack.enter_context(fake)
        except OSError:
            fake = kind()
            stack.enter_context(fake)
        _PORTS[kind] = urlsplit(address(fake)).port or 0
        yield fake


@contextmanager
def preparing(patches: pytest.MonkeyPatch, fakes: Fakes | None = None) -> Iterator[Prepared]:
    """The steps of a test, from here to its end."""
    prepared = Prepared(patches, fakes)
    with connection.execute_wrapper(prepared.see), pytest.MonkeyPatch.context() as current:
        current.setattr(Prepared, "current", prepared)
        yield prepared


def kept[**P, T](helper: Callable[P, T]) -> Callable[P, T]:
    """A helper of tests whose work is a step of the test that calls it."""

    @wraps(helper)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        steps = Prepared.current
        if steps is None:
            return helper(*args, **kwargs)
        name = f"{helper.__module__}.{helper.__qualname__}"
        return steps.step(name, lambda: helper(*args, **kwargs), args, kwargs)

    return called


def all_rows() -> Rows:
    """Every row that the product wrote, by table."""
    query = sql.SQL(" UNION ALL ").join(ROWS.format(sql.Literal(name), sql.Identifier(name)) for name in _tables())
    return {table: frozenset(rows) for table, rows in _execute(query) if rows}


def _script(before: _State, rows: Rows, sequences: dict[str, int]) -> str:
    """What makes these rows of those before."""
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
    return sql.SQL("; ").join(script).as_string()


@cache
def _tables() -> list[str]:
    return [name for (name,) in _execute(TABLES) if name not in MIGRATED]


def _sequences() -> dict[str, int]:
    return dict(_execute(SEQUENCES))


def _durations() -> tuple[float, ...]:
    return tuple(value for value in vars(timing).values() if isinstance(value, int | float))


def _execute(statement: str | sql.Composed) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []
