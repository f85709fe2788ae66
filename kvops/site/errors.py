"""The answers to a request that is not allowed, that cannot be read, or that fails."""

import sys
from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.loader import render_to_string
from django.utils.translation import get_language_from_request, override
from django.views.defaults import permission_denied

from audit import log
from audit.actions import Action
from kvops.models import User
from kvops.site.menu import page_of


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Show that the request is not allowed. A refused change is recorded in the audit log."""
    if request.method == "POST" and isinstance(request.user, User):
        log.refusal(Action.REFUSED, actor=request.user.person.actor, details={"address": request.path[:500]})
    return permission_denied(request, exception)


RETRY_AFTER = 60
"""Seconds after which a browser may ask again. A restart of Postgres is over by then."""


def failed(_request: HttpRequest) -> HttpResponse:
    """Show that the page has a mistake, or that the database does not answer. Neither page needs the database."""
    if not isinstance(sys.exception(), (OperationalError, InterfaceError)):
        return HttpResponse(render_to_string("500.html"), status=500)
    return HttpResponse(render_to_string("503.html"), status=503, headers={"Retry-After": RETRY_AFTER})


class RequestMiddleware:
    """Refuses what no browser sends: another encoding than UTF-8, and NUL in a cookie.

    It also shows a page for a method that an address does not take.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request. Other encodings can hold text that no database stores."""
        other = (request.encoding or "utf-8").lower() not in {"utf-8", "utf8"}
        if other or any("\0" in value for value in request.COOKIES.values()):
            # Not raised: a handler of errors would read the form once more.
            with override(get_language_from_request(request)):  # no other middleware chose it yet
                return HttpResponse(render_to_string("400.html"), status=400)
        response = self._get_response(request)
        if not isinstance(response, HttpResponseNotAllowed) or response.content:
            return response
        # The same answer, because it has the headers of the middleware below.
        response.content = render_to_string("405.html", {"here": page_of(request)}, request).encode()
        response["Content-Length"] = len(response.content)
        return response
