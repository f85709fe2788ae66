"""Many small questions to the database in one statement.

The overview asks about fifty things, most of which have no answer most of the time, and the menu of every page for its
numbers and namespaces. Each question is a queryset; the statement asks all, and its one row has the answers as JSON.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet

type Question = QuerySet[Any, Any]
type Row = Sequence[Any]
"""A row of an answer, with the types of JSON: a moment is text, see `moment`."""


@dataclass(frozen=True)
class Gathered:
    """The answers at one moment, by name."""

    now: datetime
    rows: Mapping[str, Sequence[Row]]
    _made: dict[str, Any] = field(default_factory=dict)

    def once[Made](self, name: str, make: Callable[[], Made]) -> Made:
        """A value that several parts of the page need; the first of them makes it."""
        if name not in self._made:
            self._made[name] = make()
        made: Made = self._made[name]
        return made

    def __contains__(self, name: object) -> bool:
        """Whether the question has any row."""
        return bool(self.rows.get(str(name)))

    def __getitem__(self, name: str) -> Sequence[Row]:
        """The rows of a question."""
        return self.rows[name]


def ask(lists: Mapping[str, Question], whether: Mapping[str, Question]) -> Gathered:
    """The rows of each list, a queryset of `values_list()`, and for each of the others whether it has a row."""
    named = {**lists, **{name: each.order_by().values_list("pk")[:1] for name, each in whether.items()}}
    columns = ["clock_timestamp()"]
    params: list[Any] = []
    asked = []
    for name, question in named.items():
        try:
            sql, mine = question.query.sql_with_params()
        except EmptyResultSet:
            continue
        cells = ", ".join(f"c{at}" for at in range(len(question.query.selected or ())))
        columns.append(f"(SELECT json_agg(json_build_array({cells})) FROM ({sql}) AS q ({cells}))")  # noqa: S608
        params += mine
        asked.append(name)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(columns)}", params)
        now, *found = cursor.fetchone()
    answers = dict(zip(asked, found, strict=True))
    return Gathered(now, {name: answers.get(name) or [] for name in named})


def moment(text: str | None) -> datetime | None:
    """A moment of an answer."""
    return datetime.fromisoformat(text) if text else None
