"""What a person typed into the search, and the form of the rows that answer it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any

from django.apps import apps
from django.db.models import BooleanField, F, Q, QuerySet, Subquery, TextField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Coalesce
from django.utils.functional import Promise

from kvops import names
from kvops.operations.registry import SUBJECTS
from kvops.wording import english

SHORTEST = 3
"""Characters. Parts of names are looked for from this length on: the index of parts holds three characters each."""
NEWEST = 2_000
"""Rows. Texts are looked for in so many of the newest rows of a table that only grows; numbers in all."""
LISTED = 100
"""Rows. More than a page lists of one kind."""
_NUMBER = re.compile(r"(?:(?:[^\W\d][\w-]*\s+){1,4})?#?([0-9]{1,15})")
"""A number, alone or after the title of a kind of subject: `12`, `#12`, `clean-up 12`, `change of a key 12`."""

type FoundRow = tuple[str, int, str, str, bool]
"""The kind of subject, the primary key, a text, the name of the environment, and whether it is production."""


@dataclass(frozen=True)
class SearchText:
    """A text to search for, and the number that it names, if it names one."""

    text: str
    number: int | None

    @property
    def long_enough(self) -> bool:
        """Whether parts of names and texts are looked for."""
        return len(self.text) >= SHORTEST

    def besides(self, label: str | Promise) -> list[str] | None:
        """The words that are not of this label, in the reader's language or in English; None if no word is of it.

        A Japanese label has no spaces between its words, so a part of it counts. A word needs three bytes: one kanji,
        or three letters.
        """
        names = (f" {label}".casefold(), f" {english(label)}".casefold())
        words = self.text.split()
        left = [word for word in words if not _is_of(word.casefold(), names)]
        return left if len(left) < len(words) else None


def _is_of(word: str, names: Iterable[str]) -> bool:
    part = f" {word}" if word.isascii() else word
    return len(word.encode()) >= SHORTEST and any(part in name for name in names)


def read(typed: str) -> SearchText:
    """The text that a person typed, without spaces around it. A text that Postgres cannot hold is empty."""
    text = names.typed(typed.strip())
    number = _NUMBER.fullmatch(text)
    return SearchText(text if names.storable(text) else "", int(number[1]) if number else None)


def matched(
    found: QuerySet[Any], wanted: SearchText, *columns: str, called: Iterable[tuple[Q, str | Promise]] = ()
) -> QuerySet[Any]:
    """The row of the number, and of the newest rows those with the text in one of the columns.

    `called` are labels that the reader sees, each with the rows that it stands for. If a word is of a label, its rows
    match that have each other word in one of the columns.
    """
    matching = _in_any(columns, wanted.text) if wanted.long_enough else Q(pk__in=[])
    for of_label, label in called:
        words = wanted.besides(label)
        if words is not None:
            matching |= reduce(and_, (_in_any(columns, word) for word in words), of_label)
    numbers = found.model._default_manager.order_by("-pk").values("pk")
    # A range of the primary key, so that Postgres reads no more than these rows, however many there are.
    newest = Coalesce(Subquery(numbers[NEWEST - 1 : NEWEST]), Value(0))
    places = found.filter(matching, pk__gte=newest, pk__in=numbers[:NEWEST]).order_by("-pk").values("pk")[:LISTED]
    if wanted.number is not None:
        # Beside the newest rows, not instead of them in an OR: then Postgres would read the whole table backwards.
        places = places.union(numbers.filter(pk=wanted.number).order_by())
    return found.filter(pk__in=places)


def _in_any(columns: Iterable[str], word: str) -> Q:
    found = [Q(**{f"{column}__icontains": word}) for column in columns]
    return reduce(or_, found, Q(pk__in=[]))


def shown(
    rows: QuerySet[Any], kind: str, text: str | Combinable, *, environment: str = "", most: int
) -> QuerySet[Any, FoundRow]:
    """The newest of the rows, in the columns that the rows of all kinds have."""
    place = Coalesce(F(f"{environment}__name"), Value("")) if environment else Value("")
    production = Coalesce(F(f"{environment}__production"), Value(False)) if environment else Value(False)
    found: QuerySet[Any, FoundRow] = (
        rows.order_by("-pk")
        .annotate(
            found_kind=Cast(Value(kind), TextField()),
            found_text=Cast(text, TextField()),
            found_place=Cast(place, TextField()),
            found_production=Cast(production, BooleanField()),
        )
        .values_list("found_kind", "pk", "found_text", "found_place", "found_production")[:most]
    )
    return found


def rows_of(kind: str, wanted: SearchText, most: int) -> QuerySet[Any, FoundRow]:
    """The rows of a kind of subject that a text finds."""
    subject = SUBJECTS[kind]
    by = subject.searched
    if by is None:
        raise LookupError(f"No search finds {kind}.")
    called: list[tuple[Q, str | Promise]] = [(Q(), subject.title)]
    if by.kinds:
        called = [(Q(kind=value), label) for value, label in by.kinds.choices]
    rows = by.rows() if by.rows else QuerySet(apps.get_model(subject.model))
    found = matched(rows, wanted, *by.columns, called=called)
    return shown(found, kind, by.text, environment=by.environment, most=most)
