"""A cache is copied for an investigation, another person approves its end, and its copy goes when it is closed."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SignIn
from tests.browser.job import decide, follow, load_again

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(600)]


def test_a_cache_is_backed_up_and_its_backup_goes_with_the_investigation(sign_in: SignIn) -> None:
    page, reviewer = sign_in("operator"), sign_in("reviewer")
    page.goto("/investigations/")
    follow(page.get_by_role("link", name="Back up a cache"))
    page.select_option("[name=family]", label="SETTINGS mastercache:*")
    page.fill("[name=title]", "Wrong totals")
    page.fill("[name=reason]", "Customers see zero")
    follow(page.get_by_role("button", name="Back up the cache"))
    page.wait_for_url(re.compile(r"/investigations/\d+/$"))
    page.locator("main a[href^='/approvals/']").first.focus()
    asked = page.locator("main a[href^='/approvals/']").first.get_attribute("href") or ""
    expect(page.locator("#announce")).to_contain_text("Verified")
    assert page.evaluate("document.activeElement.getAttribute('href')") == asked
    reviewer.goto(asked)
    expect(reviewer.locator("main")).to_contain_text("Customers see zero")
    decide(reviewer, reviewer.locator("main form code").first.inner_text())
    load_again(page)
    page.fill("[name=reason]", "A join was wrong")
    follow(page.get_by_role("button", name="Close, and delete the backup"))
    expect(page.locator("main")).to_contain_text("Over, backup deleted")
