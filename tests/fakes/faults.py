"""The faults the fake can be told to have.

A later kind is one more entry in REPLACING (an answer without the effect), THEN (the effect, then
that answer) or the CHANGING names, which the routes themselves look for.
"""

import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate

from tests.fakes.http import Reply


@dataclass(slots=True)
class ApiFault:
    """At the `nth` next call of the route, and `times` in all, this happens."""

    route: str
    kind: str
    nth: int
    times: int
    seconds: float
    as_date: bool
    names: Collection[str] | None
    status: int = 503
    code: int = 10001
    headers: Mapping[str, str] = field(default_factory=dict)

    def due(self, route: str) -> bool:
        """Count one call; whether the fault strikes now."""
        if route != self.route or not self.times:
            return False
        self.nth -= 1
        if self.nth > 0:
            return False
        self.times -= 1
        return True


def failure(status: int, code: int, message: str) -> Reply:
    """An unsuccessful envelope."""
    errors = [{"code": code, "message": message}]
    body = json.dumps({"success": False, "errors": errors, "messages": [], "result": None})
    return Reply(status, body.encode(), {"Content-Type": "application/json"})


def _json_of(document: object) -> Reply:
    return Reply(200, json.dumps(document).encode(), {"Content-Type": "application/json"})


def _too_many(fault: ApiFault) -> Reply:
    reply = failure(429, 971, "Please wait and consider throttling your request speed")
    wait = f"{fault.seconds:g}"
    if fault.as_date:
        wait = formatdate(int(time.time()) + fault.seconds, usegmt=True)
    reply.headers["Retry-After"] = wait
    return reply


def _refusal(fault: ApiFault) -> Reply:
    reply = failure(fault.status, fault.code, "refused by the script")
    reply.headers.update(fault.headers)
    return reply


def _html(status: int, headers: dict[str, str]) -> Callable[[ApiFault], Reply]:
    body = b"<!DOCTYPE html><title>A page for people</title>"
    return lambda _: Reply(status, body, {"Content-Type": "text/html", **headers})


REPLACING: dict[str, Callable[[ApiFault], Reply]] = {
    "429": _too_many,
    "refusal": _refusal,
    "html_524": _html(524, {}),
    "challenge": _html(403, {"cf-mitigated": "challenge"}),
    "page_403": _html(403, {}),
    "redirect": _html(302, {"Location": "/elsewhere"}),
    "error": lambda _: failure(500, 10001, "internal error"),
    "too_large": lambda _: failure(413, 10022, "the answer is too large"),
    "reset": lambda _: Reply(0),
    "timeout": lambda fault: Reply(0, hold=fault.seconds),
    "cursor_refused": lambda _: failure(400, 10001, "invalid cursor"),
}
THEN: dict[str, Callable[[ApiFault], Reply]] = {
    "effect_then_error": REPLACING["error"],
    "effect_then_html": REPLACING["html_524"],
    "effect_then_reset": REPLACING["reset"],
    "effect_then_timeout": REPLACING["timeout"],
    "effect_then_garbage": lambda _: Reply(200, b"{", {"Content-Type": "application/json"}),
    "effect_then_nothing": lambda _: _json_of({"success": True, "errors": [], "messages": [], "result": None}),
    "effect_then_failure": lambda _: _json_of({"success": False, "errors": [], "messages": [], "result": None}),
}
CHANGING = {
    "partial",
    "says_done",
    "says_undone",
    "wrong_count",
    "names_null",
    "names_absent",
    "fewer_unnamed",
    "count_too_high",
    "unknown_names",
    "named_twice",
    "empty_page",
}
