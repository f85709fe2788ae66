"""A key family goes from a pattern that is tried, over its registration and review, into the policy."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SignIn
from tests.browser.job import decide, follow, load_again

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(600)]


def test_a_family_is_tried_registered_reviewed_and_in_force(sign_in: SignIn) -> None:
    page, reviewer = sign_in("operator"), sign_in("reviewer")
    page.goto("/categories/")
    page.fill("[name=name]", "session:5f1c9a0b7e")
    page.fill("[name=pattern]", "session:")
    follow(page.get_by_role("button", name="Try it"))
    expect(page.locator("main")).to_contain_text("treated as settings")
    follow(page.get_by_role("link", name="Register it"))
    page.fill("[name=feature]", "Sign-in")
    page.fill("[name=owner]", "operator@example.com")
    page.fill("[name=shape]", '{"user": number}')
    page.fill("[name=review]", "https://wiki.example.com/reviews/12")
    page.select_option("[name=design]", "none")
    follow(page.get_by_role("button", name="Submit for review"))
    expect(page.locator("#problems")).to_contain_text("A cache expires or is written again")
    page.select_option("[name=design]", "ttl")
    page.fill("[name=seconds]", "3600")
    follow(page.get_by_role("button", name="Look at the effect first"))
    expect(page.locator("main")).to_contain_text("Keys that join the family")
    follow(page.get_by_role("button", name="Submit for review"))
    page.wait_for_url(re.compile(r"/approvals/\d+/$"))
    reviewer.goto(page.url)
    expect(reviewer.locator("main")).to_contain_text("Sign-in")
    decide(reviewer, "session:")
    load_again(page)
    follow(page.get_by_role("button", name="Apply the change"))
    page.goto("/categories/?name=session:5f1c9a0b7e")
    expect(page.locator("section[aria-labelledby=winner]")).to_contain_text("session:*")
    page.goto("/categories/")
    expect(page.locator("main")).to_contain_text("registered on this page")
