"""Pages of a list: the rows of one page, and the place where the next page goes on."""

from collections.abc import Callable, Iterable
from itertools import islice
from operator import attrgetter
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest


def page_of[Row](
    found: Iterable[Row], size: int, place: Callable[[Row], Any] = attrgetter("pk")
) -> tuple[list[Row], Any]:
    """The first rows, and the place of the last of them if more rows follow. One row more than `size` is read."""
    rows = list(found[: size + 1] if isinstance(found, QuerySet) else islice(found, size + 1))
    return rows[:size], place(rows[size - 1]) if len(rows) > size else None


def listed[Row](
    request: HttpRequest,
    form: forms.Form,
    name: str,
    found: Iterable[Row],
    size: int,
    *,
    place: Callable[[Row], Any] = attrgetter("pk"),
) -> dict[str, object]:
    """The context of a filtered list: its form, the rows of one page under `name`, and the place where it goes on."""
    rows, after = page_of(found, size, place)
    return {"form": form, name: rows, "after": after, "filtered": any(request.GET.values())}
