"""The part of a page that is loaded again while a run works."""

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def live_part(request: HttpRequest, template: str, context: Mapping[str, object], *, moving: bool) -> HttpResponse:
    """Render the fragment `live` of a template. When nothing moves any more, the whole page is loaded again."""
    response = render(request, f"{template}#live", dict(context))
    if not moving:
        response["HX-Refresh"] = "true"
    return response
