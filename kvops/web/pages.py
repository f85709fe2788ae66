"""The parts of pages: those of a list, and the moving part of a run's page.

The rows of one page of a list, with the place where the next one goes on, and the part that is loaded again while a
run works.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from operator import attrgetter
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


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


def live_part(request: HttpRequest, template: str, context: Mapping[str, object], *, moving: bool) -> HttpResponse:
    """Render the fragment `live` of a template. When nothing moves any more, the whole page is loaded again."""
    response = render(request, f"{template}#live", dict(context))
    if not moving:
        response["HX-Refresh"] = "true"
    return response
