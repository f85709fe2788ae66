"""A drill in QA, asked for, approved and run in the scratch namespace, as two people do it with a browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn
from tests.browser.job import decide, follow, reload_until

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(600)]


def test_backups_are_written_compared_and_removed_in_the_scratch_namespace(sign_in: SignIn) -> None:
    operator, reviewer = sign_in("operator"), sign_in("reviewer")
    asked = _of_qa(operator, "ask")
    asked.fill("[name=cap]", "20")
    follow(asked.locator("form[action$='/qa/ask']").get_by_role("button"))
    reviewer.goto(operator.url)
    decide(reviewer, reviewer.locator("[name=confirm]").get_attribute("data-confirm") or "")
    follow(_of_qa(operator, "start").locator("form[action$='/qa/start']").get_by_role("button"))
    title = operator.locator("h1")
    reload_until(operator, lambda: not re.search("Running|Queued", title.inner_text()))
    expect(operator.locator("h1")).to_contain_text("Passed")


def _of_qa(page: Page, step: str) -> Page:
    """The page of the drills, once it offers the step in QA."""
    page.goto("/drills/")
    expect(page.locator(f"form[action$='/qa/{step}']")).to_be_visible()
    return page
