"""What a person typed into the search, and the form of the rows that answer it."""

import re
from dataclasses import dataclass
from typing import Any

from django.db.models import BooleanField, F, QuerySet, TextField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Coalesce

from kvops import names

SHORTEST = 3
"""Characters. Parts of names are looked for from this length on: the index of parts holds three characters each."""
NEWEST = 2_000
"""Rows. Texts are looked for in so many of the newest rows of a table that only grows; numbers in all."""
_NUMBER = re.compile(r"(?:\w+\s+)?#?([0-9]{1,15})")

type FoundRow = tuple[str, int, str, str, bool]
"""The kind of subject, the primary key, a text, the name of the environment, and whether it is production."""


@dataclass(frozen=True)
class SearchText:
    """A text to search for, and the number that it names: `12`, `#12` or `run 12`."""

    text: str
    number: int | None

    @property
    def long_enough(self) -> bool:
        """Whether parts of names and texts are looked for."""
        return len(self.text) >= SHORTEST


def read(typed: str) -> SearchText:
    """The text that a person typed, without spaces around it. A text that Postgres cannot hold is empty."""
    text = names.typed(typed.strip())
    number = _NUMBER.fullmatch(text)
    return SearchText(text if names.storable(text) else "", int(number[1]) if number else None)


def matched(found: QuerySet[Any], wanted: SearchText, *columns: str) -> QuerySet[Any]:
    """The row of the number, and of the newest rows those with the text in one of the columns."""
    newest = found.filter(pk__in=found.model._default_manager.order_by("-pk").values("pk")[:NEWEST])
    rows = found.filter(pk=wanted.number) if wanted.number is not None else found.none()
    for column in columns if wanted.long_enough else ():
        rows |= newest.filter(**{f"{column}__icontains": wanted.text})
    return rows


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
