"""A row of the table: a rule, and a statement that tries to break it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Model

from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import change

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RowAttempt:
    """One attempt against one rule."""

    rule: str
    attempt: Callable[[BackupsWorld], object]
    what: str = ""

    def __str__(self) -> str:
        return f"{self.rule} [{self.what}]" if self.what else self.rule


def columns(
    rule: str,
    row: Callable[[BackupsWorld], Model],
    values: Mapping[str, object],
    together: Mapping[str, object] | None = None,
) -> list[RowAttempt]:
    """A row of the table per frozen column; `together` is the honest part of the same UPDATE."""

    def attempt(name: str) -> Callable[[BackupsWorld], object]:
        return lambda w: change(row(w), **{**(together or {}), name: values[name]})

    return [RowAttempt(rule, attempt(name), name) for name in values]
