"""Each error page says what happened, what is safe and what to do, in both languages."""

import re
from collections.abc import Callable

import pytest
from django.db import OperationalError
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.test import Client
from django.utils.translation import override

from kvops.runs import views as run_views
from tests import make
from tests.signing import signed_in

PAGES = ("400", "403", "403_csrf", "404", "405", "429", "500", "503")
type Act = Callable[[Client], HttpResponse]


@pytest.fixture
def operator(people: make.People) -> Client:
    browser = signed_in(people.operator)
    browser.raise_request_exception = False
    return browser


@pytest.mark.parametrize("page", PAGES)
def test_each_page_has_the_three_parts_and_a_way_on_in_both_languages(page: str) -> None:
    said = {}
    for language in ("en", "ja"):
        with override(language):
            text = render_to_string(f"{page}.html", {"here": "/runs/"}).partition("<main")[2]
        said[language] = re.findall(r"<(?:h1|p)[ >].*?</(?:h1|p)>", text, re.DOTALL)
        assert re.search(r'<a class="btn btn-primary" href="/[^"]*">\S', text)
    assert len(said["en"]) == len(said["ja"]) >= 4
    assert not set(said["en"]) & set(said["ja"]) - {part for part in said["en"] if "Workers KV" in part}
    assert "Next step:" in said["en"][-1]


@pytest.mark.parametrize(
    ("act", "status", "happened"),
    [
        (lambda browser: browser.get("/nothing/"), 404, "There is nothing at this address"),
        (lambda browser: browser.put("/runs/"), 405, "does not take this kind of request"),
        (lambda browser: browser.get("/", headers={"cookie": "a=\0"}), 400, "text that KVOps does not take"),
    ],
)
def test_a_request_that_leads_nowhere_is_explained(operator: Client, act: Act, status: int, happened: str) -> None:
    answer = act(operator)
    assert (answer.status_code, happened in answer.content.decode()) == (status, True)


def test_a_cookie_that_cannot_be_read_is_answered_in_the_language_of_the_browser(operator: Client) -> None:
    answer = operator.get("/", headers={"cookie": "a=\0", "accept-language": "ja"})
    assert (answer.status_code, "何も変更されていません" in answer.content.decode()) == (400, True)


def test_a_form_of_another_session_is_explained(people: make.People) -> None:
    browser = Client(enforce_csrf_checks=True)
    answer = browser.post("/theme/", {"theme": "dark"})
    assert (answer.status_code, "open for too long" in answer.content.decode()) == (403, True)


def test_a_role_that_is_missing_is_explained(people: make.People) -> None:
    answer = signed_in(people.auditor).get("/cleanup/new/")
    page = answer.content.decode()
    assert (answer.status_code, "Nothing was changed." in page, "Roles are given by two people" in page) == (
        403,
        True,
        True,
    )


def test_guessing_a_password_is_slowed_down_and_explained(operator: Client) -> None:
    tried = [operator.post("/account/reauthenticate/", {"password": "wrong"}) for _ in range(11)]
    assert tried[-1].status_code == 429
    assert "Wait a minute, then try again." in tried[-1].content.decode()


@pytest.mark.parametrize(
    ("error", "status", "happened"),
    [
        (OperationalError("connection refused"), 503, "KVOps can neither read nor store anything"),
        (RuntimeError("a mistake"), 500, "This page has a mistake."),
    ],
)
def test_a_page_that_fails_says_whether_the_database_is_away(
    operator: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, happened: str
) -> None:
    def fails(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(run_views, "render", fails)
    answer = operator.get("/runs/")
    assert (answer.status_code, happened in answer.content.decode()) == (status, True)
    assert answer.headers.get("Retry-After") == ("60" if status == 503 else None)
