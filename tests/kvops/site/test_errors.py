"""What a page says when a form or a request is wrong, and where its switches lead."""

import re

import pytest
from django.test import Client

from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.signing import signed_in


@pytest.fixture
def refused(estate: make.Estate, people: make.People) -> tuple[Client, str]:
    """The page of a clean-up, rendered by a POST whose form was empty, and its address."""
    cleanup_helpers.estate_with_masters(estate)
    asked, operator = cleanup_helpers.asked(people), signed_in(people.operator)
    return operator, operator.post(f"/cleanup/{asked.pk}/end").content.decode()


@pytest.mark.parametrize(("switch", "choice"), [("/theme/", {"theme": "dark"}), ("/i18n/setlang/", {"language": "ja"})])
def test_a_switch_on_a_page_that_a_form_sent_leads_to_the_page(
    refused: tuple[Client, str], switch: str, choice: dict[str, str]
) -> None:
    operator, page = refused
    [back] = set(re.findall(r'name="next" value="([^"]+)"', page))
    answer = operator.post(switch, {**choice, "next": back}, follow=True)
    assert (answer.status_code, answer.request["PATH_INFO"]) == (200, back)


def test_a_wrong_form_is_told_in_the_title_at_the_top_and_at_the_field(refused: tuple[Client, str]) -> None:
    _operator, page = refused
    [wrong] = re.findall(r'<a href="#(id_\w+)">', page.partition('id="problems"')[2].partition("</ul>")[0])
    assert "<title>Error: Clean-up" in page
    assert page.index('id="problems"') < page.index(f'id="{wrong}"')
    assert re.findall(r"<[^>]+ autofocus[^>]*>", page) == re.findall(rf'<[^>]+ id="{wrong}"[^>]*>', page)


def test_a_mistake_of_no_field_takes_the_focus_at_the_top(people: make.People, estate: make.Estate) -> None:
    cleanup_helpers.estate_with_masters(estate)
    cleanup_helpers.asked(people)
    form = {"binding": "SETTINGS", "prefix": "master:", "reason": "again as agreed"}
    page = signed_in(people.operator).post("/cleanup/new/", form).content.decode()
    assert re.search(r'id="problems"[^>]* autofocus>', page)
    assert page.count("autofocus") == 1


def test_a_page_without_mistakes_says_nothing_of_errors(people: make.People) -> None:
    page = signed_in(people.operator).get("/cleanup/new/?binding=SETTINGS&prefix=x").content.decode()
    assert ("Error:" in page, "autofocus" in page, 'id="problems"' in page) == (False, False, False)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_an_unknown_method_is_answered_with_our_page(people: make.People, method: str) -> None:
    answer = signed_in(people.operator).generic(method, "/runs/?state=failed")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert 'href="/runs/?state=failed"' in answer.content.decode()
