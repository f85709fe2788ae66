"""While a bucket shows a database rollback, a click that would change data returns to its page with the reason."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import get_script_prefix
from django.utils.http import url_has_allowed_host_and_scheme

from audit import log
from audit.actions import Action
from kvops import rollback
from kvops.models import User
from kvops.wording import english

SAFE = frozenset(
    {
        # language and theme
        "set_language",
        "theme",
        # stops
        "environment-stop",
        "run-stop",
        # reads
        "environment-check",
        "key-reveal",
        "key-value",
        "scan",
        "backups:change_reveal",
        "backups:check_again",
        "backups:comparison_start",
        "backups:comparison_value",
        "backups:entry_compare",
        "backups:entry_value",
        "backups:generation_check",
        "backups:generation_verify",
        "backups:restore_compare",
        "backups:restore_look",
        "backups:restore_value",
        "backups:storage_reconcile",
    }
)
"""Views that accept a POST all the same, besides those of the person's own login."""


class ReadOnlyMiddleware:
    """Redirects a click that would change data to its page, with the reason, and records the refusal."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        return self._get_response(request)

    def process_view(self, request: HttpRequest, _view: object, _args: object, _kwargs: object) -> HttpResponse | None:
        """Answer in place of the view if the view may not be called now."""
        name = request.resolver_match.view_name if request.resolver_match else ""
        if request.method != "POST" or name in SAFE or name.startswith("account_"):
            return None
        if not isinstance(request.user, User) or not (why := rollback.why_read_only()):
            return None
        messages.error(request, why)
        log.refusal(
            Action.REFUSED,
            actor=request.user.person.actor,
            subject=request.path[:600],
            details={"reason": english(why)[:500]},
        )
        back = request.META.get("HTTP_REFERER", "")
        known = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
        return redirect(back if known else get_script_prefix())
