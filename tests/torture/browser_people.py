"""The people of the main job with browsers: they click over HTTP what is due, and again when the answer got lost."""

import sys
import threading
from collections.abc import Callable, Mapping

import httpx
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.urls import reverse

from backups.models import CleanupStage
from kvops.models import ApprovalRequest, ReferenceHit, ReferenceSearch, Run
from tests import make, searched
from tests.torture import clicks
from tests.torture.clicks import Click
from tests.torture.trial_estate import COMMIT

LOOK = 0.1
"""Seconds between two looks."""

type Form = Mapping[str, str]


class Browser:
    """A person's browser. Signs in, and types the password again, when that is asked for."""

    def __init__(self, name: str, base_url: str) -> None:
        self._name = name
        self._client = httpx.Client(base_url=base_url, trust_env=False, timeout=10.0)

    def click(self, url: str, form: Form) -> None:
        """Send the form, like a person who does not know whether the last click arrived. Raises TransportError."""
        answer = self._post(url, form)
        asked = answer.headers.get("Location", "")
        if asked.startswith(reverse("account_login")):
            self._client.get(reverse("account_login"))
            self._post(reverse("account_login"), {"login": f"{self._name}@example.com", "password": make.PASSWORD})
        elif asked.startswith(reverse("account_reauthenticate")):
            self._post(reverse("account_reauthenticate"), {"password": make.PASSWORD, "next": url})
        elif not answer.is_redirect:
            print(f"{self._name}: {url} answered {answer.status_code}", file=sys.stderr)

    def _post(self, url: str, form: Form) -> httpx.Response:
        if settings.CSRF_COOKIE_NAME not in self._client.cookies:
            self._client.get(reverse("account_login"))
        token = self._client.cookies.get(settings.CSRF_COOKIE_NAME) or ""
        return self._client.post(url, data=form, headers={"X-CSRFToken": token})

    def close(self) -> None:
        """Close it."""
        self._client.close()


class BrowserPeople(threading.Thread):
    """An operator and a reviewer at work until they are told to leave. `resumed`: runs that failed and needed them."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self.resumed = 0
        self._leaving = threading.Event()
        self._operator, self._reviewer = Browser("operator", base_url), Browser("reviewer", base_url)

    def leave(self) -> None:
        """End the click at hand, begin no other."""
        self._leaving.set()
        self.join()

    def run(self) -> None:
        """Click what is due, again and again."""
        while not self._leaving.wait(LOOK):
            try:
                self._look()
            except (OperationalError, InterfaceError):
                connection.close()
            except (httpx.TransportError, clicks.Stuck) as nothing:
                print(f"people: {type(nothing).__name__}: {nothing}", file=sys.stderr)
        self._operator.close()
        self._reviewer.close()
        connection.close()

    def _look(self) -> None:
        failed = Run.objects.failed().first()
        if failed is not None:
            print(f"{failed} failed and is resumed: {failed.error_code}: {failed.error}", file=sys.stderr)
            self.resumed += 1
            self._operator.click(reverse("run-resume", args=[failed.pk]), {})
        elif (click := clicks.due()) is not None:
            browser = self._reviewer if click.what == "approve" else self._operator
            browser.click(*_address(click))


def _address(click: Click) -> tuple[str, Form]:
    """Where the click goes, and what is typed."""
    if click.namespace is not None:
        return reverse("scan", args=[click.namespace.environment.slug, click.namespace.binding]), {}
    if click.stage is None:
        asked = {"binding": "SETTINGS", "prefix": "master:", "reason": "moved to D1"}
        return reverse("backups:cleanup_new"), asked
    return _ON_A_STAGE[click.what](click.stage)


def _button(name: str, form: Form | None = None) -> Callable[[CleanupStage], tuple[str, Form]]:
    return lambda stage: (reverse(f"backups:stage_{name}", args=[stage.pk]), form or {})


def _references(stage: CleanupStage) -> tuple[str, Form]:
    # The commit that Cloudflare names: a look during the job must find the searched code, as it is.
    if not ReferenceSearch.objects.filter(environment=stage.environment).exists():
        searched.search(stage.environment, hits=["src/a.ts:7 write certain SETTINGS master:*"], commit=COMMIT)
    [hit] = ReferenceHit.objects.filter(search__environment=stage.environment)
    typed = {"hits": str(hit.pk), "kind": "falls_back", "reason": "reads D1 first"}
    return reverse("backups:stage_answer", args=[stage.pk]), typed


def _approve(stage: CleanupStage) -> tuple[str, Form]:
    asked = ApprovalRequest.objects.get(cleanupstage=stage)
    typed = {"decision": "approve", "shown": asked.digest, "confirm": stage.namespace.title}
    return reverse("approval-decide", args=[asked.pk]), typed


_ON_A_STAGE: dict[str, Callable[[CleanupStage], tuple[str, Form]]] = {
    "freeze": _button("freeze"),
    "prepare": _button("prepare"),
    "references": _references,
    "share": _button("share", {"place": "#kv-cleanup, with Reviewer"}),
    "submit": _button("submit", {"ticked": "on"}),
    "approve": _approve,
    "claim": lambda stage: _button("start", {"confirm": stage.namespace.title})(stage),
    "resume": _button("again"),
    "explain": _button("leftovers", {"note": "written again by the shop"}),
    "accept": _button("accept", {"note": "Opened the pages, all well"}),
    "start-undo": _button("undo"),
}
