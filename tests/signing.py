"""Signed-in browsers for the tests of the pages."""

from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING

from django.test import Client

from kvops.models import Person
from tests import make
from tests.prepared import step

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer


def signed_in(person: Person) -> Client:
    """A browser in which the person is signed in, some time ago."""
    client = Client()
    client.cookies = step("signed in", person, build=lambda: _cookies(person))
    return client


def _cookies(person: Person) -> SimpleCookie:
    client = Client()
    client.force_login(person.logins.get())
    return client.cookies


def give_password(client: Client, password: str = make.PASSWORD) -> None:
    """Type the password again, as deciding asks for."""
    answer = client.post("/account/reauthenticate/", {"password": password})
    assert answer.status_code == 302, answer.context["form"].errors


def fresh(person: Person) -> Client:
    """A browser in which the person just typed the password again."""
    client = signed_in(person)
    give_password(client)
    return client


def sent(browser: Client, address: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> "Answer":
    """The answer to a form, or the page it leads to. The password is typed where it is asked for."""
    answer = browser.post(address, form, headers=headers)
    if answer.headers.get("Location", "").startswith("/account/reauthenticate/"):
        answer = browser.post(answer.headers["Location"], {"password": make.PASSWORD, "next": address})
    return browser.get(answer.headers["Location"]) if answer.status_code == 302 else answer


def said(answer: object) -> list[str]:
    """The messages of a page."""
    return [str(message) for message in answer.context["messages"]]  # type: ignore[attr-defined]
