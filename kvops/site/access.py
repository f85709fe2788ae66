"""The access log, and the id of a request in each line that is logged while it is answered."""

import logging
import re
import time
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from kvops import logs
from kvops.models import User
from kvops.site.probes import ADDRESSES, caller_of

logger = logging.getLogger("kvops.access")
GIVEN = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""An id that a proxy gave to the request."""


class AccessMiddleware:
    """Logs each request with its status and duration. Paths have no values; a query may name a key, so it is left out.

    The answer has the id as `X-Request-ID`, so that a person can quote it. Probes are logged at DEBUG. An answer to
    HEAD has no body: gunicorn warns of each one that has.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        number = given if GIVEN.fullmatch(given) else uuid.uuid4().hex
        began = time.monotonic()
        with logs.bound(request=number, person=lambda: _person(request)):
            response = self._get_response(request)
            facts = {
                "method": request.method,
                "path": request.path[:500],
                "status": response.status_code,
                "milliseconds": round((time.monotonic() - began) * 1000),
                "address": caller_of(request),
            }
            level = logging.DEBUG if request.path_info in ADDRESSES else logging.INFO
            logger.log(level, "{method} {path} {status} {milliseconds} ms".format_map(facts), extra=facts)
        response["X-Request-ID"] = number
        if request.method == "HEAD" and not response.streaming:
            response.content = b""
        return response


def _person(request: HttpRequest) -> int | None:
    """The number of the person, if the request's session was read already: no line of the log asks the database."""
    user = vars(request).get("_cached_user")
    return user.person_id if isinstance(user, User) else None
