"""A button that is pressed after the session ended leads back to its page, and says that nothing was done."""

import re
from urllib.parse import unquote

import pytest
from django.test import Client

from audit.models import Entry
from tests import make

LOGIN = {"login": "operator@example.com", "password": make.PASSWORD}
STAGE = "/cleanup/stages/3/"


def leads_to(address: str, came_from: str) -> str:
    """The page that the sign-in leads to after a button at this address."""
    answer = Client().post(address, headers={"referer": came_from})
    return unquote(answer.headers["Location"].removeprefix("/account/login/?next="))


@pytest.mark.parametrize(
    ("came_from", "page"),
    [
        ("http://testserver/cleanup/1/?from=list#stage-3", "/cleanup/1/?from=list"),
        (f"http://testserver{STAGE}share", STAGE),  # a page that a wrong form showed
        ("https://elsewhere.example/cleanup/1/", STAGE),
        ("", STAGE),
    ],
)
def test_the_sign_in_leads_to_the_page_of_the_button(people: make.People, came_from: str, page: str) -> None:
    assert leads_to(f"{STAGE}share", came_from) == page


def test_a_page_leads_to_itself(people: make.People) -> None:
    answer = Client().get("/runs/?state=failed", headers={"referer": "http://testserver/cleanup/"})
    assert unquote(answer.headers["Location"]) == "/account/login/?next=/runs/?state=failed"


def test_the_sign_in_and_the_page_say_that_nothing_was_done(people: make.People) -> None:
    browser = Client()
    asked = browser.post(
        "/runs/7/stop", {"reason": "no longer needed"}, headers={"referer": "http://testserver/runs/"}, follow=True
    )
    page = browser.post("/account/login/", {**LOGIN, "next": "/runs/"}, follow=True)
    assert page.request["PATH_INFO"] == "/runs/"
    for shown in (asked, page):
        assert len(re.findall("Nothing was done, and nothing was recorded", shown.content.decode())) == 1
    assert list(Entry.objects.values_list("action", flat=True)) == ["signin.succeeded"]
