"""A database that fails at a chosen moment: numbered statements and commits of the connection at hand."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import psycopg
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

FULL = "DO $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"
"""What Postgres answers to a write on a full disk."""
_WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|WITH|COPY)\b", re.IGNORECASE)


class Faulty:
    """Counts the points that are passed. `fail(number, writes)` is asked before each whether that is to fail, and how.

    It returns a statement to be executed in place of the one that is due, "" for that one. `writes`: whether it, or
    the transaction that would be committed, writes.
    """

    def __init__(self, fail: Callable[[int, bool], str]) -> None:
        self.passed = 0
        self._fail = fail
        self._wrote = False

    def _next(self, *, writes: bool) -> str:
        self.passed += 1
        return self._fail(self.passed, writes)

    def statement(
        self, execute: Callable[..., Any], sql: str, params: object, many: bool, context: dict[str, Any]
    ) -> object:
        """Around every statement."""
        writes = bool(_WRITES.match(sql))
        instead = self._next(writes=writes)
        self._wrote = self._wrote or writes
        return execute(instead, None, False, context) if instead else execute(sql, params, many, context)

    @contextmanager
    def hooked(self) -> Iterator["Faulty"]:
        """Watch the connection at hand."""
        # Its types do not know this one.
        wrapper: Any = BaseDatabaseWrapper
        real = wrapper._commit

        def commit(of: BaseDatabaseWrapper) -> None:
            instead, self._wrote = self._next(writes=self._wrote), False
            if instead:
                of._rollback()  # type: ignore[attr-defined]
                raise OperationalError("could not write to file: No space left on device")
            real(of)

        with connection.execute_wrapper(self.statement), patch.object(wrapper, "_commit", commit):
            yield self


def kill_connection() -> None:
    """End the server's side of the connection at hand, as an administrator or a failover does."""
    if connection.connection is None:
        return
    facts = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
    url = {name: connection.settings_dict[key] or None for name, key in facts.items()}
    with psycopg.connect(autocommit=True, **url) as admin:  # type: ignore[arg-type]
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])
